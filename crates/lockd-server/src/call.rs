//! A call: one request as handlers see it, with its arguments taken out by name. Every taker checks one thing and fails with
//! the code of the contract, so that a handler is the list of its checks in their order.

use std::sync::Arc;

use http::request::Parts;
use lockd_core::op::{Claim, ExpectEtag, TxnClaim};
use lockd_core::records::key::Digest;
use lockd_node::Node;
use lockd_wire::{ErrorCode, KeyId, KeyName, LeaseId, Namespace, TxnId, header};

use crate::answer::Failure;
use crate::app::App;
use crate::query::Query;

pub(crate) struct Call<'a> {
    pub(crate) app: &'a Arc<App>,
    pub(crate) head: &'a Parts,
    pub(crate) query: Query<'a>,
    pub(crate) correlation: &'a str,
}

impl Call<'_> {
    pub(crate) fn node(&self) -> &Node {
        &self.app.node
    }

    /// The first value of a header, trimmed; blank counts as absent.
    pub(crate) fn header(&self, name: &str) -> Option<std::borrow::Cow<'_, str>> {
        let value = self.head.headers.get(name)?;
        let text = match value.to_str() {
            Ok(text) => std::borrow::Cow::Borrowed(text.trim()),
            Err(_) => String::from_utf8_lossy(value.as_bytes()).trim().to_owned().into(),
        };
        if text.is_empty() { None } else { Some(text) }
    }

    // ---- namespace and key ------------------------------------------------------------------------------------------

    /// The first of these that is not blank, or the default.
    pub(crate) fn namespace_among(&self, candidates: &[&str]) -> Result<Namespace, Failure> {
        match candidates.iter().find(|candidate| !candidate.trim().is_empty()) {
            None => Ok(self.app.settings.default_namespace.clone()),
            Some(text) => Namespace::parse(text)
                .map_err(|error| Failure::new(ErrorCode::InvalidNamespace, error.to_string())),
        }
    }

    pub(crate) fn namespace(&self) -> Result<Namespace, Failure> {
        self.namespace_among(&[self.query.get("namespace")])
    }

    /// The `key` parameter as the client wrote it.
    pub(crate) fn raw_key(&self) -> Result<&str, Failure> {
        present(self.query.get("key"), ErrorCode::MissingKey, "key required")
    }

    /// The same, trimmed.
    pub(crate) fn trimmed_key(&self, missing: ErrorCode) -> Result<&str, Failure> {
        present(self.query.get("key").trim(), missing, "key required")
    }

    // ---- lease headers ------------------------------------------------------------------------------------------------

    pub(crate) fn fencing_token(&self) -> Result<i64, Failure> {
        let text = self.header(header::FENCING_TOKEN).ok_or_else(|| {
            Failure::new(
                ErrorCode::MissingFencingToken,
                "X-Fencing-Token header required: send the token that acquire returned",
            )
        })?;
        text.parse().map_err(|_| {
            let detail = format!("X-Fencing-Token {text:?} is not a decimal integer");
            Failure::new(ErrorCode::InvalidFencingToken, detail)
        })
    }

    /// `Some(None)`: there is an id, but it is none of ours.
    pub(crate) fn lease_header(&self) -> Option<Option<LeaseId>> {
        self.header(header::LEASE_ID).map(|text| LeaseId::parse(&text))
    }

    pub(crate) fn required_lease(&self, missing: ErrorCode) -> Result<Option<LeaseId>, Failure> {
        self.lease_header().ok_or_else(|| Failure::new(missing, "X-Lease-ID header required"))
    }

    pub(crate) fn required_txn(&self) -> Result<TxnClaim, Failure> {
        match self.header(header::TXN_ID) {
            Some(text) => Ok(TxnClaim::Is(TxnId::parse(&text))),
            None => Err(Failure::new(ErrorCode::MissingTxn, "X-Txn-ID header required")),
        }
    }

    /// Lease, transaction and token, in the order in which most calls check them.
    pub(crate) fn claim(&self) -> Result<Claim, Failure> {
        let lease = self.required_lease(ErrorCode::MissingLease)?;
        let txn = self.required_txn()?;
        let token = self.fencing_token()?;
        Ok(Claim { lease, token, txn })
    }

    // ---- conditions -----------------------------------------------------------------------------------------------------

    pub(crate) fn if_version(&self) -> Result<Option<i64>, Failure> {
        let Some(text) = self.header(header::IF_VERSION) else { return Ok(None) };
        text.parse().map(Some).map_err(|_| {
            Failure::new(ErrorCode::InvalidVersion, format!("X-If-Version {text:?} is not a decimal integer"))
        })
    }

    pub(crate) fn if_state_etag(&self) -> Option<ExpectEtag> {
        let text = self.header(header::IF_STATE_ETAG)?;
        Some(match unquoted(&text) {
            "" => ExpectEtag::Nothing,
            etag => match Digest::parse(etag) {
                Some(digest) if digest.hex() == *etag.as_bytes() => ExpectEtag::Digest(digest),
                _ => ExpectEtag::Foreign,
            },
        })
    }

    pub(crate) fn query_hidden(&self) -> Result<Option<bool>, Failure> {
        let Some(text) = self.header(header::META_QUERY_HIDDEN) else { return Ok(None) };
        match &*text {
            "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(Some(true)),
            "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(Some(false)),
            other => {
                let detail = format!("X-Lockd-Meta-Query-Hidden {other:?} is neither true nor false");
                Err(Failure::new(ErrorCode::InvalidMetadata, detail))
            }
        }
    }
}

/// Blanks and double quotes around an ETag do not belong to it.
pub(crate) fn unquoted(text: &str) -> &str {
    text.trim_matches(|character: char| character == '"' || character.is_whitespace())
}

pub(crate) fn present<'a>(text: &'a str, missing: ErrorCode, detail: &str) -> Result<&'a str, Failure> {
    if text.is_empty() { Err(Failure::new(missing, detail)) } else { Ok(text) }
}

pub(crate) fn key_name(raw: &str) -> Result<KeyName, Failure> {
    KeyName::parse(raw).map_err(|error| Failure::new(ErrorCode::InvalidKey, error.to_string()))
}

pub(crate) fn key_id(namespace: &Namespace, raw: &str) -> Result<KeyId, Failure> {
    Ok(KeyId::new(namespace, &key_name(raw)?))
}
