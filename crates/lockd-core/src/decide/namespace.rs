//! Changing the settings of a namespace.

use crate::op::{ConfigureNamespace, Reason, Refusal};
use crate::records::field::Unknown;
use crate::records::namespace::{NamespaceRecord, QueryEngines};

pub fn configure(
    stored: Option<&NamespaceRecord>,
    op: &ConfigureNamespace,
) -> Result<NamespaceRecord, Refusal> {
    if let Some(expected) = &op.if_match
        && stored.map(|stored| stored.etag.to_string()).as_ref() != Some(expected)
    {
        return Err(Reason::NamespaceConflict.plain());
    }
    let current = stored.map_or(op.defaults, |stored| stored.engines);
    Ok(NamespaceRecord {
        engines: QueryEngines {
            preferred: op.preferred.unwrap_or(current.preferred),
            fallback: op.fallback.unwrap_or(current.fallback),
        },
        etag: op.etag,
        unknown: stored.map_or_else(Unknown::default, |stored| stored.unknown.clone()),
    })
}
