//! Lines 32 to 58 of the checklist of the server's contract: order, leases, two phases, semaphores.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

mod daemon;

use daemon::{Client, Daemon};

/// The daemon sweeps so rarely that only requests find out about expired leases.
const NO_SWEEP: &[&str] = &["--lease-sweep-interval", "60"];

fn clients<const N: usize>(flags: &[&str]) -> (Daemon, [Client; N]) {
    let daemon = Daemon::start(flags);
    let clients = std::array::from_fn(|_| daemon.connect());
    (daemon, clients)
}

#[test]
fn dflockd_server_32_waiters_are_served_in_the_order_they_came() {
    let (_daemon, [mut h, mut a, mut b, mut c]) = clients(&[]);
    let mut token = h.grant("l\nk\n0\n", 33);
    for (number, waiter) in [&mut a, &mut b, &mut c].into_iter().enumerate() {
        waiter.send("l\nk\n10\n");
        h.sees_waiters(number as u64 + 1);
    }
    let mut last = &mut h;
    for next in [&mut a, &mut b, &mut c] {
        assert_eq!(next.arrived(), None);
        assert_eq!(last.ask(format!("r\nk\n{token}\n")), "ok");
        token = next.granted(33);
        last = next;
    }
}

#[test]
fn dflockd_server_33_a_newcomer_does_not_overtake() {
    let (_daemon, [mut h, mut a]) = clients(&[]);
    let token = h.grant("l\nk\n0\n", 33);
    a.send("l\nk\n10\n");
    h.sees_waiters(1);
    h.send(format!("r\nk\n{token}\nl\nk\n0\n"));
    assert_eq!((h.line().as_deref(), h.line().as_deref()), (Some("ok"), Some("timeout")));
    a.granted(33);
}

#[test]
fn dflockd_server_34_whoever_gives_up_leaves_the_order_of_the_others() {
    let (mut daemon, [mut h, mut a, mut b, mut c]) = clients(&[]);
    let token = h.grant("l\nk\n0\n", 33);
    for (number, (waiter, timeout)) in [(&mut a, 10), (&mut b, 1), (&mut c, 10)].into_iter().enumerate() {
        waiter.send(format!("l\nk\n{timeout}\n"));
        h.sees_waiters(number as u64 + 1);
    }
    daemon.pass(1000);
    assert_eq!(b.line().as_deref(), Some("timeout"));
    assert_eq!(h.ask(format!("r\nk\n{token}\n")), "ok");
    let token = a.granted(33);
    assert_eq!(c.arrived(), None);
    assert_eq!(a.ask(format!("r\nk\n{token}\n")), "ok");
    c.granted(33);
}

#[test]
fn dflockd_server_35_a_lease_that_ends_frees_the_lock() {
    let (mut daemon, [mut a, mut b]) = clients(&[]);
    let token = a.grant("l\nk\n0 1\n", 1);
    b.send("l\nk\n10\n");
    daemon.pass(999);
    assert_eq!(b.arrived(), None);
    daemon.pass(1101);
    b.granted(33);
    assert_eq!(a.ask(format!("r\nk\n{token}\n")), "error");
    assert_eq!(a.ask(format!("n\nk\n{token}\n")), "error");
}

#[test]
fn dflockd_server_36_an_acquire_evicts_before_the_sweep() {
    let (mut daemon, [mut a, mut b]) = clients(NO_SWEEP);
    let first = a.grant("l\nk\n0 1\n", 1);
    daemon.pass(1200);
    assert_ne!(b.grant("l\nk\n0\n", 33), first);
}

#[test]
fn dflockd_server_37_what_is_evicted_goes_to_the_queue() {
    let (mut daemon, [mut a, mut b, mut c]) = clients(NO_SWEEP);
    a.grant("l\nk\n0 1\n", 1);
    b.send("l\nk\n10\n");
    a.sees_waiters(1);
    daemon.pass(1200);
    assert_eq!(c.ask("l\nk\n0\n"), "timeout");
    b.granted(33);
}

#[test]
fn dflockd_server_38_an_expired_lock_can_be_released_until_the_sweep() {
    let (mut daemon, [mut a]) = clients(NO_SWEEP);
    let token = a.grant("l\nk\n0 1\n", 1);
    daemon.pass(1200);
    assert_eq!(a.ask(format!("r\nk\n{token}\n")), "ok");
}

#[test]
fn dflockd_server_38_also_when_ticks_of_the_sweep_went_by_without_work() {
    let (mut daemon, [mut a]) = clients(&["--lease-sweep-interval", "4"]);
    let token = a.grant("l\nk\n0 5\n", 5);
    // Nothing was to be swept at the tick after 4 seconds; the next one is at 8.
    daemon.pass(5500);
    assert_eq!(a.stats()["locks"][0]["lease_expires_in_s"].as_f64(), Some(0.0));
    assert_eq!(a.ask(format!("r\nk\n{token}\n")), "ok");
    a.grant("l\nk\n0 1\n", 1);
    daemon.pass(2000);
    assert_eq!(a.stats()["locks"][0]["key"], "k");
    daemon.pass(500);
    assert_eq!(a.stats()["idle_locks"][0]["key"], "k");
}

#[test]
fn dflockd_server_39_an_expired_lock_cannot_be_renewed() {
    let (mut daemon, [mut a, mut b]) = clients(NO_SWEEP);
    let token = a.grant("l\nk\n0 1\n", 1);
    daemon.pass(1200);
    assert_eq!(a.ask(format!("n\nk\n{token}\n")), "error");
    b.grant("l\nk\n10\n", 33);
}

#[test]
fn dflockd_server_39_and_a_waiter_gets_it() {
    let (mut daemon, [mut a, mut b]) = clients(NO_SWEEP);
    let token = a.grant("l\nk\n0 1\n", 1);
    b.send("l\nk\n10\n");
    a.sees_waiters(1);
    daemon.pass(1200);
    assert_eq!(a.ask(format!("n\nk\n{token}\n")), "error");
    b.granted(33);
}

#[test]
fn dflockd_server_40_renewals() {
    let (mut daemon, [mut a, mut b]) = clients(&[]);
    let token = a.grant("l\nk\n0 60\n", 60);
    assert_eq!(a.ask(format!("n\nk\n{token}\n")), "ok 33");
    assert_eq!(a.ask(format!("n\nk\n{token} 100\n")), "ok 100");
    assert_eq!(a.ask(format!("n\nk\n{token} 1\n")), "ok 1");
    daemon.pass(2300);
    assert_eq!(a.ask(format!("r\nk\n{token}\n")), "error");
    b.grant("l\nk\n0\n", 33);
}

#[test]
fn dflockd_server_41_a_renewal_by_another_does_not_change_the_owner() {
    let (_daemon, [mut a, mut b]) = clients(&[]);
    let token = a.grant("l\nk\n0\n", 33);
    assert_eq!(b.ask(format!("n\nk\n{token}\n")), "ok 33");
    drop(a);
    b.sees_connections(1);
    assert_eq!(b.ask(format!("n\nk\n{token}\n")), "error");
}

#[test]
fn dflockd_server_42_e_on_a_free_key() {
    let (mut daemon, [mut a]) = clients(&[]);
    let reply = a.ask("e\nk\n5\n");
    let token = reply.strip_prefix("acquired ").and_then(|rest| rest.strip_suffix(" 5")).unwrap();
    daemon.pass(3000);
    assert_eq!(a.ask("w\nk\n10\n"), format!("ok {token} 5"));
    let left = a.stats()["locks"][0]["lease_expires_in_s"].as_f64().unwrap();
    assert!(left > 2.5, "the lease was not restarted: {left}");
}

#[test]
fn dflockd_server_43_w_needs_an_e() {
    let (_daemon, [mut a]) = clients(&[]);
    assert_eq!(a.ask("w\nk\n0\n"), "error_not_enqueued");
    let token = a.grant("e\nk\n\n", 33);
    assert_eq!(a.ask("w\nk\n0\n"), format!("ok {token} 33"));
    assert_eq!(a.ask("w\nk\n0\n"), "error_not_enqueued");
}

/// Decision 21: `se` speaks of another key than `e`.
#[test]
fn dflockd_server_44_e_twice() {
    let (_daemon, [mut a]) = clients(&[]);
    a.grant("e\nk\n\n", 33);
    assert_eq!(a.ask("e\nk\n\n"), "error_already_enqueued");
    a.grant("se\nk\n3\n", 33);
    assert_eq!(a.ask("se\nk\n4\n"), "error_already_enqueued");
}

#[test]
fn dflockd_server_45_e_again_after_a_release() {
    let (_daemon, [mut a]) = clients(&[]);
    let token = a.grant("e\nk\n\n", 33);
    assert_eq!(a.ask(format!("r\nk\n{token}\n")), "ok");
    let reply = a.ask("e\nk\n\n");
    assert!(reply.starts_with("acquired ") && !reply.contains(&token), "{reply}");
}

#[test]
fn dflockd_server_46_e_behind_oneself() {
    let (_daemon, [mut a]) = clients(&[]);
    let token = a.grant("l\nk\n0\n", 33);
    assert_eq!(a.ask("e\nk\n\n"), "queued");
    assert_eq!(a.ask(format!("r\nk\n{token}\n")), "ok");
    assert_ne!(a.grant("w\nk\n0\n", 33), token);
}

#[test]
fn dflockd_server_47_a_queued_e_holds_from_the_moment_of_its_grant() {
    let (mut daemon, [mut h, mut a]) = clients(&[]);
    let token = h.grant("l\nk\n0\n", 33);
    assert_eq!(a.ask("e\nk\n5\n"), "queued");
    assert_eq!(h.ask(format!("r\nk\n{token}\n")), "ok");
    daemon.pass(1000);
    let lock = h.stats()["locks"][0].clone();
    let left = lock["lease_expires_in_s"].as_f64().unwrap();
    assert!(lock["owner_conn_id"] == 2 && left <= 4.0 && left > 3.0, "{lock}");
    a.grant("w\nk\n10\n", 5);
    let left = h.stats()["locks"][0]["lease_expires_in_s"].as_f64().unwrap();
    assert!(left > 4.0 && left <= 5.0, "{left}");
}

#[test]
fn dflockd_server_48_w_in_vain_ends_the_e() {
    let (mut daemon, [mut h, mut a]) = clients(&[]);
    h.grant("l\nk\n0\n", 33);
    assert_eq!(a.ask("e\nk\n\n"), "queued");
    a.send("w\nk\n1\n");
    daemon.pass(999);
    assert_eq!(a.arrived(), None);
    daemon.pass(1);
    assert_eq!(a.line().as_deref(), Some("timeout"));
    assert_eq!(a.ask("w\nk\n0\n"), "error_not_enqueued");
    assert_eq!(a.ask("e\nk\n\n"), "queued");
}

#[test]
fn dflockd_server_49_e_belongs_to_its_connection() {
    let (_daemon, [mut a, mut b]) = clients(&[]);
    a.grant("e\nk\n\n", 33);
    assert_eq!(b.ask("w\nk\n0\n"), "error_not_enqueued");
}

#[test]
fn dflockd_server_50_w_after_the_lease_before_the_sweep() {
    let (mut daemon, [mut a]) = clients(NO_SWEEP);
    a.grant("e\nk\n1\n", 1);
    daemon.pass(1300);
    assert_eq!(a.ask("w\nk\n0\n"), "error_lease_expired");
    assert_eq!(a.ask("w\nk\n0\n"), "error_not_enqueued");
}

#[test]
fn dflockd_server_51_w_after_the_sweep() {
    let (mut daemon, [mut a]) = clients(&[]);
    a.grant("e\nk\n1\n", 1);
    daemon.pass(2500);
    assert_eq!(a.ask("w\nk\n0\n"), "error_not_enqueued");
}

#[test]
fn dflockd_server_52_a_lapsed_grant_is_never_returned() {
    let (mut daemon, [mut h, mut a, mut b]) = clients(&[]);
    let token = h.grant("l\nk\n0\n", 33);
    assert_eq!(a.ask("e\nk\n1\n"), "queued");
    assert_eq!(h.ask(format!("r\nk\n{token}\n")), "ok");
    b.send("l\nk\n10\n");
    daemon.pass(2100);
    b.granted(33);
    assert_eq!(a.ask("w\nk\n0\n"), "error_lease_expired");
    assert_eq!(a.ask("w\nk\n0\n"), "error_not_enqueued");
    assert_eq!(a.ask("e\nk\n1\n"), "queued");
}

#[test]
fn dflockd_server_53_a_foreign_release_ends_the_e() {
    let (_daemon, [mut a, mut b]) = clients(&[]);
    let token = a.grant("e\nk\n\n", 33);
    assert_eq!(b.ask(format!("r\nk\n{token}\n")), "ok");
    assert_eq!(a.ask("w\nk\n0\n"), "error_not_enqueued");
}

#[test]
fn dflockd_server_54_a_semaphore_of_two() {
    let (_daemon, [mut a]) = clients(&[]);
    let first = a.grant("sl\ns\n0 2\n", 33);
    assert_ne!(a.grant("sl\ns\n0 2\n", 33), first);
    assert_eq!(a.ask("sl\ns\n0 2\n"), "timeout");
}

#[test]
fn dflockd_server_55_the_limit_stays_also_while_idle() {
    let (_daemon, [mut a]) = clients(&[]);
    let token = a.grant("sl\ns\n0 2\n", 33);
    assert_eq!(a.ask("sl\ns\n0 3\n"), "error_limit_mismatch");
    assert_eq!(a.ask(format!("sr\ns\n{token}\n")), "ok");
    assert_eq!(a.ask("sl\ns\n0 3\n"), "error_limit_mismatch");
    assert_eq!(a.ask("se\ns\n3\n"), "error_limit_mismatch");
}

/// Decision 21: the same name is two keys.
#[test]
fn dflockd_server_56_locks_and_semaphores_have_their_own_keys() {
    let (_daemon, [mut a]) = clients(&["--max-locks", "2"]);
    a.grant("l\nk\n0\n", 33);
    a.grant("sl\nk\n0 3\n", 33);
    assert_eq!(a.ask("sl\nk\n0 1\n"), "error_limit_mismatch");
    assert_eq!(a.ask("l\nk\n0\n"), "timeout");
    // They share the budget.
    assert_eq!(a.ask("l\nother\n0\n"), "error_max_locks");
}

#[test]
fn dflockd_server_57_the_limit_is_forgotten_with_the_key() {
    let (mut daemon, [mut a]) = clients(&["--gc-interval", "1", "--gc-max-idle", "1"]);
    let token = a.grant("sl\ns\n0 2\n", 33);
    assert_eq!(a.ask(format!("sr\ns\n{token}\n")), "ok");
    daemon.pass(3200);
    a.grant("sl\ns\n0 3\n", 33);
}

/// Decision 21: a token of a lock is none of a semaphore.
#[test]
fn dflockd_server_58_commands_of_the_other_kind() {
    let (_daemon, [mut a]) = clients(&[]);
    let lock = a.grant("l\nk\n0\n", 33);
    let slot = a.grant("sl\nk\n0 3\n", 33);
    assert_eq!(a.ask(format!("sn\nk\n{lock} 50\n")), "error");
    assert_eq!(a.ask(format!("sr\nk\n{lock}\n")), "error");
    assert_eq!(a.ask(format!("n\nk\n{slot} 50\n")), "error");
    assert_eq!(a.ask(format!("r\nk\n{slot}\n")), "error");
    assert_eq!(a.ask(format!("n\nk\n{lock} 50\n")), "ok 50");
    assert_eq!(a.ask(format!("sn\nk\n{slot} 60\n")), "ok 60");
    a.grant("e\nother\n\n", 33);
    assert_eq!(a.ask("sw\nother\n0\n"), "error_not_enqueued");
    a.grant("w\nother\n0\n", 33);
}
