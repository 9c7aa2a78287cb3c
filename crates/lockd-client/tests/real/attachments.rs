//! Attachments.

use lockd_client::{AttachOptions, AttachmentSelector, Body, ErrorCode};
use tokio::io::AsyncReadExt as _;

use crate::{at_once, client, key};

#[tokio::test]
async fn attachments_come_and_go_with_the_lease() {
    let (client, key) = (client(), key());
    let session = client.acquire(&key, &at_once()).await.unwrap();
    let big: Vec<u8> = (0..3_000_000u32).map(|n| n as u8).collect();
    let attached = session.attach("big.bin", Body::reader(std::io::Cursor::new(big.clone()))).await.unwrap();
    assert_eq!((attached.attachment.size, attached.noop, attached.version), (3_000_000, false, 1));
    let text = AttachOptions::new().content_type("text/plain").max_bytes(100);
    let note = session.attach_with("ä note.txt", "all is well", &text).await.unwrap().attachment;
    assert_eq!(client.list_attachments(&key).await.unwrap(), [], "only staged");
    let names: Vec<String> = session.attachments().await.unwrap().into_iter().map(|one| one.name).collect();
    assert_eq!(names, ["big.bin", "ä note.txt"]);
    let kept = session.attach_with("ä note.txt", "other", &text.clone().prevent_overwrite()).await.unwrap();
    assert!(kept.noop);
    let too_large = session.attach_with("x", "12345", &AttachOptions::new().max_bytes(3)).await.unwrap_err();
    assert!(too_large.is(ErrorCode::AttachmentTooLarge), "{too_large}");

    let mut stream = session.attachment("big.bin").await.unwrap();
    assert_eq!(stream.attachment().size, 3_000_000);
    let mut read = Vec::new();
    stream.read_to_end(&mut read).await.unwrap();
    assert!(read == big);
    session.release().await.unwrap();

    let stream = client.read_attachment(&key, "ä note.txt").await.unwrap();
    assert_eq!(stream.attachment(), &note);
    assert_eq!(stream.bytes().await.unwrap(), "all is well");
    let by_both = AttachmentSelector::id(&note.id).and_name("other");
    let missing = client.read_attachment(&key, by_both).await.unwrap_err();
    assert!(missing.is(ErrorCode::AttachmentNotFound), "{missing}");

    let session = client.acquire(&key, &at_once()).await.unwrap();
    assert!(session.delete_attachment(&note).await.unwrap().deleted);
    assert!(!session.delete_attachment("none").await.unwrap().deleted);
    assert_eq!(session.delete_attachments().await.unwrap().deleted, 1);
    session.release().await.unwrap();
    assert_eq!(client.list_attachments(&key).await.unwrap(), []);
}

#[tokio::test]
async fn uploads_may_run_at_the_same_time() {
    let (client, key) = (client(), key());
    let session = client.acquire(&key, &at_once()).await.unwrap();
    let (a, b) = tokio::join!(session.attach("a", "1"), session.attach("b", "2"));
    assert_eq!((a.unwrap().attachment.name, b.unwrap().attachment.name), ("a".into(), "b".into()));
    session.release().await.unwrap();
    assert_eq!(client.list_attachments(&key).await.unwrap().len(), 2);
}
