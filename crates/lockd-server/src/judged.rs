//! What the server makes of the head of a request, for the property tests and fuzz targets that judge it: they cannot name
//! what is private here, and should not have to open a socket a million times a minute.

use std::sync::Arc;

use http::request::Parts;
use lockd_core::records::namespace::{FallbackEngine, PreferredEngine, QueryEngines};
use lockd_node::Node;
use lockd_wire::{ErrorCode, Namespace, header};

use crate::answer::Failure;
use crate::app::{ApiSettings, App};
use crate::call::{Call, key_id};
use crate::query::Query;

/// The pairs that a query string consists of.
pub fn query_pairs(raw: &str) -> Vec<(String, String)> {
    Query::parse(Some(raw)).pairs().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// Something to ask about heads.
#[derive(Debug)]
pub struct Head(Arc<App>);

impl Head {
    pub fn new(node: Arc<Node>, default_namespace: Namespace) -> Head {
        let settings = ApiSettings {
            default_namespace,
            json_max: 1 << 20,
            max_consumers: 128,
            default_engines: QueryEngines {
                preferred: PreferredEngine::Scan,
                fallback: FallbackEngine::Nothing,
            },
        };
        Head(Arc::new(App::new(node, settings)))
    }

    /// The headers that mean something.
    pub fn names() -> &'static [&'static str] {
        &[
            header::LEASE_ID,
            header::TXN_ID,
            header::FENCING_TOKEN,
            header::IF_VERSION,
            header::IF_STATE_ETAG,
            header::META_QUERY_HIDDEN,
        ]
    }

    /// Takes everything that can be taken out of a head: what is refused, as code and detail.
    pub fn refusals(&self, head: &Parts) -> Vec<(&'static str, String)> {
        let call = Call { app: &self.0, head, query: Query::parse(head.uri.query()), correlation: "" };
        let key = || key_id(&call.namespace()?, call.raw_key()?);
        let refused: [Option<Failure>; 6] = [
            call.claim().err(),
            call.fencing_token().err(),
            call.if_version().err(),
            call.query_hidden().err(),
            call.trimmed_key(ErrorCode::MissingKey).err(),
            key().err(),
        ];
        let _ = call.if_state_etag();
        refused.into_iter().flatten().map(|failure| (failure.code.as_str(), failure.detail)).collect()
    }
}
