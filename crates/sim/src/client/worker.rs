//! Producers and consumers: what clients do with queues and with transactions by name.

use bytes::Bytes;
use lockd_core::Moment;
use lockd_core::op::{
    Ack, Claim, DecideTxn, Delivery, DeliveryIds, Dequeue, Enqueue, Expect, Extend, Handle, Intent, MetaEtag,
    Nack, Op, Release, StateHandle, Tend, TxnAsk, TxnClaim, Update, WatchQueue,
};
use lockd_core::records::txn::Verdict;
use lockd_wire::{KeyId, LeaseId, Namespace, QueueId, QueueName, TxnId, Uid};

use super::{Client, Common};
use crate::dice::Dice;
use crate::shape::Shape;

/// A message in the hands of its consumer, as the consumer remembers it.
#[derive(Debug, Clone)]
pub struct Parcel {
    handle: Handle,
    txn: TxnId,
    marker: Option<Uid>,
}

/// What producers and consumers know.
#[derive(Debug)]
pub struct Market {
    queues: Vec<QueueId>,
    /// Handles of everybody, good ones and stale ones.
    rumours: Vec<Parcel>,
    heads: Vec<Option<Uid>>,
    /// Dead letters as a listing shows them.
    pub dead_letters: Vec<KeyId>,
    pub now: u64,
    habits: Habits,
}

/// In per cent.
#[derive(Debug)]
struct Habits {
    /// Doing something with queues at all, rather than with keys.
    trading: u64,
    /// Taking messages rather than sending some.
    consuming: u64,
    joining: u64,
    stateful: u64,
    chaos: u64,
    repeating: u64,
    longest_lease: u64,
    most_at_once: u64,
}

impl Market {
    pub fn new(dice: &mut Dice, namespaces: &[Namespace]) -> Market {
        let mut queues = Vec::new();
        for name in &["q", "r", "s"][..dice.between(1, 3) as usize] {
            if let (Ok(name), Some(namespace)) = (QueueName::parse(name), dice.pick(namespaces)) {
                queues.push(QueueId::new(namespace, &name));
            }
        }
        let rare = |dice: &mut Dice, most: u64| if dice.percent(60) { dice.between(1, most) } else { 0 };
        let habits = Habits {
            trading: dice.between(40, 95),
            consuming: dice.between(35, 65),
            joining: rare(dice, 60),
            stateful: rare(dice, 70),
            chaos: rare(dice, 12),
            repeating: rare(dice, 12),
            longest_lease: dice.between(2, 40),
            most_at_once: if dice.percent(50) { 1 } else { 4 },
        };
        Market { queues, rumours: Vec::new(), heads: vec![None], dead_letters: Vec::new(), now: 0, habits }
    }

    fn spread(&mut self, parcel: Parcel) {
        self.rumours.push(parcel);
        if self.rumours.len() > 16 {
            self.rumours.remove(0);
        }
    }
}

impl Client {
    /// Something with queues or transactions, if this is such a moment.
    pub(super) fn trade(&mut self, dice: &mut Dice, common: &mut Common) -> Option<Op> {
        let market = common.market.as_ref()?;
        if !dice.percent(market.habits.trading) {
            return None;
        }
        if let Some(again) = self.last.take().filter(|_| dice.percent(market.habits.repeating)) {
            return Some(again);
        }
        let parcel = match dice.percent(market.habits.chaos) {
            true => dice.pick(&market.rumours).cloned(),
            false => dice.pick(&self.parcels).cloned(),
        };
        let op = match (dice.below(100), parcel) {
            (0..5, _) => decide(dice, common),
            (5..9, _) => tend(dice, common),
            (9..11, _) => watch(dice, common),
            (_, Some(parcel)) if dice.percent(70) => Some(use_parcel(dice, common, &parcel)),
            _ if dice.percent(market.habits.consuming) => dequeue(dice, common),
            _ => enqueue(dice, common),
        }?;
        if matches!(op, Op::Ack(_) | Op::Nack(_) | Op::Extend(_) | Op::DecideTxn(_)) {
            self.last = Some(op.clone());
        }
        Some(op)
    }

    /// The answer to what the client has asked about queues.
    pub(super) fn hear_of_queues(&mut self, dice: &mut Dice, common: &mut Common, op: &Op, shape: &Shape) {
        match (op, shape) {
            (_, Shape::Delivered(deliveries)) => {
                for delivery in deliveries {
                    let parcel = parcel_of(delivery);
                    if let Some(market) = &mut common.market {
                        market.spread(parcel.clone());
                    }
                    self.parcels.push(parcel);
                }
            }
            (
                Op::Ack(Ack { handle, .. }) | Op::Nack(Nack { handle, .. }),
                Shape::Acked | Shape::Requeued(_),
            ) => {
                self.drop_parcel(handle);
            }
            (Op::Extend(Extend { handle, .. }), Shape::Extended(extended)) => {
                for parcel in self.parcels.iter_mut().filter(|parcel| parcel.handle.lease == handle.lease) {
                    parcel.handle.meta_etag = Some(extended.meta_etag);
                }
            }
            (Op::Ack(Ack { handle, .. }) | Op::Nack(Nack { handle, .. }), Shape::Refused { .. })
            | (Op::Extend(Extend { handle, .. }), Shape::Refused { .. })
                if dice.percent(60) =>
            {
                self.drop_parcel(handle);
            }
            (_, Shape::Viewed(view)) => {
                if let Some(market) = &mut common.market {
                    market.heads.push(view.head.map(|head| head.message));
                }
            }
            _ => {}
        }
    }

    fn drop_parcel(&mut self, handle: &Handle) {
        self.parcels.retain(|parcel| parcel.handle.lease != handle.lease);
    }
}

fn parcel_of(delivery: &Delivery) -> Parcel {
    Parcel {
        handle: delivery.handle(),
        txn: delivery.txn,
        marker: delivery.state.as_ref().map(|state| state.marker),
    }
}

fn a_few(dice: &mut Dice, often: u64, most: u64) -> i64 {
    if dice.percent(often) { dice.between(1, most) as i64 } else { 0 }
}

fn enqueue(dice: &mut Dice, common: &mut Common) -> Option<Op> {
    let queue = dice.pick(&common.market.as_ref()?.queues)?.clone();
    let message = common.mint_uid();
    Some(Op::Enqueue(Enqueue {
        queue,
        message,
        correlation: format!("c-{}", dice.below(9)),
        content_type: "text/plain".to_owned(),
        attributes: dice.percent(20).then(|| Bytes::from_static(br#"{"a":1}"#)),
        delay_seconds: a_few(dice, 25, 8),
        visibility_seconds: a_few(dice, 20, 20),
        ttl_seconds: a_few(dice, 15, 30),
        max_attempts: a_few(dice, 80, 3),
        payload: common.content(dice),
    }))
}

fn dequeue(dice: &mut Dice, common: &mut Common) -> Option<Op> {
    let market = common.market.as_ref()?;
    let (queue, longest) = (dice.pick(&market.queues)?.clone(), market.habits.longest_lease);
    let (joining, stateful) = (dice.percent(market.habits.joining), dice.percent(market.habits.stateful));
    let many = if stateful { 1 } else { dice.between(1, market.habits.most_at_once) };
    let txn = dice.pick(&common.txns).copied().filter(|_| joining);
    let mut ids = || DeliveryIds {
        lease: LeaseId(common.mint()),
        txn: TxnId(common.mint()),
        state_lease: LeaseId(common.mint()),
    };
    let ids = (0..many).map(|_| ids()).collect();
    Some(Op::Dequeue(Dequeue {
        queue,
        owner: format!("consumer-{}", dice.below(3)),
        txn,
        visibility_seconds: dice.between(0, longest) as i64,
        wait_seconds: match dice.below(10) {
            0..4 => -1,
            4..7 => 0,
            _ => dice.between(1, 20) as i64,
        },
        stateful,
        ids,
    }))
}

fn use_parcel(dice: &mut Dice, common: &mut Common, parcel: &Parcel) -> Op {
    let mut handle = parcel.handle.clone();
    let chaos = common.market.as_ref().map_or(0, |market| market.habits.chaos);
    if dice.percent(20) {
        handle.txn = None;
    }
    if dice.percent(10) {
        handle.state = None;
    }
    if dice.percent(chaos) {
        match dice.below(6) {
            0 => handle.token += dice.between(0, 2) as i64 - 1,
            1 => handle.lease = None,
            2 => handle.txn = Some(dice.pick(&common.txns).copied()),
            3 => handle.meta_etag = Some(MetaEtag::Foreign),
            4 => handle.message = None,
            _ => handle.state = Some(StateHandle { lease: parcel.handle.lease, token: 1 }),
        }
    }
    match dice.below(100) {
        0..45 => Op::Ack(Ack {
            handle,
            state_etag: parcel.marker.filter(|_| dice.percent(50)).map(|marker| match dice.percent(chaos) {
                true => None,
                false => Some(marker),
            }),
        }),
        45..70 => Op::Nack(Nack {
            handle,
            delay_seconds: a_few(dice, 30, 6),
            intent: match dice.percent(60) {
                true => Intent::Failure(dice.percent(50).then(|| Bytes::from_static(b"\"bad\""))),
                false => Intent::Defer,
            },
        }),
        70..73 if parcel.handle.state.is_some() => release_state(dice, parcel),
        70..85 => Op::Extend(Extend { handle, by_seconds: a_few(dice, 70, 30) }),
        _ => match (parcel.handle.message, parcel.handle.state) {
            (Some(message), Some(state)) => Op::Update(Update {
                key: KeyId::of_queue_state(&parcel.handle.queue, message),
                claim: Claim { lease: state.lease, token: state.token, txn: TxnClaim::Is(Some(parcel.txn)) },
                expect: Expect::default(),
                content: common.content(dice),
                query_hidden: None,
            }),
            _ => Op::Ack(Ack { handle, state_etag: None }),
        },
    }
}

/// The lease on a workflow state is a lease like any other.
fn release_state(dice: &mut Dice, parcel: &Parcel) -> Op {
    let state = parcel.handle.state.unwrap_or(StateHandle { lease: None, token: 0 });
    let message = parcel.handle.message.unwrap_or(Uid([0; 16]));
    Op::Release(Release {
        key: KeyId::of_queue_state(&parcel.handle.queue, message),
        claim: Claim { lease: state.lease, token: state.token, txn: TxnClaim::Is(Some(parcel.txn)) },
        rollback: dice.percent(50),
    })
}

fn decide(dice: &mut Dice, common: &mut Common) -> Option<Op> {
    let market = common.market.as_ref()?;
    let stranger = dice.pick(&market.rumours).map(|parcel| parcel.txn);
    let txn = stranger.filter(|_| dice.percent(20)).or(dice.pick(&common.txns).copied())?;
    let ask = match dice.below(10) {
        0..2 => TxnAsk::Prepare,
        2..4 => TxnAsk::Tell,
        4..8 => TxnAsk::Decide(Verdict::Commit),
        _ => TxnAsk::Decide(Verdict::Rollback),
    };
    let mut participants = Vec::new();
    for _ in 0..dice.below(4) {
        let parcel = dice.pick(&market.rumours);
        let of_parcel = parcel.and_then(|parcel| {
            let message = parcel.handle.message?;
            Some(match parcel.handle.state.is_some() && dice.percent(50) {
                true => KeyId::of_queue_state(&parcel.handle.queue, message),
                false => KeyId::of_message(&parcel.handle.queue, message),
            })
        });
        let named = of_parcel.filter(|_| dice.percent(50)).or(dice.pick(&common.keys).cloned());
        participants.extend(named.filter(|named| !participants.contains(named)));
    }
    if ask == TxnAsk::Tell {
        participants.clear();
    }
    let expires = if dice.percent(40) { market.now + dice.between(1, 30_000) } else { 0 };
    let term = if dice.percent(12) { dice.between(1, 3) } else { 0 };
    Some(Op::DecideTxn(DecideTxn { txn, ask, participants, expires_at: Moment(expires), term }))
}

fn tend(dice: &mut Dice, common: &Common) -> Option<Op> {
    let market = common.market.as_ref()?;
    let anybody = dice.pick(&market.rumours);
    let anybody =
        anybody.and_then(|parcel| Some(KeyId::of_message(&parcel.handle.queue, parcel.handle.message?)));
    let key = match dice.percent(90) {
        true => dice.pick(&market.dead_letters).cloned()?,
        false => anybody?,
    };
    Some(Op::Tend(match dice.below(6) {
        0..4 => Tend::Redrive(key),
        4 => Tend::Purge(key),
        _ => Tend::Bury(key),
    }))
}

fn watch(dice: &mut Dice, common: &Common) -> Option<Op> {
    let market = common.market.as_ref()?;
    let known = dice.pick(&market.heads).copied().filter(|_| dice.percent(70));
    Some(Op::WatchQueue(WatchQueue { queue: dice.pick(&market.queues)?.clone(), known }))
}
