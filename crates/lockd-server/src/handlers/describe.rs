//! `GET|POST /v1/describe`: what is known of a key, without a lease.

use lockd_core::records::key::Lease;
use lockd_json::ObjectWriter;

use crate::answer::{self, Outcome};
use crate::call::{Call, key_id};
use crate::gate::Permission;

pub(crate) async fn describe(call: &Call<'_>) -> Outcome {
    let raw_key = call.raw_key()?;
    let namespace = call.namespace()?;
    call.authorise(&namespace, Permission::Read)?;
    let key = key_id(&namespace, raw_key)?;
    let record = call.node().describe(&key)?.unwrap_or_default();
    let etag = record.etag().map(|etag| etag.to_string()).unwrap_or_default();
    let mut body = Vec::with_capacity(256);
    let mut object =
        ObjectWriter::new(&mut body).string("namespace", namespace.as_str()).string("key", raw_key);
    if let Lease::Held(grant) = &record.lease {
        object = object
            .string("owner", &grant.owner)
            .string("lease_id", &grant.id.to_string())
            .int("expires_at_unix", grant.expires_at.seconds());
    }
    object
        .int("version", record.version)
        .string_unless_empty("state_etag", &etag)
        .int_unless_zero("updated_at_unix", record.updated_at.seconds())
        .object("metadata", |metadata| metadata.bool_if_true("query_hidden", record.hidden_after_commit()))
        .end_line();
    Ok(answer::json(body))
}
