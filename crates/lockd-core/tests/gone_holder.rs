//! A holder that goes away without having staged anything does not spoil the transaction of the others.

// Here a test fails by panicking, in whatever function it happens.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use bytes::Bytes;
use lockd_core::op::{
    Abandon, Acquire, Claim, Content, Expect, Op, Outcome, Release, Reply, Source, TxnClaim, Update,
};
use lockd_core::records::key::{ContentId, Digest};
use lockd_core::{Core, Input, Limits, Moment, Output, RequestId, Settings, Strides};
use lockd_wire::{KeyId, KeyName, LeaseId, Namespace, TxnId, Uid, Xid};

const TXN: TxnId = TxnId(Xid([7; 12]));

/// A core whose store has every record at once and makes every batch durable at once.
struct Bench {
    core: Core,
    now: u64,
    asked: u64,
}

impl Bench {
    fn new() -> Bench {
        let limits = Limits { default_ttl_ms: 10_000, max_ttl_ms: 600_000, acquire_block_ms: 1000 };
        Bench {
            core: Core::new(Settings {
                limits,
                idle_lanes: 8,
                idle_queues: 8,
                txn_retention_ms: 60_000,
                strides: Strides::default(),
            }),
            now: 1,
            asked: 0,
        }
    }

    fn feed(&mut self, input: Input) -> Option<Reply> {
        let (mut inputs, mut given) = (vec![input], None);
        while let Some(input) = inputs.pop() {
            let mut out = Vec::new();
            self.core.handle(Moment(self.now), input, &mut out);
            for output in out {
                match output {
                    Output::Load(key) => inputs.push(Input::Loaded { key, record: Ok(None) }),
                    Output::Write { seq, .. } => inputs.push(Input::Durable { through: seq }),
                    Output::Answer { reply, .. } => given = Some(reply),
                    Output::LoadTxn(txn) => inputs.push(Input::TxnLoaded { txn, record: Ok(None) }),
                    Output::Scan { queue, .. } => inputs.push(Input::Scanned { queue, page: Ok(Vec::new()) }),
                }
            }
        }
        given
    }

    fn ask(&mut self, op: Op) -> Reply {
        self.asked += 1;
        let id = RequestId(self.asked);
        self.feed(Input::Request { id, op }).expect("an answer")
    }

    fn join(&mut self, key: &KeyId, lease: LeaseId, ttl_seconds: i64) -> Claim {
        let op = Acquire {
            key: key.clone(),
            owner: "somebody".to_owned(),
            ttl_seconds,
            block_seconds: -1,
            if_not_exists: false,
            txn: Some(TXN),
            lease,
            own_txn: TxnId(lease.0),
        };
        match self.ask(Op::Acquire(op)) {
            Reply::Granted(granted) => {
                Claim { lease: Some(lease), token: granted.token as i64, txn: TxnClaim::Is(Some(TXN)) }
            }
            other => panic!("{other:?}"),
        }
    }

    fn stage(&mut self, key: &KeyId, claim: Claim) {
        let source = Source::Inline(ContentId(Uid([self.asked as u8; 16])), Bytes::from_static(b"{}"));
        let content = Content { len: 2, sha256: Digest([1; 32]), source };
        let op = Update { key: key.clone(), claim, expect: Expect::default(), content, query_hidden: None };
        assert!(matches!(self.ask(Op::Update(op)), Reply::Updated(_)));
    }

    fn commit(&mut self, key: &KeyId, claim: Claim) -> Outcome {
        match self.ask(Op::Release(Release { key: key.clone(), claim, rollback: false })) {
            Reply::Released(outcome) => outcome,
            other => panic!("{other:?}"),
        }
    }
}

fn key(name: &str) -> KeyId {
    KeyId::new(&Namespace::parse("n").unwrap(), &KeyName::parse(name).unwrap())
}

#[test]
fn an_abandoned_grant_leaves_the_transaction_alone() {
    let (mut bench, work, idle) = (Bench::new(), key("work"), key("idle"));
    let claim = bench.join(&work, LeaseId(Xid([1; 12])), 60);
    bench.stage(&work, claim);
    let gone = LeaseId(Xid([2; 12]));
    bench.join(&idle, gone, 60);
    assert!(matches!(bench.ask(Op::Abandon(Abandon { key: idle, lease: gone })), Reply::Abandoned));
    assert_eq!(bench.core.held_leases(), 1);
    assert_eq!(bench.commit(&work, claim), Outcome::Committed);
}

#[test]
fn the_expiry_of_a_lease_without_changes_leaves_the_transaction_alone() {
    let (mut bench, work, idle) = (Bench::new(), key("work"), key("idle"));
    let claim = bench.join(&work, LeaseId(Xid([1; 12])), 60);
    bench.stage(&work, claim);
    bench.join(&idle, LeaseId(Xid([2; 12])), 1);
    bench.now += 2000;
    bench.feed(Input::Tick);
    assert_eq!(bench.core.held_leases(), 1);
    assert_eq!(bench.commit(&work, claim), Outcome::Committed);
}

#[test]
fn the_expiry_of_a_participant_rolls_the_whole_transaction_back() {
    let (mut bench, work, other) = (Bench::new(), key("work"), key("other"));
    let claim = bench.join(&work, LeaseId(Xid([1; 12])), 60);
    bench.stage(&work, claim);
    let late = bench.join(&other, LeaseId(Xid([2; 12])), 1);
    bench.stage(&other, late);
    bench.now += 2000;
    bench.feed(Input::Tick);
    assert_eq!(bench.core.held_leases(), 0);
    assert_eq!(bench.commit(&work, claim), Outcome::Nothing);
}
