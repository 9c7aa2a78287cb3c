//! Clients: small machines that do something plausible, or something wrong, with the leases they know of.

mod worker;

use bytes::Bytes;
use lockd_core::RequestId;
use lockd_core::op::{
    Acquire, Attach, Claim, ConfigureNamespace, Content, Detach, DetachAll, Expect, ExpectEtag, Keepalive,
    Op, Release, Remove, Selector, SetMetadata, Source, TxnClaim, Update,
};
use lockd_core::records::key::ContentId;
use lockd_core::records::namespace::{FallbackEngine, PreferredEngine, QueryEngines};
use lockd_store::BlobId;
use lockd_wire::{KeyId, LeaseId, Namespace, TxnId, Uid, Xid};

pub use self::worker::{Market, Parcel};
use crate::dice::Dice;
use crate::model::{Value, digest_of};
use crate::shape::Shape;

/// A client does one thing at a time.
#[derive(Debug, Default)]
pub struct Client {
    pub pending: Option<RequestId>,
    pub tickets: Vec<Ticket>,
    parcels: Vec<Parcel>,
    /// What was asked last and may be asked again, as if its answer had been lost.
    last: Option<Op>,
}

/// A lease as its client remembers it.
#[derive(Debug, Clone)]
pub struct Ticket {
    pub key: KeyId,
    pub lease: LeaseId,
    pub token: u64,
    pub txn: TxnId,
    version: u64,
    value: Option<Value>,
}

/// What all clients know.
#[derive(Debug)]
pub struct Common {
    pub keys: Vec<KeyId>,
    pub namespaces: Vec<Namespace>,
    /// Transaction ids that clients agree on.
    txns: Vec<TxnId>,
    /// Tickets of everybody, good ones and stale ones.
    rumours: Vec<Ticket>,
    etags: Vec<Uid>,
    minted: u64,
    habits: Habits,
    /// If there are queues in this world.
    pub market: Option<Market>,
}

/// What clients of one world tend to do, in per cent.
#[derive(Debug)]
struct Habits {
    /// Things that cannot work.
    chaos: u64,
    /// Joining a transaction.
    joining: u64,
    /// Wanting one more lease while holding some.
    greed: u64,
    longest_ttl: u64,
}

#[derive(Debug)]
// One at a time, never stored.
#[allow(clippy::large_enum_variant)]
pub enum Wish {
    Ask(Op),
    ReadPublic(KeyId),
    ReadHeld(Ticket),
}

const NAMES: [&str; 3] = ["a.txt", "b.bin", "c"];

impl Common {
    pub fn new(dice: &mut Dice, keys: Vec<KeyId>, namespaces: Vec<Namespace>) -> Common {
        let habits = Habits {
            chaos: dice.between(0, 15),
            joining: dice.between(10, 90),
            greed: dice.between(5, 50),
            longest_ttl: dice.between(3, 60),
        };
        let mut common = Common {
            keys,
            namespaces,
            txns: Vec::new(),
            rumours: Vec::new(),
            etags: Vec::new(),
            minted: 0,
            habits,
            market: None,
        };
        for _ in 0..dice.between(1, 3) {
            let txn = TxnId(common.mint());
            common.txns.push(txn);
        }
        common
    }

    fn mint(&mut self) -> Xid {
        self.minted += 1;
        let mut bytes = [0; 12];
        bytes[4..].copy_from_slice(&self.minted.to_be_bytes());
        Xid(bytes)
    }

    fn mint_uid(&mut self) -> Uid {
        self.minted += 1;
        let mut bytes = [0; 16];
        bytes[8..].copy_from_slice(&self.minted.to_be_bytes());
        Uid(bytes)
    }

    /// New bytes, never written before. Sometimes they are large and live in a blob.
    fn content(&mut self, dice: &mut Dice) -> Content {
        let id = self.mint_uid();
        let value = self.minted;
        let text = value.to_string();
        let len = text.len() as u64;
        let source = match dice.percent(30) {
            true => Source::Blob(BlobId(id.0)),
            false => Source::Inline(ContentId(id), Bytes::from(text)),
        };
        Content { len, sha256: digest_of(value), source }
    }

    fn spread(&mut self, ticket: Ticket) {
        self.rumours.push(ticket);
        if self.rumours.len() > 12 {
            self.rumours.remove(0);
        }
    }
}

impl Client {
    pub fn wish(&mut self, dice: &mut Dice, common: &mut Common) -> Option<Wish> {
        if let Some(op) = self.trade(dice, common) {
            return Some(Wish::Ask(op));
        }
        if dice.percent(10) {
            return Some(Wish::ReadPublic(dice.pick(&common.keys)?.clone()));
        }
        if dice.percent(2) {
            return configure(dice, common).map(Wish::Ask);
        }
        let mut ticket = match dice.percent(common.habits.chaos) {
            true => dice.pick(&common.rumours).cloned(),
            false => dice.pick(&self.tickets).cloned(),
        };
        let wants_more = self.tickets.len() < 4 && dice.percent(common.habits.greed);
        if wants_more || ticket.is_none() {
            return self.acquire(dice, common).map(Wish::Ask);
        }
        let ticket = ticket.take()?;
        if dice.percent(10) {
            return Some(Wish::ReadHeld(ticket));
        }
        Some(Wish::Ask(use_lease(dice, common, &ticket)))
    }

    fn acquire(&self, dice: &mut Dice, common: &mut Common) -> Option<Op> {
        let txn = match dice.below(10) {
            _ if !dice.percent(common.habits.joining) => None,
            0..5 => dice.pick(&common.txns).copied(),
            // As clients are told to: the transaction of an earlier lease, which may be an implicit one.
            5..9 => self.tickets.first().map(|ticket| ticket.txn),
            _ => dice.pick(&common.rumours).map(|ticket| ticket.txn),
        };
        Some(Op::Acquire(Acquire {
            key: dice.pick(&common.keys)?.clone(),
            owner: format!("client-{}", dice.below(3)),
            ttl_seconds: dice.between(0, common.habits.longest_ttl) as i64,
            block_seconds: match dice.below(10) {
                0..3 => 0,
                3..6 => -1,
                6 => -2,
                _ => dice.between(1, 30) as i64,
            },
            if_not_exists: dice.percent(5),
            txn,
            lease: LeaseId(common.mint()),
            own_txn: TxnId(common.mint()),
        }))
    }

    /// The answer to what the client has asked.
    pub fn hear(&mut self, dice: &mut Dice, common: &mut Common, op: &Op, shape: &Shape) {
        self.pending = None;
        match shape {
            Shape::Granted { key, lease, txn, version, value, token, .. } => {
                let ticket = Ticket {
                    key: key.clone(),
                    lease: *lease,
                    token: *token,
                    txn: *txn,
                    version: *version,
                    value: *value,
                };
                common.spread(ticket.clone());
                self.tickets.push(ticket);
            }
            Shape::Updated { version, value, .. } => self.learn(op, *version, Some(*value)),
            Shape::Removed { staged: true, version } => self.learn(op, *version, None),
            Shape::Configured { etag, .. } => common.etags.push(*etag),
            Shape::Released(_) => self.forget(op),
            Shape::Refused { .. } if op.key().is_some() && dice.percent(50) => self.forget(op),
            _ => self.hear_of_queues(dice, common, op, shape),
        }
    }

    fn learn(&mut self, op: &Op, version: u64, value: Option<Value>) {
        for ticket in self.tickets.iter_mut().filter(|ticket| op.key() == Some(&ticket.key)) {
            (ticket.version, ticket.value) = (version, value);
        }
    }

    fn forget(&mut self, op: &Op) {
        self.tickets.retain(|ticket| op.key() != Some(&ticket.key));
    }

    /// The client starts anew and remembers nothing.
    pub fn die(&mut self) {
        *self = Client::default();
    }
}

fn configure(dice: &mut Dice, common: &mut Common) -> Option<Op> {
    let conditional = dice.percent(50);
    let if_match = dice.pick(&common.etags).filter(|_| conditional).map(Uid::to_string);
    Some(Op::ConfigureNamespace(ConfigureNamespace {
        namespace: dice.pick(&common.namespaces)?.clone(),
        preferred: dice.pick(&[None, Some(PreferredEngine::Index), Some(PreferredEngine::Scan)]).copied()?,
        fallback: dice.pick(&[None, Some(FallbackEngine::Nothing), Some(FallbackEngine::Scan)]).copied()?,
        if_match,
        etag: common.mint_uid(),
        defaults: QueryEngines { preferred: PreferredEngine::Index, fallback: FallbackEngine::Nothing },
    }))
}

pub fn claim_of(ticket: &Ticket) -> Claim {
    Claim { lease: Some(ticket.lease), token: ticket.token as i64, txn: TxnClaim::Is(Some(ticket.txn)) }
}

fn use_lease(dice: &mut Dice, common: &mut Common, ticket: &Ticket) -> Op {
    let key = ticket.key.clone();
    let mut claim = claim_of(ticket);
    if dice.percent(common.habits.chaos) {
        match dice.below(5) {
            0 => claim.token += dice.between(0, 2) as i64 - 1,
            1 => claim.token = -1,
            2 => claim.lease = dice.pick(&common.rumours).map(|ticket| ticket.lease),
            3 => claim.txn = TxnClaim::Missing,
            _ => claim.txn = TxnClaim::Is(dice.pick(&common.txns).copied()),
        }
    }
    let expected_etag =
        ticket.value.map_or(ExpectEtag::Nothing, |value| ExpectEtag::Digest(digest_of(value)));
    match dice.below(100) {
        0..10 => Op::Keepalive(Keepalive {
            key,
            claim,
            ttl_seconds: dice.between(0, common.habits.longest_ttl) as i64,
        }),
        10..45 => Op::Update(Update {
            key,
            claim,
            expect: Expect {
                version: dice.percent(30).then_some(ticket.version as i64),
                etag: dice.percent(20).then_some(expected_etag),
                seen: None,
            },
            content: common.content(dice),
            query_hidden: dice.pick(&[None, None, Some(true), Some(false)]).copied().flatten(),
        }),
        45..51 => Op::SetMetadata(SetMetadata {
            key,
            claim,
            if_version: dice.percent(20).then_some(ticket.version as i64),
            query_hidden: dice.percent(50),
        }),
        51..57 => Op::Remove(Remove { key, claim, if_etag: dice.percent(20).then_some(expected_etag) }),
        57..73 => Op::Attach(Attach {
            key,
            claim,
            name: dice.pick(&NAMES).map(|name| (*name).to_owned()).unwrap_or_default(),
            content_type: "text/plain".to_owned(),
            id: common.mint_uid(),
            prevent_overwrite: dice.percent(30),
            content: common.content(dice),
        }),
        73..80 => {
            let name = dice.pick(&NAMES).map(|name| (*name).to_owned());
            Op::Detach(Detach { key, claim, selector: Selector { name, id: None } })
        }
        80..83 => Op::DetachAll(DetachAll { key, claim }),
        _ => Op::Release(Release { key, claim, rollback: dice.percent(30) }),
    }
}
