//! Attachments under a lease.

use super::LeaseSession;
use crate::attachment::{Attached, Attachment, AttachmentSelector, Deleted, DeletedAll};
use crate::body::{Body, Payload};
use crate::call::{Call, Repeat};
use crate::client::{attachment_stream, attachments, select};
use crate::error::Result;
use crate::options::AttachOptions;
use crate::stream::AttachmentStream;

use http::Method;

impl LeaseSession {
    /// Stages an attachment, in place of one of the same name.
    ///
    /// ```no_run
    /// # async fn example(session: &lockd_client::LeaseSession) -> Result<(), Box<dyn std::error::Error>> {
    /// use lockd_client::Body;
    ///
    /// session.attach("note.txt", "all is well").await?;
    /// let file = tokio::fs::File::open("report.pdf").await?;
    /// let length = file.metadata().await?.len();
    /// session.attach("report.pdf", Body::reader_of_length(file, length)).await?;
    /// # Ok(()) }
    /// ```
    pub async fn attach(&self, name: &str, content: impl Into<Body>) -> Result<Attached> {
        self.attach_with(name, content, &AttachOptions::new()).await
    }

    /// The same with a media type, a limit, or protection of what is there.
    ///
    /// ```no_run
    /// # async fn example(session: &lockd_client::LeaseSession) -> lockd_client::Result<()> {
    /// use lockd_client::AttachOptions;
    ///
    /// let options = AttachOptions::new().content_type("text/plain").prevent_overwrite();
    /// if session.attach_with("note.txt", "all is well", &options).await?.noop {
    ///     println!("there was one already");
    /// }
    /// # Ok(()) }
    /// ```
    pub async fn attach_with(
        &self,
        name: &str,
        content: impl Into<Body>,
        options: &AttachOptions,
    ) -> Result<Attached> {
        let mut call = self.attachments_call(Method::POST, "/v1/attachments");
        call.query("name", name);
        if let Some(content_type) = &options.content_type {
            call.query("content_type", content_type);
        }
        if let Some(most) = options.max_bytes {
            call.query("max_bytes", &most.to_string());
        }
        if options.prevent_overwrite {
            call.query("prevent_overwrite", "1");
        }
        call.payload = Payload::from(content.into());
        if call.payload.is_reader() || options.prevent_overwrite {
            // A reader cannot be read again; and what an attempt has stored would prevent its repetition.
            call.repeat = Repeat::Never;
        }
        let attached: Attached = self.stage(call, true).await?.json()?;
        self.note(!attached.noop, attached.version);
        Ok(attached)
    }

    /// The attachments as the lease sees them, by name.
    ///
    /// ```no_run
    /// # async fn example(session: &lockd_client::LeaseSession) -> lockd_client::Result<()> {
    /// for attachment in session.attachments().await? {
    ///     println!("{} ({} bytes)", attachment.name, attachment.size);
    /// }
    /// # Ok(()) }
    /// ```
    pub async fn attachments(&self) -> Result<Vec<Attachment>> {
        attachments(&self.vigil.send(self.attachments_call(Method::GET, "/v1/attachments")).await?)
    }

    /// An attachment as it arrives. Fails with `attachment_not_found` if there is none.
    ///
    /// ```no_run
    /// # async fn example(session: &lockd_client::LeaseSession) -> Result<(), Box<dyn std::error::Error>> {
    /// let mut report = session.attachment("report.pdf").await?;
    /// let mut file = tokio::fs::File::create("report.pdf").await?;
    /// tokio::io::copy(&mut report, &mut file).await?;
    /// # Ok(()) }
    /// ```
    pub async fn attachment(&self, which: impl Into<AttachmentSelector>) -> Result<AttachmentStream> {
        let which = which.into();
        let mut call = self.attachments_call(Method::GET, "/v1/attachment");
        select(&mut call, &which);
        call.streaming();
        attachment_stream(&which, self.vigil.send(call).await?)
    }

    /// Stages that an attachment goes away.
    ///
    /// ```no_run
    /// # async fn example(session: &lockd_client::LeaseSession) -> lockd_client::Result<()> {
    /// if !session.delete_attachment("report.pdf").await?.deleted {
    ///     println!("there was none");
    /// }
    /// # Ok(()) }
    /// ```
    pub async fn delete_attachment(&self, which: impl Into<AttachmentSelector>) -> Result<Deleted> {
        let mut call = self.attachments_call(Method::DELETE, "/v1/attachment");
        select(&mut call, &which.into());
        let deleted: Deleted = self.stage(call, true).await?.json()?;
        self.note(deleted.deleted, deleted.version);
        Ok(deleted)
    }

    /// Stages that all attachments go away.
    ///
    /// ```no_run
    /// # async fn example(session: &lockd_client::LeaseSession) -> lockd_client::Result<()> {
    /// println!("{} gone once the lease is released", session.delete_attachments().await?.deleted);
    /// # Ok(()) }
    /// ```
    pub async fn delete_attachments(&self) -> Result<DeletedAll> {
        let call = self.attachments_call(Method::DELETE, "/v1/attachments");
        let deleted: DeletedAll = self.stage(call, true).await?.json()?;
        // With a removed state there is nothing to clear, so nothing may have been staged.
        self.note(deleted.deleted > 0, deleted.version);
        self.view().staged.possible = true;
        Ok(deleted)
    }

    fn attachments_call(&self, method: Method, path: &'static str) -> Call {
        let mut call = Call::new(method, path);
        call.lease(self.lease());
        call
    }

    fn note(&self, staged: bool, version: i64) {
        let mut view = self.view();
        view.staged.certain |= staged;
        if staged && version > 0 {
            view.version = Some(version);
        }
    }
}
