//! Directories that are not, or not any more, a store this version can open.

use std::fs;

use lockd_store::suite::Writer;
use tempfile::TempDir;

use super::*;

fn refused(root: &Path) -> String {
    let error = open(root).unwrap_err();
    let text = error.to_string();
    assert!(text.contains(&root.display().to_string()), "{text}");
    text
}

/// Everything in a directory, to see that nothing has been touched.
fn picture(root: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    files(root).into_iter().map(|file| (file.clone(), fs::read(root.join(&file)).unwrap())).collect()
}

#[test]
fn foreign_directories_are_left_alone() {
    let directory = TempDir::new().unwrap();
    let root = directory.path().join("home");
    fs::create_dir(&root).unwrap();
    fs::write(root.join("thesis.txt"), "draft").unwrap();
    let before = picture(&root);
    let text = refused(&root);
    assert!(text.contains("thesis.txt") && text.contains("not empty"), "{text}");
    assert_eq!(picture(&root), before);
}

#[test]
fn files_and_impossible_paths_are_refused() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    assert!(refused(&file).contains("not a directory"));
    refused(&file.join("below"));
    refused(Path::new("/proc/lockd"));
    let options = Options::default();
    assert!(lockd_store::disk::open(Path::new(""), &options).unwrap_err().to_string().contains("required"));
    assert!(
        lockd_store::disk::open(Path::new("x/y"), &options).unwrap_err().to_string().contains("relative")
    );
}

#[test]
fn a_newer_or_unknown_format_is_refused() {
    let directory = TempDir::new().unwrap();
    let root = directory.path().join("store");
    let store = open(&root).unwrap();
    Writer::new(&store.engine).commit(batch(1));
    store.engine.close().unwrap();
    let format = root.join("format");
    let current = fs::read_to_string(&format).unwrap();
    for (text, says) in [
        ("lockd-store 3\n", "format 3, written by a newer version; this version reads format 2"),
        ("lockd-store 0\n", "damaged or not ours"),
        ("other 1\n", "damaged or not ours"),
        ("", "damaged or not ours"),
        ("\u{0}\u{ffff}", "damaged or not ours"),
    ] {
        fs::write(&format, text).unwrap();
        let before = picture(&root.join("db"));
        let error = refused(&root);
        assert!(error.contains(says), "{text:?}: {error}");
        assert!(picture(&root.join("db")) == before);
    }
    fs::remove_file(&format).unwrap();
    assert!(refused(&root).contains("no file \"format\""));
    fs::write(&format, current).unwrap();
    let store = open(&root).unwrap();
    assert!(content(&*store.engine).unwrap() == expected(1));
    store.engine.close().unwrap();
}

#[test]
fn a_creation_that_was_interrupted_is_done_again_or_finished() {
    let directory = TempDir::new().unwrap();
    let root = directory.path().join("store");
    // Interrupted while building: nothing of it counts.
    fs::create_dir_all(root.join("creating/keyspaces")).unwrap();
    fs::write(root.join("lock"), "").unwrap();
    fs::write(root.join("format.new"), "lockd").unwrap();
    open(&root).unwrap().engine.close().unwrap();
    // Interrupted after the format was written: complete but for its name.
    fs::rename(root.join("db"), root.join("creating")).unwrap();
    fs::remove_dir_all(root.join("blobs")).unwrap();
    fs::remove_dir_all(root.join("log")).unwrap();
    fs::remove_file(root.join("last-use")).unwrap();
    let store = open(&root).unwrap();
    assert_eq!(content(&*store.engine).unwrap().len(), 0);
    store.engine.close().unwrap();
}

#[test]
fn a_store_without_a_commit_log_is_turned_into_one_with_it() {
    let directory = TempDir::new().unwrap();
    let root = directory.path().join("store");
    let store = open(&root).unwrap();
    let writer = Writer::new(&store.engine);
    (1..=3).for_each(|n| _ = writer.commit(batch(n)));
    store.engine.close().unwrap();
    // Closed, the two layouts differ in nothing else.
    fs::write(root.join("format"), "lockd-store 1\n").unwrap();
    fs::remove_dir_all(root.join("log")).unwrap();
    for n in 3..5 {
        let store = open(&root).unwrap();
        assert!(content(&*store.engine).unwrap() == expected(n));
        Writer::new(&store.engine).commit(batch(n + 1));
        // An older version must not open what it would find without its newest commits.
        assert_eq!(fs::read_to_string(root.join("format")).unwrap(), "lockd-store 2\n");
        store.engine.close().unwrap();
    }
}

#[test]
fn a_commit_log_without_the_note_about_it_is_refused() {
    let directory = TempDir::new().unwrap();
    let root = directory.path().join("store");
    let store = open(&root).unwrap();
    Writer::new(&store.engine).commit(batch(1));
    store.engine.close().unwrap();
    let note = fs::read(root.join("last-use")).unwrap();
    fs::remove_file(root.join("last-use")).unwrap();
    assert!(refused(&root).contains("last-use is missing or unreadable"));
    fs::write(root.join("last-use"), "opened, log 1 from 2").unwrap();
    assert!(refused(&root).contains("last-use is missing or unreadable"));
    fs::write(root.join("last-use"), note).unwrap();
    open(&root).unwrap().engine.close().unwrap();
}

#[test]
fn an_empty_database_is_not_created_in_place_of_a_lost_one() {
    let directory = TempDir::new().unwrap();
    let root = directory.path().join("store");
    open(&root).unwrap().engine.close().unwrap();
    fs::remove_dir_all(root.join("db")).unwrap();
    assert!(refused(&root).contains("missing"));
    assert!(!root.join("db").exists());
}

#[test]
fn unsynced_stores_say_so() {
    let directory = TempDir::new().unwrap();
    let url = format!("disk://{}/store", directory.path().display());
    let store = lockd_store::open(&format!("{url}?sync=never"), Options::default()).unwrap();
    assert!(store.warnings.iter().any(|warning| warning.contains("power cut")), "{:?}", store.warnings);
    store.engine.close().unwrap();
    let store = lockd_store::open(&url, Options::default()).unwrap();
    assert_eq!(store.warnings, Vec::<String>::new());
    store.engine.close().unwrap();
}
