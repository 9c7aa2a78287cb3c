//! The settings of a namespace: how its queries are answered.

use serde::Serialize;

/// The settings of a namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct NamespaceSettings {
    /// The namespace.
    pub namespace: String,
    /// The engine that queries use: `index` or `scan`.
    pub preferred_engine: String,
    /// The engine that queries use when the preferred one cannot answer: `none` or `scan`.
    pub fallback_engine: String,
    /// Identifies these settings; `None` for defaults that were never written.
    pub etag: Option<String>,
}

/// A change of a namespace's settings. What is not named stays as it is.
///
/// ```no_run
/// # async fn example(client: &lockd_client::Client) -> lockd_client::Result<()> {
/// use lockd_client::NamespaceChange;
///
/// let team = client.in_namespace("team-a");
/// let before = team.namespace_settings().await?;
/// let mut change = NamespaceChange::new().preferred_engine("scan");
/// if let Some(etag) = before.etag {
///     change = change.if_match(etag);
/// }
/// team.change_namespace_settings(&change).await?;
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct NamespaceChange {
    pub(crate) preferred_engine: Option<String>,
    pub(crate) fallback_engine: Option<String>,
    pub(crate) if_match: Option<String>,
}

impl NamespaceChange {
    /// Nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// `index` or `scan`.
    pub fn preferred_engine(mut self, engine: impl Into<String>) -> Self {
        self.preferred_engine = Some(engine.into());
        self
    }

    /// `none` or `scan`.
    pub fn fallback_engine(mut self, engine: impl Into<String>) -> Self {
        self.fallback_engine = Some(engine.into());
        self
    }

    /// Only if the settings still have this ETag; fails with `namespace_config_conflict` otherwise.
    pub fn if_match(mut self, etag: impl Into<String>) -> Self {
        self.if_match = Some(etag.into());
        self
    }
}
