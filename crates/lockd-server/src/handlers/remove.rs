//! `POST /v1/remove`: stage the deletion of a document and its attachments.

use lockd_core::op::{Remove, Removed};
use lockd_json::ObjectWriter;

use crate::answer::{self, KEY_VERSION, Outcome, WithHeaders};
use crate::call::{Call, key_id};
use crate::gate::Permission;

pub(crate) async fn remove(call: &Call<'_>) -> Outcome {
    let raw_key = call.raw_key()?;
    let namespace = call.namespace()?;
    call.authorise(&namespace, Permission::Write)?;
    let key = key_id(&namespace, raw_key)?;
    let claim = call.claim()?;
    // Checked for its form only: SDKs send a version that a metadata change may have outdated.
    call.if_version()?;
    call.admit().await?;
    let removed = call.node().remove(Remove { key, claim, if_etag: call.if_state_etag() }).await?;
    let (removed, version) = match removed {
        Removed::Staged { version } => (true, version),
        Removed::Nothing { version } => (false, version),
    };
    let mut body = Vec::with_capacity(48);
    ObjectWriter::new(&mut body).bool("removed", removed).int_unless_zero("new_version", version).end_line();
    Ok(answer::json(body).with_number(KEY_VERSION, version))
}
