//! A core over a store in memory that answers at once, unless it is told to hold batches back or that records are damaged.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;

use bytes::Bytes;
use lockd_core::op::{
    Acquire, Claim, Content, DecideTxn, Delivery, DeliveryIds, Dequeue, Enqueue, Expect, Granted, Keepalive,
    Op, Reason, Reply, Source, TxnAsk, TxnClaim, TxnState, Update,
};
use lockd_core::records::key::{self, ContentId, Digest, KeyRecord, Lease};
use lockd_core::records::ready::{self, Place};
use lockd_core::records::txn::Decided;
use lockd_core::{Core, Input, Limits, LoadError, Moment, Output, RequestId, Settings, Strides};
use lockd_store::{Batch, Change};
use lockd_wire::{KeyId, KeyName, LeaseId, Namespace, QueueId, QueueName, TxnId, Uid, Xid};

pub(crate) fn key(name: &str) -> KeyId {
    KeyId::new(&Namespace::parse("n").unwrap(), &KeyName::parse(name).unwrap())
}

pub(crate) fn queue(name: &str) -> QueueId {
    QueueId::new(&Namespace::parse("n").unwrap(), &QueueName::parse(name).unwrap())
}

pub(crate) fn txn(number: u8) -> TxnId {
    TxnId(Xid([number; 12]))
}

pub(crate) fn content(number: u64) -> Content {
    let mut id = [9; 16];
    id[..8].copy_from_slice(&number.to_be_bytes());
    let source = Source::Inline(ContentId(Uid(id)), Bytes::from_static(b"{}"));
    Content { len: 2, sha256: Digest([1; 32]), source }
}

pub(crate) struct Bench {
    pub(crate) core: Core,
    pub(crate) now: u64,
    minted: u64,
    pub(crate) disk: BTreeMap<Bytes, Bytes>,
    held_back: VecDeque<(u64, Batch)>,
    /// Batches do not become durable.
    pub(crate) slow: bool,
    /// Key records that cannot be read.
    pub(crate) damaged: BTreeSet<KeyId>,
    pub(crate) answers: BTreeMap<RequestId, Reply>,
}

impl Bench {
    pub(crate) fn new() -> Bench {
        Bench::with_idle_lanes(64)
    }

    pub(crate) fn with_idle_lanes(idle_lanes: usize) -> Bench {
        let limits = Limits { default_ttl_ms: 30_000, max_ttl_ms: 3_600_000, acquire_block_ms: 1000 };
        Bench {
            core: Core::new(Settings {
                limits,
                idle_lanes,
                idle_queues: 8,
                txn_retention_ms: 600_000,
                strides: Strides::default(),
            }),
            now: 1000,
            minted: 0,
            disk: BTreeMap::new(),
            held_back: VecDeque::new(),
            slow: false,
            damaged: BTreeSet::new(),
            answers: BTreeMap::new(),
        }
    }

    pub(crate) fn feed(&mut self, input: Input) {
        let mut inputs = VecDeque::from([input]);
        let mut steps = 0;
        while let Some(input) = inputs.pop_front() {
            steps += 1;
            assert!(steps < 10_000, "the core does not come to rest");
            let mut out = Vec::new();
            self.core.handle(Moment(self.now), input, &mut out);
            for output in out {
                match output {
                    Output::Load(key) => {
                        let record = match self.damaged.contains(&key) {
                            true => Err(LoadError),
                            false => Ok(self.disk.get(&key::storage_key(&key)).cloned()),
                        };
                        inputs.push_back(Input::Loaded { key, record });
                    }
                    Output::Write { seq, batch } if self.slow => self.held_back.push_back((seq, batch)),
                    Output::Write { seq, batch } => {
                        self.apply(&batch);
                        inputs.push_back(Input::Durable { through: seq });
                    }
                    Output::Answer { id, reply } => {
                        assert!(self.answers.insert(id, reply).is_none(), "{id:?} is answered twice");
                    }
                    Output::LoadTxn(txn) => {
                        let record = Ok(self.disk.get(&Decided::storage_key(txn)).cloned());
                        inputs.push_back(Input::TxnLoaded { txn, record });
                    }
                    Output::Scan { queue, after, limit } => {
                        let page = Ok(self.page(&queue, after, limit));
                        inputs.push_back(Input::Scanned { queue, page });
                    }
                }
            }
        }
        if self.held_back.is_empty() {
            self.check_lists();
        }
    }

    fn apply(&mut self, batch: &Batch) {
        for change in &batch.changes {
            match change {
                Change::Put { key, value } => self.disk.insert(key.clone(), value.clone()),
                Change::Delete { key } => self.disk.remove(key),
            };
        }
    }

    fn page(&self, queue: &QueueId, after: Option<Place>, limit: usize) -> Vec<ready::Ready> {
        let (start, end) = ready::range(queue);
        let after = after.map(|place| ready::storage_key(queue, &place));
        let from = after.map_or(Bound::Included(start), Bound::Excluded);
        let page = self.disk.range((from, Bound::Excluded(end))).take(limit);
        page.map(|(key, value)| ready::entry_of(queue, key, value).unwrap()).collect()
    }

    /// The oldest batch that was held back becomes durable.
    pub(crate) fn sync_one(&mut self) -> bool {
        let Some((seq, batch)) = self.held_back.pop_front() else { return false };
        self.apply(&batch);
        self.feed(Input::Durable { through: seq });
        true
    }

    pub(crate) fn sync(&mut self) {
        while self.sync_one() {}
    }

    pub(crate) fn record(&self, key: &KeyId) -> Option<KeyRecord> {
        self.disk.get(&key::storage_key(key)).map(|bytes| KeyRecord::decode(bytes).unwrap())
    }

    /// A living message has its entry in the ready index exactly while nobody has leased it.
    fn check_lists(&self) {
        let mut expected = BTreeSet::new();
        for (storage_key, value) in self.disk.range(Bytes::from_static(b"K")..Bytes::from_static(b"L")) {
            let Some((queue, id)) = KeyId::from_bytes(&storage_key[1..]).unwrap().as_message() else {
                continue;
            };
            let record = KeyRecord::decode(value).unwrap();
            if let Some(message) = record.living_message()
                && record.lease == Lease::Free
            {
                let place = Place { visible_at: message.visible_at, message: id };
                expected.insert(ready::storage_key(&queue, &place));
            }
        }
        let range = Bytes::from_static(b"R")..Bytes::from_static(b"S");
        let found: BTreeSet<Bytes> = self.disk.range(range).map(|(key, _)| key.clone()).collect();
        assert_eq!(expected, found, "free messages and their entries");
    }

    /// Lets time pass, with all the ticks that the core asks for.
    pub(crate) fn pass(&mut self, milliseconds: u64) {
        self.now += milliseconds;
        for _ in 0..1000 {
            if self.core.next_deadline().is_none_or(|at| at.0 > self.now) {
                return;
            }
            self.feed(Input::Tick);
        }
        panic!("the core wants to tick for ever");
    }

    fn mint(&mut self) -> [u8; 12] {
        self.minted += 1;
        let mut id = [200; 12];
        id[..8].copy_from_slice(&self.minted.to_be_bytes());
        id
    }

    pub(crate) fn ask(&mut self, op: Op) -> RequestId {
        self.minted += 1;
        let id = RequestId(self.minted);
        self.feed(Input::Request { id, op });
        id
    }

    pub(crate) fn take(&mut self, id: RequestId) -> Option<Reply> {
        self.answers.remove(&id)
    }

    pub(crate) fn get(&mut self, op: Op) -> Reply {
        let id = self.ask(op);
        self.take(id).expect("an answer at once")
    }

    pub(crate) fn acquire_op(&mut self, key: &KeyId, txn: Option<TxnId>, ttl_seconds: i64) -> Acquire {
        let lease = LeaseId(Xid(self.mint()));
        Acquire {
            key: key.clone(),
            owner: "somebody".to_owned(),
            ttl_seconds,
            block_seconds: -1,
            if_not_exists: false,
            txn,
            lease,
            own_txn: TxnId(lease.0),
        }
    }

    pub(crate) fn acquire(&mut self, key: &KeyId, txn: Option<TxnId>, ttl_seconds: i64) -> Granted {
        let op = self.acquire_op(key, txn, ttl_seconds);
        match self.get(Op::Acquire(op)) {
            Reply::Granted(granted) => granted,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn stage(&mut self, granted: &Granted) {
        let op = Update {
            key: granted.key.clone(),
            claim: claim(granted),
            expect: Expect::default(),
            content: content(self.minted),
            query_hidden: None,
        };
        match self.get(Op::Update(op)) {
            Reply::Updated(_) => {}
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn keep_alive(&mut self, granted: &Granted, ttl_seconds: i64) -> Reply {
        self.get(Op::Keepalive(Keepalive { key: granted.key.clone(), claim: claim(granted), ttl_seconds }))
    }

    pub(crate) fn decide(
        &mut self,
        txn: TxnId,
        ask: TxnAsk,
        participants: &[KeyId],
    ) -> Result<TxnState, Reason> {
        let op = DecideTxn { txn, ask, participants: participants.to_vec(), expires_at: Moment(0), term: 0 };
        match self.get(Op::DecideTxn(op)) {
            Reply::Txn(state) => Ok(state),
            Reply::Refused(refusal) => Err(refusal.reason),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn enqueue(&mut self, queue: &QueueId, ttl_seconds: i64) -> Uid {
        self.minted += 1;
        let mut message = [7; 16];
        message[..8].copy_from_slice(&self.minted.to_be_bytes());
        let op = Enqueue {
            queue: queue.clone(),
            message: Uid(message),
            correlation: "c".to_owned(),
            content_type: "text/plain".to_owned(),
            attributes: None,
            delay_seconds: 0,
            visibility_seconds: 0,
            ttl_seconds,
            max_attempts: 0,
            payload: content(self.minted),
        };
        match self.get(Op::Enqueue(op)) {
            Reply::Enqueued(enqueued) => enqueued.message,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn dequeue_op(
        &mut self,
        queue: &QueueId,
        wait_seconds: i64,
        stateful: bool,
        page: usize,
    ) -> Dequeue {
        let mut mint = || DeliveryIds {
            lease: LeaseId(Xid(self.mint())),
            txn: TxnId(Xid(self.mint())),
            state_lease: LeaseId(Xid(self.mint())),
        };
        Dequeue {
            queue: queue.clone(),
            owner: "consumer".to_owned(),
            txn: None,
            visibility_seconds: 60,
            wait_seconds,
            stateful,
            ids: (0..page).map(|_| mint()).collect(),
        }
    }

    pub(crate) fn deliveries(&mut self, op: Dequeue) -> Vec<Delivery> {
        match self.get(Op::Dequeue(op)) {
            Reply::Delivered(deliveries) => deliveries,
            Reply::Refused(refusal) if refusal.reason == Reason::NoMessage => Vec::new(),
            other => panic!("{other:?}"),
        }
    }
}

pub(crate) fn claim(granted: &Granted) -> Claim {
    Claim { lease: Some(granted.lease), token: granted.token as i64, txn: TxnClaim::Is(Some(granted.txn)) }
}
