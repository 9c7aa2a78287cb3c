//! Checks of the blobs.

use bytes::Bytes;

use super::Fixture;
use crate::{BlobId, Blobs, StoreError};

/// The nth blob, in an order that spreads over time like real ids do.
pub(super) fn id(n: u128) -> BlobId {
    BlobId(((n << 96) | 0x7000_0000_0000_0000_0000 | n).to_be_bytes())
}

pub(super) fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

pub(super) fn write(blobs: &dyn Blobs, id: BlobId, content: &[u8]) {
    run(async {
        let mut writer = blobs.create(id).await.unwrap();
        writer.write(Bytes::copy_from_slice(content)).await.unwrap();
        writer.finish().await.unwrap();
    });
}

async fn read(blobs: &dyn Blobs, id: BlobId, offset: u64) -> Result<Vec<u8>, StoreError> {
    let mut reader = blobs.open(id, offset).await?;
    let mut content = Vec::new();
    while let Some(piece) = reader.read().await? {
        assert!(!piece.is_empty() && piece.len() <= 1 << 20, "a piece of {} bytes", piece.len());
        content.extend_from_slice(&piece);
    }
    assert_eq!(reader.read().await?, None, "the end stays the end");
    Ok(content)
}

pub(super) fn list(blobs: &dyn Blobs) -> Vec<BlobId> {
    run(blobs.list(None, usize::MAX)).unwrap()
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at % 251) as u8).collect()
}

pub fn a_blob_comes_back_as_it_was_written(fixture: &dyn Fixture) {
    let store = fixture.open();
    run(async {
        let sizes = [0, 1, 1000, 65_536, 262_143, 262_144, 262_145, 524_288, 1 << 20, (5 << 20) + 3];
        for (at, size) in sizes.into_iter().enumerate() {
            for (step, piece) in [4096, 100_000, 3 << 20].into_iter().enumerate() {
                let id = id((at * 10 + step) as u128);
                let content = pattern(size);
                let mut writer = store.blobs.create(id).await.unwrap();
                for piece in content.chunks(piece) {
                    writer.write(Bytes::copy_from_slice(piece)).await.unwrap();
                }
                writer.finish().await.unwrap();
                for offset in [0, 1, 4096, 262_144, size / 2, size.saturating_sub(1), size, size + 10] {
                    let found = read(&*store.blobs, id, offset as u64).await.unwrap();
                    assert!(found == content[offset.min(size)..], "{size} bytes from {offset}");
                }
            }
        }
    });
    store.engine.close().unwrap();
}

pub fn a_blob_exists_once_it_is_finished(fixture: &dyn Fixture) {
    let store = fixture.open();
    run(async {
        let mut writer = store.blobs.create(id(1)).await.unwrap();
        for _ in 0..20 {
            writer.write(pattern(100_000).into()).await.unwrap();
            let opened = store.blobs.open(id(1), 0).await;
            assert!(matches!(opened, Err(StoreError::NotFound(_))), "{opened:?}");
            assert_eq!(store.blobs.list(None, 10).await.unwrap(), []);
        }
        writer.finish().await.unwrap();
        assert_eq!(read(&*store.blobs, id(1), 0).await.unwrap().len(), 2_000_000);
        assert_eq!(store.blobs.list(None, 10).await.unwrap(), [id(1)]);
    });
    store.engine.close().unwrap();
}

pub fn a_dropped_writer_leaves_nothing(fixture: &dyn Fixture) {
    let store = fixture.open();
    run(async {
        for size in [0, 10, 3 << 20] {
            let mut writer = store.blobs.create(id(1)).await.unwrap();
            writer.write(pattern(size).into()).await.unwrap();
            drop(writer);
        }
    });
    assert_eq!(list(&*store.blobs), []);
    store.engine.close().unwrap();
    let store = fixture.open();
    assert_eq!(list(&*store.blobs), []);
    // The name is free again.
    write(&*store.blobs, id(1), b"content");
    assert_eq!(list(&*store.blobs), [id(1)]);
    store.engine.close().unwrap();
}

pub fn blobs_survive_reopening(fixture: &dyn Fixture) {
    if !fixture.is_persistent() {
        return;
    }
    let store = fixture.open();
    for at in 0..5 {
        write(&*store.blobs, id(at), &pattern(at as usize * 100_000));
    }
    run(store.blobs.delete(id(3))).unwrap();
    store.engine.close().unwrap();
    let store = fixture.open();
    assert_eq!(list(&*store.blobs), [id(0), id(1), id(2), id(4)]);
    assert!(run(read(&*store.blobs, id(4), 0)).unwrap() == pattern(400_000));
    store.engine.close().unwrap();
}

pub fn a_reader_outlives_its_blob(fixture: &dyn Fixture) {
    let store = fixture.open();
    let content = pattern(3 << 20);
    write(&*store.blobs, id(1), &content);
    run(async {
        let mut reader = store.blobs.open(id(1), 0).await.unwrap();
        let mut found = reader.read().await.unwrap().unwrap().to_vec();
        store.blobs.delete(id(1)).await.unwrap();
        let opened = store.blobs.open(id(1), 0).await;
        assert!(matches!(opened, Err(StoreError::NotFound(_))), "{opened:?}");
        while let Some(piece) = reader.read().await.unwrap() {
            found.extend_from_slice(&piece);
        }
        assert!(found == content);
    });
    store.engine.close().unwrap();
}

pub fn absent_blobs_are_not_found(fixture: &dyn Fixture) {
    let store = fixture.open();
    let opened = run(store.blobs.open(id(1), 0));
    let error = opened.unwrap_err();
    assert!(matches!(&error, StoreError::NotFound(_)), "{error:?}");
    assert!(error.to_string().contains(&id(1).to_string()), "{error}");
    run(store.blobs.delete(id(1))).unwrap();
    assert_eq!(list(&*store.blobs), []);
    store.engine.close().unwrap();
}

pub fn blobs_are_listed_in_order_and_pages(fixture: &dyn Fixture) {
    let store = fixture.open();
    // Several with the same beginning, and some far apart.
    let mut ids: Vec<BlobId> = (0..40_u128).map(|n| id(n / 4 * 7 + (n % 4) * (1 << 20))).collect();
    for id in ids.iter().rev() {
        write(&*store.blobs, *id, b"");
    }
    ids.sort();
    for limit in [1, 3, 10, 100] {
        let mut found: Vec<BlobId> = Vec::new();
        loop {
            let page = run(store.blobs.list(found.last().copied(), limit)).unwrap();
            assert!(page.len() <= limit);
            if page.is_empty() {
                break;
            }
            found.extend(page);
        }
        assert_eq!(found, ids);
    }
    assert_eq!(run(store.blobs.list(None, 0)).unwrap(), []);
    store.engine.close().unwrap();
}

pub fn blobs_are_written_side_by_side(fixture: &dyn Fixture) {
    let store = fixture.open();
    run(async {
        let mut writers = Vec::new();
        for at in 0..8_u8 {
            writers.push((at, store.blobs.create(id(at.into())).await.unwrap()));
        }
        for _ in 0..10 {
            for (at, writer) in &mut writers {
                writer.write(vec![*at; 100_000].into()).await.unwrap();
            }
        }
        for (_, writer) in writers.into_iter().rev() {
            writer.finish().await.unwrap();
        }
        for at in 0..8_u8 {
            assert!(read(&*store.blobs, id(at.into()), 0).await.unwrap() == vec![at; 1_000_000]);
        }
    });
    store.engine.close().unwrap();
}
