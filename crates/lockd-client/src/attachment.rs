//! Attachments: what is known about one, how to name one, and what calls on them answer.

use serde::{Deserialize, Serialize};

/// What is known about an attachment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Attachment {
    /// Stays the same when the content is replaced.
    pub id: String,
    /// Unique among the attachments of a key.
    pub name: String,
    /// In bytes.
    pub size: u64,
    /// The SHA-256 of the content, in lower-case hexadecimal digits; empty if unknown.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub plaintext_sha256: String,
    /// The media type; empty if unknown.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub content_type: String,
    /// In seconds since 1970.
    #[serde(default)]
    pub created_at_unix: i64,
    /// In seconds since 1970.
    #[serde(default)]
    pub updated_at_unix: i64,
}

/// Chooses an attachment by name, id or both.
///
/// ```
/// use lockd_client::AttachmentSelector;
///
/// let by_name: AttachmentSelector = "report.txt".into();
/// let by_id = AttachmentSelector::id("0198f3f1-02aa-7b3c-8f10-5a1de0c0ffee");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttachmentSelector {
    pub(crate) name: Option<String>,
    pub(crate) id: Option<String>,
}

impl AttachmentSelector {
    /// The one with this name.
    pub fn name(name: impl Into<String>) -> Self {
        Self { name: Some(name.into()), id: None }
    }

    /// The one with this id.
    pub fn id(id: impl Into<String>) -> Self {
        Self { name: None, id: Some(id.into()) }
    }

    /// Only if it has this name, too.
    #[must_use]
    pub fn and_name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }
}

impl From<&str> for AttachmentSelector {
    fn from(name: &str) -> Self {
        Self::name(name)
    }
}

impl From<String> for AttachmentSelector {
    fn from(name: String) -> Self {
        Self::name(name)
    }
}

impl From<&Attachment> for AttachmentSelector {
    fn from(attachment: &Attachment) -> Self {
        Self::id(&attachment.id)
    }
}

/// The answer to an upload.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct Attached {
    /// What is stored under the name now.
    pub attachment: Attachment,
    /// There was one of this name already, and it was left alone as asked.
    #[serde(default)]
    pub noop: bool,
    /// The version that the key will have.
    #[serde(default)]
    pub version: i64,
}

/// The answer to deleting one attachment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct Deleted {
    /// Whether there was one. If a connection broke and the call was repeated, `false` may mean that the first attempt did it.
    pub deleted: bool,
    /// The version that the key will have.
    #[serde(default)]
    pub version: i64,
}

/// The answer to deleting all attachments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct DeletedAll {
    /// How many there were.
    pub deleted: u64,
    /// The version that the key will have.
    #[serde(default)]
    pub version: i64,
}
