//! The client: where everything begins, and the calls that need no lease.

use std::fmt;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::answer::{Description, Versioned};
use crate::answered::Answer;
use crate::attachment::{Attachment, AttachmentSelector};
use crate::builder::{ClientBuilder, checked_correlation_id, checked_namespace};
use crate::call::Call;
use crate::courier::Courier;
use crate::endpoint::Endpoint;
use crate::error::{Error, Result};
use crate::namespace::{NamespaceChange, NamespaceSettings};
use crate::stream::{AttachmentStream, StateStream};
use crate::transaction::Transaction;

/// Speaks to one lockd server, or to one of several that share their data. Copies are cheap and share connections.
#[derive(Clone)]
pub struct Client {
    pub(crate) inner: Arc<Courier>,
    pub(crate) namespace: Arc<str>,
    pub(crate) correlation_id: Option<Arc<str>>,
}

impl Client {
    /// A client of the servers in a comma-separated list, with default settings. It connects when it is used.
    ///
    /// ```
    /// let client = lockd_client::Client::connect("http://127.0.0.1:9341,unix:///run/lockd.sock")?;
    /// # Ok::<_, lockd_client::Error>(())
    /// ```
    pub fn connect(endpoints: &str) -> Result<Client> {
        Client::builder().endpoints(endpoints).build()
    }

    /// A client with settings of your own.
    pub fn builder() -> ClientBuilder {
        ClientBuilder::default()
    }

    /// The same client for keys of another namespace.
    ///
    /// The name is checked by the first call that uses it; see [`ClientBuilder::namespace`] for what it may be.
    ///
    /// ```
    /// # let client = lockd_client::Client::connect("http://127.0.0.1:9341")?;
    /// let team = client.in_namespace("team-a");
    /// assert_eq!(team.namespace(), "team-a");
    /// # Ok::<_, lockd_client::Error>(())
    /// ```
    #[must_use]
    pub fn in_namespace(&self, namespace: &str) -> Client {
        let namespace = checked_namespace(namespace).unwrap_or_else(|_| namespace.into());
        Client { namespace, ..self.clone() }
    }

    /// The same client, with calls that the server's log knows under this id: 1 to 128 printable ASCII characters.
    ///
    /// ```
    /// # let client = lockd_client::Client::connect("http://127.0.0.1:9341")?;
    /// let request = client.with_correlation_id("import-7")?;
    /// # Ok::<_, lockd_client::Error>(())
    /// ```
    pub fn with_correlation_id(&self, id: &str) -> Result<Client> {
        Ok(Client { correlation_id: Some(checked_correlation_id(id)?), ..self.clone() })
    }

    /// The namespace of the keys of this client.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The servers, in the order in which they were given.
    pub fn endpoints(&self) -> impl Iterator<Item = &Endpoint> {
        self.inner.servers.iter().map(|server| &server.endpoint)
    }

    /// Begins a transaction over several keys: all of it becomes visible, or nothing. No server is asked; the transaction
    /// exists from the first lease that takes part in it.
    ///
    /// ```no_run
    /// # async fn example(client: &lockd_client::Client) -> lockd_client::Result<()> {
    /// use lockd_client::AcquireOptions;
    ///
    /// let transfer = client.transaction();
    /// let mut from = transfer.acquire("accounts/a", &AcquireOptions::new()).await?;
    /// let mut to = transfer.acquire("accounts/b", &AcquireOptions::new()).await?;
    /// let (a, b) = (from.load::<i64>().await?.unwrap_or(0), to.load::<i64>().await?.unwrap_or(0));
    /// from.save(&(a - 5)).await?;
    /// to.save(&(b + 5)).await?;
    /// transfer.commit([from, to]).await?;
    /// # Ok(()) }
    /// ```
    pub fn transaction(&self) -> Transaction {
        Transaction::new(self.clone())
    }

    /// What anybody can see of a key. A key that never existed has version 0.
    ///
    /// ```no_run
    /// # async fn example(client: &lockd_client::Client) -> lockd_client::Result<()> {
    /// let key = client.describe("jobs/nightly").await?;
    /// println!("version {}, held by {:?}", key.version, key.owner);
    /// # Ok(()) }
    /// ```
    pub async fn describe(&self, key: &str) -> Result<Description> {
        let mut call = Call::get("/v1/describe");
        call.key(&self.namespace, key);
        self.send(call).await?.json()
    }

    /// The committed state of a key; `None` if it has none. Needs no lease, and sees nothing that is only staged.
    ///
    /// ```no_run
    /// # async fn example(client: &lockd_client::Client) -> lockd_client::Result<()> {
    /// if let Some(config) = client.read::<serde_json::Value>("config/app").await? {
    ///     println!("version {}: {}", config.version, config.value);
    /// }
    /// # Ok(()) }
    /// ```
    pub async fn read<T: DeserializeOwned>(&self, key: &str) -> Result<Option<Versioned<T>>> {
        let mut call = Call::get("/v1/get");
        call.key(&self.namespace, key).query("public", "1");
        let answer = self.send(call).await?;
        versioned(key, &answer)
    }

    /// The committed state of a key as it arrives.
    ///
    /// ```no_run
    /// # async fn example(client: &lockd_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// if let Some(mut state) = client.read_stream("reports/large").await? {
    ///     tokio::io::copy(&mut state, &mut tokio::io::sink()).await?;
    /// }
    /// # Ok(()) }
    /// ```
    pub async fn read_stream(&self, key: &str) -> Result<Option<StateStream>> {
        let mut call = Call::get("/v1/get");
        call.key(&self.namespace, key).query("public", "1");
        call.streaming();
        state_stream(key, self.send(call).await?)
    }

    /// The committed attachments of a key, by name.
    ///
    /// ```no_run
    /// # async fn example(client: &lockd_client::Client) -> lockd_client::Result<()> {
    /// for attachment in client.list_attachments("jobs/nightly").await? {
    ///     println!("{} ({} bytes)", attachment.name, attachment.size);
    /// }
    /// # Ok(()) }
    /// ```
    pub async fn list_attachments(&self, key: &str) -> Result<Vec<Attachment>> {
        let mut call = Call::get("/v1/attachments");
        call.key(&self.namespace, key).query("public", "1");
        attachments(&self.send(call).await?)
    }

    /// A committed attachment as it arrives. Fails with `attachment_not_found` if there is none.
    ///
    /// ```no_run
    /// # async fn example(client: &lockd_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let report = client.read_attachment("jobs/nightly", "report.txt").await?.bytes().await?;
    /// # Ok(()) }
    /// ```
    pub async fn read_attachment(
        &self,
        key: &str,
        which: impl Into<AttachmentSelector>,
    ) -> Result<AttachmentStream> {
        let which = which.into();
        let mut call = Call::get("/v1/attachment");
        call.key(&self.namespace, key).query("public", "1");
        select(&mut call, &which);
        call.streaming();
        attachment_stream(&which, self.send(call).await?)
    }

    /// The settings of the namespace of this client.
    ///
    /// ```no_run
    /// # async fn example(client: &lockd_client::Client) -> lockd_client::Result<()> {
    /// println!("{}", client.in_namespace("team-a").namespace_settings().await?.preferred_engine);
    /// # Ok(()) }
    /// ```
    pub async fn namespace_settings(&self) -> Result<NamespaceSettings> {
        let mut call = Call::get("/v1/namespace");
        call.query("namespace", &self.namespace);
        namespace_settings(&self.send(call).await?)
    }

    /// Changes the settings of the namespace of this client, and answers the new ones. See [`NamespaceChange`].
    ///
    /// ```no_run
    /// # async fn example(client: &lockd_client::Client) -> lockd_client::Result<()> {
    /// use lockd_client::NamespaceChange;
    /// client.change_namespace_settings(&NamespaceChange::new().fallback_engine("scan")).await?;
    /// # Ok(()) }
    /// ```
    pub async fn change_namespace_settings(&self, change: &NamespaceChange) -> Result<NamespaceSettings> {
        #[derive(Serialize)]
        struct Request<'a> {
            query: Engines<'a>,
        }
        #[derive(Serialize)]
        struct Engines<'a> {
            #[serde(skip_serializing_if = "Option::is_none")]
            preferred_engine: Option<&'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            fallback_engine: Option<&'a str>,
        }
        let mut call = Call::post("/v1/namespace");
        call.query("namespace", &self.namespace);
        let query = Engines {
            preferred_engine: change.preferred_engine.as_deref(),
            fallback_engine: change.fallback_engine.as_deref(),
        };
        call.json(&Request { query });
        if let Some(etag) = &change.if_match {
            call.header("if-match", etag);
        }
        namespace_settings(&self.send(call).await?)
    }

    /// Whether a server answers at all.
    ///
    /// ```no_run
    /// # async fn example(client: &lockd_client::Client) -> lockd_client::Result<()> {
    /// client.check_health().await
    /// # }
    /// ```
    pub async fn check_health(&self) -> Result<()> {
        self.send(Call::get("/healthz")).await.map(drop)
    }

    /// Brings a [`Call`] to a server that answers it, as the retry policy says. Only 200 and 204 are good answers.
    ///
    /// ```no_run
    /// # async fn example(client: &lockd_client::Client) -> lockd_client::Result<()> {
    /// use lockd_client::Call;
    ///
    /// let answer = client.send(Call::get("/readyz")).await?;
    /// println!("{} says {}", answer.endpoint(), answer.status());
    /// # Ok(()) }
    /// ```
    pub async fn send(&self, mut call: Call) -> Result<Answer> {
        if !call.headers.contains_key(lockd_wire::header::CORRELATION_ID) {
            let id = self.correlation_id.as_deref().map_or_else(crate::correlation::fresh, str::to_owned);
            call.header(lockd_wire::header::CORRELATION_ID, &id);
        }
        self.inner.send(call).await
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("endpoints", &self.endpoints().map(ToString::to_string).collect::<Vec<_>>())
            .field("namespace", &self.namespace)
            .finish_non_exhaustive()
    }
}

/// The state in a `get` answer that was read as a whole.
pub(crate) fn versioned<T: DeserializeOwned>(key: &str, answer: &Answer) -> Result<Option<Versioned<T>>> {
    if answer.status == 204 {
        return Ok(None);
    }
    let value = serde_json::from_slice(answer.bytes()?)
        .map_err(|source| Error::Undecodable { key: key.to_owned(), source })?;
    let (version, etag) = identity(answer)?;
    Ok(Some(Versioned { value, version, etag }))
}

/// The version and ETag of the state in a `get` answer.
pub(crate) fn identity(answer: &Answer) -> Result<(i64, String)> {
    let version = answer.number(lockd_wire::header::KEY_VERSION);
    let version = version.ok_or_else(|| answer.odd("the state has no X-Key-Version"))?;
    let etag = answer.etag().ok_or_else(|| answer.odd("the state has no ETag"))?;
    Ok((version, etag))
}

pub(crate) fn state_stream(key: &str, answer: Answer) -> Result<Option<StateStream>> {
    if answer.status == 204 {
        return Ok(None);
    }
    let (version, etag) = identity(&answer)?;
    let length = answer.number("content-length").and_then(|length| u64::try_from(length).ok());
    Ok(Some(StateStream { key: key.to_owned(), version, etag, length, stream: answer.into_body() }))
}

pub(crate) fn attachments(answer: &Answer) -> Result<Vec<Attachment>> {
    #[derive(Deserialize)]
    struct List {
        // Deployed servers write an empty list as null.
        #[serde(default)]
        attachments: Option<Vec<Attachment>>,
    }
    Ok(answer.json::<List>()?.attachments.unwrap_or_default())
}

pub(crate) fn select(call: &mut Call, which: &AttachmentSelector) {
    if let Some(name) = &which.name {
        call.query("name", name);
    }
    if let Some(id) = &which.id {
        call.query("id", id);
    }
}

pub(crate) fn attachment_stream(which: &AttachmentSelector, answer: Answer) -> Result<AttachmentStream> {
    use lockd_wire::header;
    let text = |name: &str| answer.header(name).unwrap_or_default().to_owned();
    let number = |name: &str| answer.number(name).unwrap_or_default();
    // A name that no header can carry is left out; then it is the one that was asked for.
    let name = answer.header(header::ATTACHMENT_NAME).map(str::to_owned).or_else(|| which.name.clone());
    let attachment = Attachment {
        id: text(header::ATTACHMENT_ID),
        name: name.unwrap_or_default(),
        size: number(header::ATTACHMENT_SIZE).try_into().unwrap_or_default(),
        plaintext_sha256: text(header::ATTACHMENT_SHA256),
        content_type: text("content-type"),
        created_at_unix: number(header::ATTACHMENT_CREATED_AT),
        updated_at_unix: number(header::ATTACHMENT_UPDATED_AT),
    };
    Ok(AttachmentStream { attachment, stream: answer.into_body() })
}

fn namespace_settings(answer: &Answer) -> Result<NamespaceSettings> {
    #[derive(Deserialize)]
    struct Settings {
        namespace: String,
        query: Engines,
    }
    #[derive(Deserialize)]
    struct Engines {
        preferred_engine: String,
        fallback_engine: String,
    }
    let Settings { namespace, query } = answer.json()?;
    Ok(NamespaceSettings {
        namespace,
        preferred_engine: query.preferred_engine,
        fallback_engine: query.fallback_engine,
        etag: answer.etag(),
    })
}
