//! Staging and committing state.

use lockd_client::{Body, ErrorCode, Metadata, NamespaceChange, Outcome, UpdateOptions};
use lockd_conformance::server::{Launch, StoreKind};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;

use crate::{at_once, client, endpoint, key};

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct Progress {
    done: u64,
    of: u64,
}

#[tokio::test]
async fn what_is_saved_becomes_visible_with_the_release() {
    let (client, key) = (client(), key());
    let mut session = client.acquire(&key, &at_once()).await.unwrap();
    assert_eq!((session.version(), session.etag(), session.fencing_token()), (Some(0), None, 1));
    assert_eq!(session.load::<Progress>().await.unwrap(), None);
    let saved = session.save(&Progress { done: 1, of: 3 }).await.unwrap();
    assert_eq!((saved.version, saved.bytes), (1, Some(r#"{"done":1,"of":3}"#.len() as u64)));
    let saved = session.save(&Progress { done: 2, of: 3 }).await.unwrap();
    assert_eq!(session.etag().as_deref(), Some(saved.etag.as_str()));
    assert_eq!(session.load::<Progress>().await.unwrap(), Some(Progress { done: 2, of: 3 }));
    assert_eq!(client.read::<Progress>(&key).await.unwrap(), None, "only staged");
    assert_eq!(session.release().await.unwrap().outcome, Outcome::Committed);
    let read = client.read::<Progress>(&key).await.unwrap().unwrap();
    assert_eq!((read.value, read.version, read.etag), (Progress { done: 2, of: 3 }, 1, saved.etag));
    let described = client.describe(&key).await.unwrap();
    assert_eq!((described.version, described.owner), (1, None));
}

#[tokio::test]
async fn a_rollback_leaves_nothing() {
    let (client, key) = (client(), key());
    let mut session = client.acquire(&key, &at_once()).await.unwrap();
    session.save(&1).await.unwrap();
    assert_eq!(session.rollback().await.unwrap().outcome, Outcome::RolledBack);
    assert_eq!(client.read::<u64>(&key).await.unwrap(), None);
    let session = client.acquire(&key, &at_once()).await.unwrap();
    assert_eq!(session.release().await.unwrap().outcome, Outcome::Nothing);
}

#[tokio::test]
async fn large_documents_stream_both_ways() {
    let (client, key) = (client(), key());
    let mut session = client.acquire(&key, &at_once()).await.unwrap();
    let document = serde_json::to_vec(&vec!["lockd ".repeat(100); 10_000]).unwrap();
    let reader = std::io::Cursor::new(document.clone());
    let saved = session.update(Body::reader(reader)).await.unwrap();
    assert_eq!(saved.bytes, Some(document.len() as u64));
    let mut state = session.get().await.unwrap().unwrap();
    assert_eq!((state.version(), state.etag()), (1, saved.etag.as_str()));
    let mut read = Vec::new();
    state.read_to_end(&mut read).await.unwrap();
    assert!(read == document);
    session.release().await.unwrap();
    let state = client.read_stream(&key).await.unwrap().unwrap();
    assert!(state.bytes().await.unwrap() == document);
}

#[tokio::test]
async fn a_reader_that_fails_or_ends_early_stages_nothing() {
    let (client, key) = (client(), key());
    let mut session = client.acquire(&key, &at_once()).await.unwrap();
    session.save(&"before").await.unwrap();
    let error = session.update(Body::reader_of_length(&b"{\"a\""[..], 100)).await.unwrap_err();
    assert!(error.to_string().contains("96 bytes before its announced length"), "{error}");
    assert_eq!(session.load::<String>().await.unwrap().as_deref(), Some("before"));
    session.release().await.unwrap();
}

#[tokio::test]
async fn conditions_are_checked_and_refusals_say_what_is_there() {
    let (client, key) = (client(), key());
    let mut session = client.acquire(&key, &at_once()).await.unwrap();
    let saved = session.update_with("{}", &UpdateOptions::new().if_version(0)).await.unwrap();
    let stale = session.update_with("{}", &UpdateOptions::new().if_version(0)).await.unwrap_err();
    assert!(stale.is(ErrorCode::VersionConflict), "{stale}");
    assert_eq!((stale.status(), stale.current_version()), (Some(409), Some(1)));
    assert_eq!(stale.current_etag(), Some(saved.etag.as_str()));
    assert!(stale.correlation_id().is_some() && !stale.is_outcome_unknown());
    let other = session.update_with("{}", &UpdateOptions::new().if_etag("beef")).await.unwrap_err();
    assert!(other.is(ErrorCode::EtagMismatch), "{other}");
    let short = session.update_with("{}", &UpdateOptions::new().expect_bytes(3)).await.unwrap_err();
    assert!(short.is(ErrorCode::ExpectedBytesMismatch), "{short}");
    assert!(session.update("{").await.unwrap_err().is(ErrorCode::InvalidBody));
    session.release().await.unwrap();
}

#[tokio::test]
async fn a_refused_change_does_not_make_the_release_doubtful() {
    let (client, key) = (client(), key());
    let mut session = client.acquire(&key, &at_once()).await.unwrap();
    session.update("{").await.unwrap_err();
    assert_eq!(session.release().await.unwrap().outcome, Outcome::Nothing);
}

#[tokio::test]
async fn mutations_metadata_and_removal() {
    let (client, key) = (client(), key());
    let mut session = client.acquire(&key, &at_once()).await.unwrap();
    let mutated = session.mutate(["/status=\"ready\"", "/count=1"]).await.unwrap();
    assert_eq!((mutated.candidates_seen, mutated.candidates_written, mutated.saved.version), (1, 1, 1));
    session.mutate(["/count++"]).await.unwrap();
    assert_eq!(session.load::<Value>().await.unwrap(), Some(json!({"status": "ready", "count": 2})));
    assert!(session.mutate(["/broken"]).await.unwrap_err().is(ErrorCode::InvalidMutations));
    assert!(session.set_query_hidden(true).await.unwrap().metadata.query_hidden);
    session.release().await.unwrap();
    assert!(client.describe(&key).await.unwrap().metadata.query_hidden);

    let mut session = client.acquire(&key, &at_once()).await.unwrap();
    session.save(&1).await.unwrap();
    let removed = session.remove().await.unwrap();
    assert!(removed.removed);
    assert_eq!(session.load::<Value>().await.unwrap(), None);
    assert!(session.remove().await.unwrap().removed, "a removal may be repeated");
    session.save(&2).await.unwrap();
    session.remove().await.unwrap();
    session.set_metadata(Metadata::default()).await.unwrap();
    assert_eq!(session.release().await.unwrap().outcome, Outcome::Committed);
    let described = client.describe(&key).await.unwrap();
    assert_eq!((described.state_etag, described.metadata.query_hidden), (None, false));
    let mut session = client.acquire(&key, &at_once()).await.unwrap();
    assert!(!session.remove().await.unwrap().removed);
    assert_eq!(session.release().await.unwrap().outcome, Outcome::Nothing);
}

#[tokio::test]
async fn a_state_of_another_form_is_an_error_that_names_the_key() {
    let (client, key) = (client(), key());
    let mut session = client.acquire(&key, &at_once()).await.unwrap();
    session.save(&"text").await.unwrap();
    let error = session.load::<Progress>().await.unwrap_err().to_string();
    assert!(error.contains(&key) && error.contains("expected struct Progress"), "{error}");
    session.release().await.unwrap();
}

#[tokio::test]
async fn namespaces_are_separate_and_have_settings() {
    let (client, key) = (client(), key());
    let team = client.in_namespace(&key);
    let mut session = team.acquire("same", &at_once()).await.unwrap();
    assert_eq!(session.namespace(), key);
    session.save(&1).await.unwrap();
    session.release().await.unwrap();
    assert!(team.read::<u64>("same").await.unwrap().is_some());
    assert!(client.in_namespace(&format!("{key}-2")).read::<u64>("same").await.unwrap().is_none());

    let before = team.namespace_settings().await.unwrap();
    assert_eq!((before.namespace.as_str(), before.etag), (key.as_str(), None));
    let after =
        team.change_namespace_settings(&NamespaceChange::new().preferred_engine("SCAN")).await.unwrap();
    assert_eq!(after.preferred_engine, "scan");
    let stale = NamespaceChange::new().preferred_engine("index").if_match("stale");
    let error = team.change_namespace_settings(&stale).await.unwrap_err();
    assert!(error.is(ErrorCode::NamespaceConfigConflict), "{error}");
    let right = NamespaceChange::new().fallback_engine("scan").if_match(after.etag.unwrap());
    assert_eq!(team.change_namespace_settings(&right).await.unwrap().fallback_engine, "scan");
}

#[tokio::test]
async fn unix_sockets_work() {
    let directory = tempfile::tempdir().unwrap();
    let server = Launch::fresh(StoreKind::Mem).unix_socket(&directory.path().join("s")).start();
    let client = lockd_client::Client::connect(&endpoint(&server)).unwrap();
    client.check_health().await.unwrap();
    let mut session = client.acquire("a", &at_once()).await.unwrap();
    session.save(&7).await.unwrap();
    session.release().await.unwrap();
    assert_eq!(client.read::<u64>("a").await.unwrap().unwrap().value, 7);
}
