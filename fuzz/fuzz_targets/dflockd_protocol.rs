//! Any bytes from the wire: framing, parsing and a table behind them never panic, and the table stays within its budget.
#![no_main]

use dflockd::protocol::{self, Frame, Request};
use dflockd::table::{Rules, SECOND, Table};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let rules = Rules {
        max_locks: 8,
        max_waiters: 4,
        sweep_interval: SECOND,
        gc_interval: SECOND,
        gc_max_idle: SECOND,
        auto_release: true,
        grace_until: 0,
        first_counter: 0,
    };
    let mut table = Table::new(rules, Box::new(|| 0));
    table.connect(0, 1);
    let (mut rest, mut now, mut reply) = (input, 0, Vec::new());
    while let Frame::Complete { lines, length } = protocol::next_frame(rest) {
        rest = &rest[length..];
        now += SECOND / 2;
        if let Ok(request) = protocol::parse(lines) {
            let outcome = match request {
                Request::Acquire { space, key, limit, lease, .. } => {
                    table.acquire(now, 0, space, key, 0, limit, lease.unwrap_or(1))
                }
                Request::Enqueue { space, key, limit, lease } => {
                    table.enqueue(now, 0, space, key, limit, lease.unwrap_or(1))
                }
                Request::Wait { space, key, .. } => table.wait(now, 0, space, key, 0),
                Request::Release { space, key, token } => table.release(now, space, key, token),
                Request::Renew { space, key, token, lease } => {
                    table.renew(now, space, key, token, lease.unwrap_or(1))
                }
                _ => continue,
            };
            reply.clear();
            protocol::write_outcome(&mut reply, outcome, false);
            assert!(reply.ends_with(b"\n"));
        }
        table.advance(now, 4);
        assert!(table.key_count() <= 8);
    }
});
