//! The heartbeat of a watch. Tests begin in the order of their names, and the name of this file lets the longest one
//! begin first, beside all the others.

use std::time::{Duration, Instant};

use lockd_conformance::fresh;
use lockd_conformance::lease::Client;
use lockd_conformance::queue::SOON;
use lockd_conformance::server::{StoreKind, shared};

// Both stores at once, because it takes 20 s.
#[test]
fn queue_64_heartbeat() {
    std::thread::scope(|scope| {
        for store in [StoreKind::Mem, StoreKind::Disk] {
            scope.spawn(move || heartbeat(&shared(store).client()));
        }
    });
}

fn heartbeat(client: &Client) {
    let queue = fresh::key("q");
    let opened = Instant::now();
    let mut watch = client.watch(&queue);
    watch.event(SOON);
    watch.wait_for_text(": keepalive\n\n", Duration::from_secs(40)).unwrap();
    assert!(opened.elapsed() >= Duration::from_secs(19), "after {:?}", opened.elapsed());
    assert_eq!(String::from_utf8_lossy(&watch.untaken()), ": keepalive\n\n");
}
