//! Whoever goes away while the record of the key is still being loaded gets nothing, and holds up nobody.

// Here a test fails by panicking, in whatever function it happens.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use lockd_core::op::{Acquire, Op, Reason, Reply};
use lockd_core::{Core, Input, Limits, Moment, Output, RequestId, Settings, Strides};
use lockd_wire::{KeyId, KeyName, LeaseId, Namespace, TxnId, Xid};

fn acquire(key: &KeyId, number: u8) -> Op {
    Op::Acquire(Acquire {
        key: key.clone(),
        owner: "somebody".to_owned(),
        ttl_seconds: 10,
        block_seconds: 0,
        if_not_exists: false,
        txn: None,
        lease: LeaseId(Xid([number; 12])),
        own_txn: TxnId(Xid([number + 100; 12])),
    })
}

#[test]
fn an_acquire_that_is_cancelled_while_its_record_loads_is_never_granted() {
    let key = KeyId::new(&Namespace::parse("n").unwrap(), &KeyName::parse("k").unwrap());
    let limits = Limits { default_ttl_ms: 1000, max_ttl_ms: 60_000, acquire_block_ms: 1000 };
    let mut core = Core::new(Settings {
        limits,
        idle_lanes: 8,
        idle_queues: 8,
        txn_retention_ms: 60_000,
        strides: Strides::default(),
    });
    let mut out = Vec::new();
    let mut feed = |input| {
        core.handle(Moment(1), input, &mut out);
        std::mem::take(&mut out)
    };
    let asked = feed(Input::Request { id: RequestId(1), op: acquire(&key, 1) });
    assert!(matches!(&asked[..], [Output::Load(_)]), "{asked:?}");
    feed(Input::Request { id: RequestId(2), op: acquire(&key, 2) });

    let gone = feed(Input::Cancel(RequestId(1)));
    assert!(
        matches!(&gone[..], [Output::Answer { id: RequestId(1), reply: Reply::Refused(refusal) }]
            if refusal.reason == Reason::Cancelled),
        "{gone:?}"
    );
    assert!(feed(Input::Cancel(RequestId(1))).is_empty(), "it was answered already");

    let loaded = feed(Input::Loaded { key, record: Ok(None) });
    assert!(matches!(&loaded[..], [Output::Write { seq: 1, .. }]), "{loaded:?}");
    let durable = feed(Input::Durable { through: 1 });
    assert!(
        matches!(&durable[..], [Output::Answer { id: RequestId(2), reply: Reply::Granted(_) }]),
        "{durable:?}"
    );
}
