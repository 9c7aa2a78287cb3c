//! `lockd txn`: transactions by their id. A decision holds for every participant on the store at once.

use serde_json::{Value, json};

use super::transport::{Api, Call};
use super::{Failure, Invocation, Outcome, claim, print};
use crate::verb::Verb;

pub(super) async fn decide(invocation: &Invocation) -> Outcome<()> {
    let settings = &invocation.settings;
    let txn_id = txn_id(invocation)?;
    let namespace = claim::namespace(settings)?;
    let participants: Vec<_> =
        settings.participants.iter().map(|text| participant(text, &namespace)).collect::<Outcome<_>>()?;
    let state = match invocation.verb {
        Verb::TxnCommit => "commit",
        Verb::TxnRollback => "rollback",
        _ => "pending",
    };
    let mut body = json!({ "txn_id": txn_id, "state": state, "participants": participants });
    if let Some(expires) = settings.expires_unix {
        body["expires_at_unix"] = expires.into();
    }
    show(&Api::new(invocation)?, "/v1/txn/decide", &body).await
}

pub(super) async fn replay(invocation: &Invocation) -> Outcome<()> {
    let body = json!({ "txn_id": txn_id(invocation)? });
    show(&Api::new(invocation)?, "/v1/txn/replay", &body).await
}

async fn show(api: &Api, path: &'static str, body: &Value) -> Outcome<()> {
    let value = api.send(Call::post(path).json(body)).await?.value().await?;
    let text = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
    print::out(format!("txn_id={} state={}\n", text("txn_id"), text("state")).as_bytes())
}

fn txn_id(invocation: &Invocation) -> Outcome<String> {
    match invocation.settings.txn_id.trim() {
        "" => Err(Failure::Usage(
            "--txn-id is required (xid, 20-char base32) or set LOCKD_CLIENT_TXN_ID".into(),
        )),
        id => Ok(id.to_owned()),
    }
}

/// `[NAMESPACE:]KEY[@STORE]`: the store follows the last `@`, the namespace stands before the first `:`.
fn participant(text: &str, namespace: &str) -> Outcome<Value> {
    let (key, store) = match text.trim().rsplit_once('@') {
        Some((key, store)) if store.trim().is_empty() => {
            return Err(Failure::Usage(format!("invalid participant {key:?} (empty backend hash)")));
        }
        Some((key, store)) => (key, Some(store.trim())),
        None => (text.trim(), None),
    };
    let (namespace, key) = match key.split_once(':') {
        Some((given, key)) if !given.trim().is_empty() => (given.trim(), key),
        Some((_, key)) => (namespace, key),
        None => (namespace, key),
    };
    if key.trim().is_empty() {
        return Err(Failure::Usage(format!("invalid participant {text:?}")));
    }
    let mut participant = json!({ "namespace": namespace, "key": key.trim() });
    if let Some(store) = store {
        participant["backend_hash"] = store.into();
    }
    Ok(participant)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn participants_name_namespace_key_and_store() {
        let read = |text: &str| participant(text, "ns").map(|value| value.to_string());
        assert_eq!(read("a/b").unwrap(), r#"{"key":"a/b","namespace":"ns"}"#);
        assert_eq!(read("x:a:b").unwrap(), r#"{"key":"a:b","namespace":"x"}"#);
        assert_eq!(read("x:a@b@c").unwrap(), r#"{"backend_hash":"c","key":"a@b","namespace":"x"}"#);
        assert_eq!(
            read("key1@").unwrap_err().to_string(),
            "invalid participant \"key1\" (empty backend hash)"
        );
        assert_eq!(read("x:").unwrap_err().to_string(), "invalid participant \"x:\"");
        assert_eq!(read("").unwrap_err().to_string(), "invalid participant \"\"");
    }
}
