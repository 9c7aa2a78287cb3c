//! `POST /v1/txn/decide`, `commit`, `rollback` and `replay`: transactions by their id.

use bytes::Bytes;
use hyper::body::Incoming;
use lockd_core::Moment;
use lockd_core::op::{DecideTxn, TxnAsk, TxnState};
use lockd_core::records::txn::Verdict;
use lockd_json::{Object, ObjectWriter};
use lockd_wire::{ErrorCode, KeyId, KeyName, Namespace, QueueId, QueueName, TxnId, Uid};

use crate::answer::{self, Failure, Outcome};
use crate::body;
use crate::call::Call;
use crate::gate::Permission;

struct Request {
    txn: TxnId,
    participants: Vec<KeyId>,
    expires_at: Moment,
    term: u64,
}

/// What a request says that not all endpoints heed.
struct Particulars {
    state: String,
    /// The store that is meant; empty for any.
    target: String,
}

impl Request {
    /// Reads and checks a request. What the endpoint has to say of its particulars comes before the participants are looked at.
    async fn read<T>(
        call: &Call<'_>,
        mut body: Incoming,
        may_be_empty: bool,
        heed: impl FnOnce(Particulars) -> Result<T, Failure>,
    ) -> Result<(Request, T), Failure> {
        let limit = usize::try_from(call.app.settings.json_max).unwrap_or(usize::MAX);
        let body: Bytes = body::read(&mut body, limit).await?;
        let invalid =
            |error: lockd_json::DecodeError| Failure::new(ErrorCode::InvalidBody, error.to_string());
        // Unknown members and what follows the object are ignored here.
        let mut object = match may_be_empty && body.iter().all(u8::is_ascii_whitespace) {
            true => Object::empty(),
            false => Object::parse_first(&body).map_err(invalid)?,
        };
        let text = |object: &mut Object<'_>, name: &str| -> Result<String, Failure> {
            Ok(object.string(name).map_err(invalid)?.unwrap_or_default().trim().to_owned())
        };
        let number = |object: &mut Object<'_>, name: &str| -> Result<u64, Failure> {
            let number = object.integer(name).map_err(invalid)?.unwrap_or(0);
            Ok(u64::try_from(number).unwrap_or(0))
        };
        let (txn, state) = (text(&mut object, "txn_id")?, text(&mut object, "state")?);
        let target = text(&mut object, "target_backend_hash")?;
        let (expires, term) = (number(&mut object, "expires_at_unix")?, number(&mut object, "tc_term")?);
        let listed = object.objects("participants").map_err(invalid)?.unwrap_or_default();
        let txn = if txn.is_empty() { call.query.get("txn_id").trim().to_owned() } else { txn };
        if txn.is_empty() {
            return Err(Failure::new(ErrorCode::MissingTxnId, "txn_id is required"));
        }
        let txn = TxnId::parse(&txn)
            .ok_or_else(|| Failure::new(ErrorCode::InvalidTxnId, "txn_id must be an xid"))?;
        let state = if state.is_empty() { call.query.get("state").trim().to_owned() } else { state };
        let heeded = heed(Particulars { state: state.to_lowercase(), target })?;
        let mut participants = Vec::with_capacity(listed.len());
        for mut participant in listed {
            let namespace = participant.string("namespace").map_err(invalid)?.unwrap_or_default();
            let namespace = Namespace::parse(&namespace)
                .map_err(|error| Failure::new(ErrorCode::InvalidNamespace, error.to_string()))?;
            call.authorise(&namespace, Permission::ReadWrite)?;
            let key = participant.string("key").map_err(invalid)?.unwrap_or_default();
            let hash = participant.string("backend_hash").map_err(invalid)?.unwrap_or_default();
            if !hash.is_empty() && hash.trim().is_empty() {
                return Err(Failure::new(ErrorCode::InvalidBackendHash, "backend_hash is blank"));
            }
            let key = participant_key(&namespace, &key)?;
            // A participant on another store is that store's business.
            if hash.is_empty() {
                participants.push(key);
            }
        }
        let expires_at = Moment(expires.saturating_mul(1000));
        Ok((Request { txn, participants, expires_at, term }, heeded))
    }

    fn op(self, ask: TxnAsk) -> DecideTxn {
        DecideTxn {
            txn: self.txn,
            ask,
            participants: self.participants,
            expires_at: self.expires_at,
            term: self.term,
        }
    }
}

/// Keys of messages may be longer than clients' keys.
fn participant_key(namespace: &Namespace, text: &str) -> Result<KeyId, Failure> {
    let bare = text.trim().trim_start_matches('/');
    let pieces: Vec<&str> = bare.split('/').collect();
    if let ["q", queue, part @ ("msg" | "state"), id] = pieces[..]
        && let (Ok(queue), Some(id)) = (QueueName::parse(queue), Uid::parse(id))
    {
        let queue = QueueId::new(namespace, &queue);
        return Ok(if part == "msg" {
            KeyId::of_message(&queue, id)
        } else {
            KeyId::of_queue_state(&queue, id)
        });
    }
    match KeyName::parse(bare) {
        Ok(key) => Ok(KeyId::new(namespace, &key)),
        Err(error) => Err(Failure::new(ErrorCode::InvalidKey, error.to_string())),
    }
}

fn answer(txn: TxnId, state: TxnState) -> Outcome {
    let state = match state {
        TxnState::Pending => "pending",
        TxnState::Decided(Verdict::Commit) => "commit",
        TxnState::Decided(Verdict::Rollback) => "rollback",
    };
    let mut out = Vec::with_capacity(64);
    ObjectWriter::new(&mut out).string("txn_id", &txn.to_string()).string("state", state).end_line();
    Ok(answer::json(out))
}

pub(crate) async fn decide(call: &Call<'_>, body: Incoming) -> Outcome {
    let (request, ask) = Request::read(call, body, true, |said| match said.state.as_str() {
        "pending" => Ok(TxnAsk::Prepare),
        "commit" => Ok(TxnAsk::Decide(Verdict::Commit)),
        "rollback" => Ok(TxnAsk::Decide(Verdict::Rollback)),
        other => {
            let detail = format!("state must be pending, commit or rollback, got {other:?}");
            Err(Failure::new(ErrorCode::InvalidState, detail))
        }
    })
    .await?;
    let txn = request.txn;
    answer(txn, call.node().decide_txn(request.op(ask)).await?)
}

/// Applies a decision here: the one that is asked for if participants are named, else the one that is recorded.
pub(crate) async fn apply(call: &Call<'_>, body: Incoming, verdict: Verdict) -> Outcome {
    let (request, ()) = Request::read(call, body, true, |said| match said.target.is_empty() {
        true => Ok(()),
        false => {
            let detail = "target_backend_hash is not this server's store, which has no hash";
            Err(Failure::new(ErrorCode::TxnBackendMismatch, detail))
        }
    })
    .await?;
    let txn = request.txn;
    let ask = if request.participants.is_empty() { TxnAsk::Tell } else { TxnAsk::Decide(verdict) };
    match call.node().decide_txn(request.op(ask)).await? {
        TxnState::Pending => Err(Failure::new(ErrorCode::TxnPending, "transaction decision not recorded")),
        state => answer(txn, state),
    }
}

pub(crate) async fn replay(call: &Call<'_>, body: Incoming) -> Outcome {
    let (request, ()) = Request::read(call, body, false, |_| Ok(())).await?;
    let txn = request.txn;
    answer(txn, call.node().decide_txn(request.op(TxnAsk::Tell)).await?)
}
