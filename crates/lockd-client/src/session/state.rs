//! The state under a lease: reading, replacing, editing and removing it.

use bytes::Bytes;
use serde::Deserialize;
use serde::Serialize;
use serde::de::DeserializeOwned;

use lockd_wire::{ErrorCode, header};

use super::{LeaseSession, Seen};
use crate::answer::{Metadata, MetadataSet, Mutated, Removed, Saved, Versioned};
use crate::answered::Answer;
use crate::body::{Body, Payload};
use crate::call::{Call, Reading, Repeat};
use crate::client::{identity, state_stream};
use crate::error::{Error, Refusal, Result};
use crate::options::UpdateOptions;
use crate::stream::StateStream;

/// How often a replacement that met its own echo is sent again.
const ECHOES: u32 = 3;

impl LeaseSession {
    /// The state as the lease sees it: what this session has staged, or else what is committed. `None` if there is none.
    ///
    /// ```no_run
    /// # async fn example(session: &lockd_client::LeaseSession) -> lockd_client::Result<()> {
    /// #[derive(Default, serde::Deserialize)]
    /// struct Progress { done: u64 }
    ///
    /// let progress: Progress = session.load().await?.unwrap_or_default();
    /// # Ok(()) }
    /// ```
    pub async fn load<T: DeserializeOwned>(&self) -> Result<Option<T>> {
        Ok(self.load_bytes().await?.map(|bytes| self.decode(&bytes)).transpose()?.map(|state| state.value))
    }

    /// The same with its version and ETag.
    ///
    /// ```no_run
    /// # async fn example(session: &lockd_client::LeaseSession) -> lockd_client::Result<()> {
    /// if let Some(state) = session.load_versioned::<serde_json::Value>().await? {
    ///     println!("version {}: {}", state.version, state.value);
    /// }
    /// # Ok(()) }
    /// ```
    pub async fn load_versioned<T: DeserializeOwned>(&self) -> Result<Option<Versioned<T>>> {
        self.load_bytes().await?.map(|bytes| self.decode(&bytes)).transpose()
    }

    pub(crate) async fn load_bytes(&self) -> Result<Option<Versioned<Bytes>>> {
        let answer = self.vigil.send(self.get_call(Reading::Whole)).await?;
        self.see(&answer)?;
        if answer.status == 204 {
            return Ok(None);
        }
        let (version, etag) = identity(&answer)?;
        Ok(Some(Versioned { value: answer.bytes()?.clone(), version, etag }))
    }

    pub(crate) fn decode<T: DeserializeOwned>(&self, bytes: &Versioned<Bytes>) -> Result<Versioned<T>> {
        match serde_json::from_slice(&bytes.value) {
            Ok(value) => Ok(Versioned { value, version: bytes.version, etag: bytes.etag.clone() }),
            Err(source) => Err(Error::Undecodable { key: self.key().to_owned(), source }),
        }
    }

    /// The state as it arrives, for documents that are too large to hold in memory.
    ///
    /// ```no_run
    /// # async fn example(session: &lockd_client::LeaseSession) -> Result<(), Box<dyn std::error::Error>> {
    /// if let Some(mut state) = session.get().await? {
    ///     let mut file = tokio::fs::File::create("state.json").await?;
    ///     tokio::io::copy(&mut state, &mut file).await?;
    /// }
    /// # Ok(()) }
    /// ```
    pub async fn get(&self) -> Result<Option<StateStream>> {
        let answer = self.vigil.send(self.get_call(Reading::Stream)).await?;
        self.see(&answer)?;
        state_stream(self.key(), answer)
    }

    fn get_call(&self, reading: Reading) -> Call {
        let mut call = Call::get("/v1/get");
        call.lease(self.lease()).reading = reading;
        call
    }

    fn see(&self, answer: &Answer) -> Result<()> {
        let seen = match answer.status {
            204 => None,
            _ => Some(identity(answer)?),
        };
        let mut view = self.view();
        match seen {
            Some((version, etag)) => {
                view.version = Some(version);
                view.etag = Seen::Etag(etag);
                view.condition = view.etag.clone();
            }
            None => view.etag = Seen::Nothing,
        }
        Ok(())
    }

    /// Stages a new state.
    ///
    /// ```no_run
    /// # async fn example(session: &mut lockd_client::LeaseSession) -> lockd_client::Result<()> {
    /// #[derive(serde::Serialize)]
    /// struct Progress { done: u64 }
    ///
    /// let saved = session.save(&Progress { done: 3 }).await?;
    /// println!("will be version {}", saved.version);
    /// # Ok(()) }
    /// ```
    pub async fn save<T: Serialize + ?Sized>(&mut self, state: &T) -> Result<Saved> {
        let bytes = serde_json::to_vec(state)
            .map_err(|source| Error::Unencodable { key: self.key().to_owned(), source })?;
        self.update(bytes).await
    }

    /// Stages a new state: one JSON value from a string, bytes or a [reader](Body::reader).
    ///
    /// ```no_run
    /// # async fn example(session: &mut lockd_client::LeaseSession) -> Result<(), Box<dyn std::error::Error>> {
    /// use lockd_client::Body;
    ///
    /// session.update(r#"{"done": 3}"#).await?;
    /// session.update(Body::reader(tokio::fs::File::open("large.json").await?)).await?;
    /// # Ok(()) }
    /// ```
    pub async fn update(&mut self, document: impl Into<Body>) -> Result<Saved> {
        self.update_with(document, &UpdateOptions::new()).await
    }

    /// The same under conditions.
    ///
    /// ```no_run
    /// # async fn example(session: &mut lockd_client::LeaseSession) -> lockd_client::Result<()> {
    /// use lockd_client::{ErrorCode, UpdateOptions};
    ///
    /// match session.update_with(r#"{"done": 3}"#, &UpdateOptions::new().if_version(4)).await {
    ///     Err(error) if error.is(ErrorCode::VersionConflict) => println!("it is {:?} by now", error.current_version()),
    ///     saved => drop(saved?),
    /// }
    /// # Ok(()) }
    /// ```
    pub async fn update_with(&mut self, document: impl Into<Body>, options: &UpdateOptions) -> Result<Saved> {
        let mut payload = Payload::from(document.into());
        let mut echoes = 0;
        loop {
            let again = match &payload {
                Payload::Bytes(bytes) => Some(bytes.clone()),
                _ => None,
            };
            let mut call = Call::post("/v1/update");
            call.lease(self.lease()).header("content-type", "application/json");
            let is_automatic = self.conditions(&mut call, options);
            if let Some(digest) = &options.expected_sha256 {
                call.header(header::EXPECTED_SHA256, digest);
            }
            if let Some(bytes) = options.expected_bytes {
                call.header(header::EXPECTED_BYTES, &bytes.to_string());
            }
            if payload.is_reader() {
                call.repeat = Repeat::Never;
            }
            call.payload = payload;
            match self.stage(call, true).await {
                Ok(answer) => return self.saved(&answer),
                Err(Error::Refused(refusal)) if is_automatic && is_echo(&refusal) && echoes < ECHOES => {
                    let Some(bytes) = again else { return Err(Error::Refused(refusal)) };
                    // Our own first attempt was carried out, and its answer was lost. The document is the same.
                    self.believe(&refusal);
                    payload = Payload::Bytes(bytes);
                    echoes += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Stages what these expressions make of the state, computed by the server in one step. A key without a state begins as
    /// `{}`.
    ///
    /// ```no_run
    /// # async fn example(session: &mut lockd_client::LeaseSession) -> lockd_client::Result<()> {
    /// session.mutate(["/status=\"ready\"", "/count++"]).await?;
    /// # Ok(()) }
    /// ```
    pub async fn mutate<S: AsRef<str>>(
        &mut self,
        expressions: impl IntoIterator<Item = S>,
    ) -> Result<Mutated> {
        self.mutate_with(expressions, &UpdateOptions::new()).await
    }

    /// The same under conditions.
    ///
    /// ```no_run
    /// # async fn example(session: &mut lockd_client::LeaseSession) -> lockd_client::Result<()> {
    /// use lockd_client::UpdateOptions;
    ///
    /// session.mutate_with(["/count++"], &UpdateOptions::new().query_hidden(true)).await?;
    /// # Ok(()) }
    /// ```
    pub async fn mutate_with<S: AsRef<str>>(
        &mut self,
        expressions: impl IntoIterator<Item = S>,
        options: &UpdateOptions,
    ) -> Result<Mutated> {
        #[derive(Serialize)]
        struct Request {
            mutations: Vec<String>,
        }
        let mutations = expressions.into_iter().map(|one| one.as_ref().to_owned()).collect();
        let mut call = Call::post("/v1/mutate");
        call.lease(self.lease()).json(&Request { mutations });
        let is_automatic = self.conditions(&mut call, options);
        // The ETag makes sure that a repeated request is not applied to its own result. After an earlier call of unknown
        // outcome a mismatch would prove nothing: it could be that call's work.
        let is_doubtful = self.view().staged.is_doubtful();
        if !is_automatic || is_doubtful || self.view().condition == Seen::Unknown {
            call.repeat = Repeat::Never;
        }
        match self.stage(call, true).await {
            Ok(answer) => {
                let number =
                    |name: &str| answer.number(name).and_then(|n| u64::try_from(n).ok()).unwrap_or_default();
                Ok(Mutated {
                    candidates_seen: number(header::MUTATE_CANDIDATES_SEEN),
                    candidates_written: number(header::MUTATE_CANDIDATES_WRITTEN),
                    bytes_read: number(header::MUTATE_BYTES_READ),
                    bytes_written: number(header::MUTATE_BYTES_WRITTEN),
                    saved: self.saved(&answer)?,
                })
            }
            Err(Error::Refused(refusal)) if is_automatic && is_echo(&refusal) => {
                self.believe(&refusal);
                self.view().staged.certain = true;
                let saved = Saved {
                    version: refusal.current_version.unwrap_or_default(),
                    etag: refusal.current_etag.clone().unwrap_or_default(),
                    bytes: None,
                    metadata: Metadata::default(),
                };
                Ok(Mutated {
                    saved,
                    candidates_seen: 1,
                    candidates_written: 1,
                    bytes_read: 0,
                    bytes_written: 0,
                })
            }
            Err(error) => Err(error),
        }
    }

    /// Stages whether queries pass over the key.
    ///
    /// ```no_run
    /// # async fn example(session: &mut lockd_client::LeaseSession) -> lockd_client::Result<()> {
    /// session.set_query_hidden(true).await?;
    /// # Ok(()) }
    /// ```
    pub async fn set_query_hidden(&mut self, hidden: bool) -> Result<MetadataSet> {
        self.set_metadata_with(Metadata { query_hidden: hidden }, &UpdateOptions::new()).await
    }

    /// Stages the metadata.
    ///
    /// ```no_run
    /// # async fn example(session: &mut lockd_client::LeaseSession) -> lockd_client::Result<()> {
    /// let metadata = lockd_client::Metadata::default();
    /// session.set_metadata(metadata).await?;
    /// # Ok(()) }
    /// ```
    pub async fn set_metadata(&mut self, metadata: Metadata) -> Result<MetadataSet> {
        self.set_metadata_with(metadata, &UpdateOptions::new()).await
    }

    /// The same under conditions, of which only the version counts here.
    ///
    /// ```no_run
    /// # async fn example(session: &mut lockd_client::LeaseSession) -> lockd_client::Result<()> {
    /// use lockd_client::{Metadata, UpdateOptions};
    ///
    /// session.set_metadata_with(Metadata::default(), &UpdateOptions::new().if_version(3)).await?;
    /// # Ok(()) }
    /// ```
    pub async fn set_metadata_with(
        &mut self,
        metadata: Metadata,
        options: &UpdateOptions,
    ) -> Result<MetadataSet> {
        let mut call = Call::post("/v1/metadata");
        call.lease(self.lease()).json(&metadata);
        if let Some(version) = options.if_version {
            call.header(header::IF_VERSION, &version.to_string());
        }
        let answer = self.stage(call, false).await?;
        self.view().staged.certain = true;
        answer.json()
    }

    /// Stages that the state and all attachments go away, and drops metadata that was staged before. The key and its version stay.
    ///
    /// ```no_run
    /// # async fn example(session: &mut lockd_client::LeaseSession) -> lockd_client::Result<()> {
    /// if session.remove().await?.removed {
    ///     println!("gone once the lease is released");
    /// }
    /// # Ok(()) }
    /// ```
    pub async fn remove(&mut self) -> Result<Removed> {
        self.remove_with(&UpdateOptions::new()).await
    }

    /// The same under conditions. Servers look at the ETag only.
    ///
    /// ```no_run
    /// # async fn example(session: &mut lockd_client::LeaseSession, etag: String) -> lockd_client::Result<()> {
    /// use lockd_client::UpdateOptions;
    ///
    /// session.remove_with(&UpdateOptions::new().if_etag(etag)).await?;
    /// # Ok(()) }
    /// ```
    pub async fn remove_with(&mut self, options: &UpdateOptions) -> Result<Removed> {
        let mut echoes = 0;
        loop {
            let mut call = Call::post("/v1/remove");
            call.lease(self.lease());
            let is_automatic = self.conditions(&mut call, options);
            match self.stage(call, true).await {
                Ok(answer) => {
                    let removed: Removed = answer.json()?;
                    let mut view = self.view();
                    view.staged.certain |= removed.removed;
                    view.version = Some(removed.version);
                    view.etag = Seen::Nothing;
                    if removed.removed {
                        view.condition = view.committed.clone();
                    }
                    return Ok(removed);
                }
                Err(Error::Refused(refusal)) if is_automatic && is_echo(&refusal) && echoes < ECHOES => {
                    self.believe(&refusal);
                    echoes += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Sets the conditions of the caller, or else the one that keeps a delayed request from undoing a later one. Says whether
    /// it was the latter.
    fn conditions(&self, call: &mut Call, options: &UpdateOptions) -> bool {
        if let Some(version) = options.if_version {
            call.header(header::IF_VERSION, &version.to_string());
        }
        if let Some(hidden) = options.query_hidden {
            call.header(header::META_QUERY_HIDDEN, if hidden { "true" } else { "false" });
        }
        let etag = |call: &mut Call, etag: &str| {
            let quoted = if etag.is_empty() { "\"\"" } else { etag };
            call.header(header::IF_STATE_ETAG, quoted);
        };
        match (&options.if_etag, options.if_version) {
            (Some(wanted), _) => etag(call, wanted),
            (None, Some(_)) => {}
            (None, None) => match &self.view().condition {
                Seen::Etag(known) => etag(call, known),
                Seen::Nothing => etag(call, ""),
                Seen::Unknown => {}
            },
        }
        options.if_etag.is_none() && options.if_version.is_none()
    }

    /// Sends a call that stages something, and remembers that it may have done so if its answer gets lost.
    pub(super) async fn stage(&self, call: Call, makes_a_version: bool) -> Result<Answer> {
        {
            // Other calls may be under way at the same time, so each only ever adds what it knows.
            let mut view = self.view();
            view.staged.open += 1;
            view.staged.open_versioned += u32::from(makes_a_version);
        }
        let answered = self.vigil.send(call).await;
        let is_unknown = answered.as_ref().is_err_and(Error::is_outcome_unknown);
        let mut view = self.view();
        view.staged.open -= 1;
        view.staged.open_versioned -= u32::from(makes_a_version);
        view.staged.possible |= is_unknown;
        view.staged.versioned |= makes_a_version && (answered.is_ok() || is_unknown);
        drop(view);
        answered
    }

    fn saved(&self, answer: &Answer) -> Result<Saved> {
        #[derive(Deserialize)]
        struct Body {
            new_version: i64,
            new_state_etag: String,
            bytes: u64,
            #[serde(default)]
            metadata: Metadata,
        }
        let body: Body = answer.json()?;
        let mut view = self.view();
        view.staged.certain = true;
        view.version = Some(body.new_version);
        view.etag = Seen::Etag(body.new_state_etag.clone());
        view.condition = view.etag.clone();
        Ok(Saved {
            version: body.new_version,
            etag: body.new_state_etag,
            bytes: Some(body.bytes),
            metadata: body.metadata,
        })
    }

    /// Takes over what a refusal says about the state.
    fn believe(&self, refusal: &Refusal) {
        let mut view = self.view();
        view.version = refusal.current_version.or(view.version);
        view.etag = refusal.current_etag.clone().map_or(Seen::Nothing, Seen::Etag);
        view.condition = view.etag.clone();
    }
}

/// Whether the refusal of a repeated request comes from its own first attempt: under a lease nobody else changes the state.
fn is_echo(refusal: &Refusal) -> bool {
    refusal.maybe_applied && refusal.is(ErrorCode::EtagMismatch)
}
