//! The table under random histories: one holder (or N), strict FIFO, no lost wake-up, growing tokens, nothing left over,
//! and two-phase answers as a model of a few lines gives them.
#![allow(clippy::unwrap_used, clippy::panic, clippy::needless_range_loop, reason = "a test")]

use dflockd::table::{Event, Outcome, Rules, SECOND, Space, Table, Token};
use std::collections::{BTreeMap, VecDeque};

const SEEDS: u64 = 6000;
const KEYS: [(&str, u64); 3] = [("a", 1), ("b", 2), ("c", 3)];

#[derive(Clone, Copy, PartialEq, Debug)]
enum Place {
    Blocked { until: u64 },
    Queued,
}

#[derive(Clone, Debug)]
struct Waiting {
    conn: u32,
    two_phase: bool,
    place: Place,
    lease: u64,
}

#[derive(Clone, Copy, PartialEq, Debug)]
struct Held {
    conn: u32,
    token: Token,
    until: u64,
    /// Granted to an `e` in the queue that nobody heard of yet.
    unseen: bool,
}

/// The rules again, as lists, for leases that only the test itself lets lapse.
#[derive(Default)]
struct Model {
    held: BTreeMap<usize, Vec<Held>>,
    queue: BTreeMap<usize, VecDeque<Waiting>>,
}

struct World {
    table: Table,
    model: Model,
    now: u64,
    last_counter: u64,
    blocked: BTreeMap<u32, usize>,
    history: Vec<String>,
    seed: u64,
}

impl World {
    fn new(seed: u64) -> Self {
        let rules = Rules {
            max_locks: 100,
            max_waiters: 0,
            sweep_interval: SECOND,
            gc_interval: 5 * SECOND,
            gc_max_idle: 60 * SECOND,
            auto_release: true,
            grace_until: 0,
            first_counter: 1,
            tell_pruned: true,
        };
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut table = Table::new(rules, Box::new(move || rng.u64(..)));
        for conn in 0..5 {
            table.connect(conn, u64::from(conn) + 1);
        }
        Self {
            table,
            model: Model::default(),
            now: 0,
            last_counter: 0,
            blocked: BTreeMap::new(),
            history: Vec::new(),
            seed,
        }
    }

    fn check(&self, right: bool, what: &str) {
        assert!(right, "seed {}: {what}\n{}", self.seed, self.history.join("\n"));
    }

    fn granted(&mut self, key: usize, conn: u32, token: Token, lease: u64, unseen: bool) {
        self.check(token.counter > self.last_counter, "tokens increase");
        self.last_counter = token.counter;
        let held = self.model.held.entry(key).or_default();
        held.push(Held { conn, token, until: self.now + lease * SECOND, unseen });
        let fits = held.len() as u64 <= KEYS[key].1;
        self.check(fits, "no more holders than the limit");
    }

    /// What the queue must have got by now, in order; blocked ones were told by events.
    fn settle(&mut self) {
        let mut events = VecDeque::new();
        while let Some(event) = self.table.next_event() {
            events.push_back(event);
        }
        self.settle_from(&mut events, true);
        for (key, (name, _)) in KEYS.iter().enumerate() {
            let view = (0..self.table.places())
                .filter_map(|place| self.table.view(self.now, place))
                .find(|view| view.key == name.as_bytes());
            let (holders, waiters) = view.map_or((0, 0), |view| (view.holders, view.waiters));
            let model = (self.model.held[&key].len() as u32, self.model.queue[&key].len() as u32);
            self.check(
                (holders, waiters) == model,
                &format!("{name}: table {:?}, model {model:?}", (holders, waiters)),
            );
        }
    }

    /// The token of a grant that only the table knows yet.
    fn hidden_grant(&self, key: usize) -> Token {
        let known: Vec<Token> = self.model.held[&key].iter().map(|held| held.token).collect();
        let mut hidden: Vec<Token> = self
            .table
            .holds()
            .filter(|hold| *hold.key == *KEYS[key].0.as_bytes() && !known.contains(&hold.token))
            .map(|hold| hold.token)
            .collect();
        hidden.sort_by_key(|token| token.counter);
        self.check(!hidden.is_empty(), "a queued e at the head is granted");
        hidden[0]
    }

    fn free(&self, key: usize) -> bool {
        (self.model.held[&key].len() as u64) < KEYS[key].1 && self.model.queue[&key].is_empty()
    }
}

fn space(key: usize) -> Space {
    if KEYS[key].1 == 1 { Space::Lock } else { Space::Semaphore }
}

fn run(seed: u64) {
    let mut rng = fastrand::Rng::with_seed(seed ^ 0x5eed);
    let mut world = World::new(seed);
    let mut enqueued: BTreeMap<(u32, usize), u64> = BTreeMap::new();
    for key in 0..KEYS.len() {
        world.model.held.insert(key, Vec::new());
        world.model.queue.insert(key, VecDeque::new());
    }
    for _ in 0..60 {
        let (conn, key) = (rng.u32(..5), rng.usize(..KEYS.len()));
        let (name, limit) = (KEYS[key].0.as_bytes(), KEYS[key].1);
        let (timeout, lease) = (rng.u64(..4), 1000 + rng.u64(..5));
        let now = world.now;
        let action = rng.u8(..12);
        if action < 9 && world.blocked.contains_key(&conn) && !(6..=8).contains(&action) {
            continue;
        }
        world.history.push(format!("{now}: conn {conn} key {key} action {action} timeout {timeout}"));
        match action {
            0..=2 => {
                let outcome = world.table.acquire(now, conn, space(key), name, timeout, limit, lease);
                match outcome {
                    Outcome::Granted { token, .. } => {
                        world.check(world.free(key), "nobody overtakes the queue");
                        world.granted(key, conn, token, lease, false);
                    }
                    Outcome::Timeout => {
                        world.check(timeout == 0 && !world.free(key), "a timeout at once only if busy")
                    }
                    Outcome::Blocked => {
                        world.check(timeout > 0 && !world.free(key), "waits only if busy");
                        let place = Place::Blocked { until: now + timeout * SECOND };
                        world.model.queue.get_mut(&key).unwrap().push_back(Waiting {
                            conn,
                            two_phase: false,
                            place,
                            lease,
                        });
                        world.blocked.insert(conn, key);
                    }
                    other => world.check(false, &format!("{other:?}")),
                }
            }
            3 => {
                let outcome = world.table.enqueue(now, conn, space(key), name, limit, lease);
                let known = enqueued.contains_key(&(conn, key));
                match outcome {
                    Outcome::AlreadyEnqueued => world.check(known, "no second e"),
                    Outcome::Granted { token, .. } => {
                        world.check(!known && world.free(key), "e gets a free slot");
                        world.granted(key, conn, token, lease, false);
                        world.model.held.get_mut(&key).unwrap().last_mut().unwrap().unseen = true;
                        enqueued.insert((conn, key), lease);
                    }
                    Outcome::Queued => {
                        world.check(!known && !world.free(key), "e queues only if busy");
                        let waiting = Waiting { conn, two_phase: true, place: Place::Queued, lease };
                        world.model.queue.get_mut(&key).unwrap().push_back(waiting);
                        enqueued.insert((conn, key), lease);
                    }
                    other => world.check(false, &format!("{other:?}")),
                }
            }
            4 | 5 => {
                let outcome = world.table.wait(now, conn, space(key), name, timeout);
                let Some(lease) = enqueued.get(&(conn, key)).copied() else {
                    world.check(outcome == Outcome::NotEnqueued, "w needs an e");
                    continue;
                };
                let held = world
                    .model
                    .held
                    .get_mut(&key)
                    .unwrap()
                    .iter_mut()
                    .find(|held| held.conn == conn && held.unseen);
                if let Some(held) = held {
                    held.unseen = false;
                    held.until = now + lease * SECOND;
                    let token = held.token;
                    world.check(
                        outcome == Outcome::Granted { token, lease },
                        &format!("w claims the grant of e: {outcome:?}"),
                    );
                    let until = now + lease * SECOND;
                    let restarted =
                        world.table.holds().any(|hold| hold.token == token && hold.deadline == until);
                    world.check(restarted, "w restarts the lease");
                    enqueued.remove(&(conn, key));
                } else if timeout == 0 {
                    world.check(outcome == Outcome::Timeout, "w without patience leaves the queue");
                    world
                        .model
                        .queue
                        .get_mut(&key)
                        .unwrap()
                        .retain(|entry| !(entry.conn == conn && entry.two_phase));
                    enqueued.remove(&(conn, key));
                } else {
                    world.check(outcome == Outcome::Blocked, "w waits");
                    let queue = world.model.queue.get_mut(&key).unwrap();
                    let entry = queue.iter_mut().find(|entry| entry.conn == conn && entry.two_phase).unwrap();
                    entry.place = Place::Blocked { until: now + timeout * SECOND };
                    world.blocked.insert(conn, key);
                    enqueued.remove(&(conn, key));
                }
            }
            6 | 7 => {
                let held = &world.model.held[&key];
                if held.is_empty() {
                    let wrong = Some(Token { counter: 1, secret: 1 });
                    let outcome = world.table.release(now, space(key), name, wrong);
                    world.check(outcome == Outcome::Error, "a wrong token releases nothing");
                    continue;
                }
                let victim = held[rng.usize(..held.len())];
                let near = Token { secret: victim.token.secret ^ 1, ..victim.token };
                let outcome = world.table.release(now, space(key), name, Some(near));
                world.check(outcome == Outcome::Error, "half a token releases nothing");
                let outcome = world.table.release(now, space(key), name, Some(victim.token));
                world.check(outcome == Outcome::Done, "the token releases");
                world.model.held.get_mut(&key).unwrap().retain(|held| held.token != victim.token);
                if victim.unseen {
                    enqueued.remove(&(victim.conn, key));
                }
            }
            8 => {
                world.table.disconnect(now, conn);
                while world.table.advance(now, 1 + rng.u32(..3)) {}
                let mut left = false;
                let mut others = Vec::new();
                while let Some(event) = world.table.next_event() {
                    if event == (Event::Left { conn }) { left = true } else { others.push(event) }
                }
                world.check(left, "a connection that left is forgotten");
                world.check(
                    !others
                        .iter()
                        .any(|event| matches!(event, Event::Granted { conn: to, .. } if *to == conn)),
                    "no grant to the gone",
                );
                for key in 0..KEYS.len() {
                    world.model.queue.get_mut(&key).unwrap().retain(|entry| entry.conn != conn);
                    world.model.held.get_mut(&key).unwrap().retain(|held| held.conn != conn);
                    enqueued.remove(&(conn, key));
                }
                world.blocked.remove(&conn);
                world.table.connect(conn, u64::from(conn) + 100);
                world.settle_with(others);
                continue;
            }
            _ => {
                world.now += rng.u64(..2 * SECOND);
                let now = world.now;
                while world.table.advance(now, 1 + rng.u32(..5)) {}
                let mut others = Vec::new();
                while let Some(event) = world.table.next_event() {
                    let Event::TimedOut { conn } = event else {
                        others.push(event);
                        continue;
                    };
                    let key = world.blocked.remove(&conn).unwrap();
                    let queue = world.model.queue.get_mut(&key).unwrap();
                    let at = queue.iter().position(|entry| {
                        entry.conn == conn && matches!(entry.place, Place::Blocked { until } if until <= now)
                    });
                    let due = at.and_then(|at| queue.remove(at)).is_some();
                    world.check(due, "nobody times out early");
                }
                let late = world
                    .model
                    .queue
                    .values()
                    .flatten()
                    .any(|entry| matches!(entry.place, Place::Blocked { until } if until <= now));
                world.check(!late, "nobody waits beyond the timeout");
                world.settle_with(others);
                continue;
            }
        }
        world.settle();
    }
    // Everything ends: nothing may be left but idle keys, and those go too.
    for conn in 0..5 {
        world.table.disconnect(world.now, conn);
    }
    while world.table.advance(world.now, 3) {}
    world.check(
        world.table.holder_count() == 0 && world.table.waiter_count() == 0,
        "nothing is held or queued in the end",
    );
    for _ in 0..30 {
        world.now += 5 * SECOND;
        while world.table.advance(world.now, 3) {}
    }
    world.check(world.table.key_count() == 0, "idle keys are forgotten");
    world.check(world.table.next_deadline().is_none(), "no timer is left");
}

impl World {
    fn settle_with(&mut self, events: Vec<Event>) {
        let mut events: VecDeque<Event> = events.into();
        self.settle_from(&mut events, false);
    }

    fn settle_from(&mut self, events: &mut VecDeque<Event>, one_key: bool) {
        for key in 0..KEYS.len() {
            while (self.model.held[&key].len() as u64) < KEYS[key].1 {
                let Some(first) = self.model.queue.get_mut(&key).unwrap().pop_front() else { break };
                if let Place::Blocked { .. } = first.place {
                    let at = events.iter().position(
                        |event| matches!(event, Event::Granted { conn, .. } if *conn == first.conn),
                    );
                    self.check(
                        at.is_some(),
                        &format!("the head of the queue of {key} is woken: {first:?}, {events:?}"),
                    );
                    let Some(Event::Granted { conn, token, lease }) = events.remove(at.unwrap()) else {
                        panic!("no grant")
                    };
                    self.check(lease == first.lease, "the lease is the waiter's own");
                    self.blocked.remove(&conn);
                    self.late_granted(key, conn, token, lease, false, one_key);
                } else {
                    let token = self.hidden_grant(key);
                    self.late_granted(key, first.conn, token, first.lease, true, one_key);
                }
            }
        }
        self.check(events.is_empty(), &format!("nobody else is told anything: {events:?}"));
    }

    /// Of several keys served in one event, the order of the counters is that of the table, not of the model.
    fn late_granted(&mut self, key: usize, conn: u32, token: Token, lease: u64, unseen: bool, one_key: bool) {
        let newest = self.last_counter;
        if !one_key {
            self.last_counter = 0;
        }
        self.granted(key, conn, token, lease, unseen);
        self.last_counter = newest.max(token.counter);
    }
}

#[test]
fn random_histories_follow_the_rules() {
    for seed in 0..SEEDS {
        run(seed);
    }
}

#[test]
fn a_connection_on_its_way_out_is_granted_nothing() {
    let mut world = World::new(1);
    let Outcome::Granted { token, .. } = world.table.acquire(0, 0, Space::Lock, b"k", 0, 1, 9) else {
        panic!("no grant")
    };
    assert_eq!(world.table.enqueue(0, 1, Space::Lock, b"k", 1, 9), Outcome::Queued);
    assert_eq!(world.table.acquire(0, 2, Space::Lock, b"k", 9, 1, 9), Outcome::Blocked);
    // Nothing of the connection is cleaned up yet when the slot becomes free.
    world.table.disconnect(0, 1);
    assert_eq!(world.table.release(0, Space::Lock, b"k", Some(token)), Outcome::Done);
    assert!(matches!(world.table.next_event(), Some(Event::Granted { conn: 2, .. })));
}

#[test]
fn nobody_overtakes_those_who_queued_while_nothing_was_granted() {
    let rules = Rules {
        max_locks: 9,
        max_waiters: 0,
        sweep_interval: SECOND,
        gc_interval: SECOND,
        gc_max_idle: SECOND,
        auto_release: true,
        grace_until: 5 * SECOND,
        first_counter: 1,
        tell_pruned: true,
    };
    let mut table = Table::new(rules, Box::new(|| 7));
    table.connect(0, 1);
    table.connect(1, 2);
    assert_eq!(table.acquire(0, 0, Space::Lock, b"k", 9, 1, 9), Outcome::Blocked);
    assert_eq!(table.next_deadline(), Some(5 * SECOND));
    // The grace is over, but nothing was done about it yet.
    assert_eq!(table.acquire(5 * SECOND, 1, Space::Lock, b"k", 9, 1, 9), Outcome::Blocked);
    while table.advance(5 * SECOND, 1) {}
    assert!(matches!(table.next_event(), Some(Event::Granted { conn: 0, .. })));
    assert_eq!(table.next_event(), None);
}
