//! One owner at a time.

use lockd_store::suite::Writer;
use tempfile::TempDir;

use super::*;

#[test]
fn a_second_owner_is_told_who_the_first_is() {
    let directory = TempDir::new().unwrap();
    let root = directory.path().join("store");
    let store = open(&root).unwrap();
    let writer = Writer::new(&store.engine);
    let error = open(&root).unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, StoreError::Owned(_)), "{error:?}");
    assert!(text.contains(&root.display().to_string()), "{text}");
    assert!(text.contains(&format!("process {} ", std::process::id())), "{text}");
    // The first has not noticed.
    writer.commit(batch(1));
    store.engine.close().unwrap();
    let store = open(&root).unwrap();
    assert!(content(&*store.engine).unwrap() == expected(1));
    store.engine.close().unwrap();
}

#[test]
fn what_a_dead_owner_wrote_into_the_lock_file_does_not_matter() {
    let directory = TempDir::new().unwrap();
    let root = directory.path().join("store");
    open(&root).unwrap().engine.close().unwrap();
    for text in ["process 1\nhost elsewhere\nsince ever\n", "", "\u{1}garbage"] {
        std::fs::write(root.join("lock"), text).unwrap();
        open(&root).unwrap().engine.close().unwrap();
    }
}

#[test]
fn dropping_the_engine_gives_up_ownership() {
    let directory = TempDir::new().unwrap();
    let root = directory.path().join("store");
    for _ in 0..3 {
        let store = open(&root).unwrap();
        let snapshot = store.engine.snapshot();
        drop(store);
        let error = snapshot.get(b"key").unwrap_err();
        assert!(error.to_string().contains("closed"), "{error}");
    }
}
