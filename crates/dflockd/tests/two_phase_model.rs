//! The two-phase commands against a reference model that is nothing but lists: every short program of two clients, and
//! random longer ones of three, for a lock and for a semaphore of two. Leases are one second, time goes by half seconds.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

use dflockd::table::{Event, Outcome, Rules, SECOND, Space, Table, Token};

const LEASE: u64 = 1;
const HALF: u64 = SECOND / 2;
const KEY: &[u8] = b"k";

#[derive(Clone, Copy, PartialEq, Debug)]
enum Step {
    Enqueue(usize),
    /// `w` with this timeout in seconds.
    Wait(usize, u64),
    Release(usize),
    Leave(usize),
    Tick,
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Enqueued {
    No,
    Queued,
    Holds,
    /// Granted while in the queue, and over before `w` came.
    Lapsed,
}

struct Holder {
    client: usize,
    /// As far as the client was told.
    token: Option<Token>,
    until: u64,
    from_queue: bool,
    /// The enqueued state of the client still refers to this slot.
    claimed: bool,
    /// Found expired while nobody waited; the next sweep takes it.
    found: bool,
}

#[derive(Clone, Copy)]
struct Client {
    enqueued: Enqueued,
    blocked: Option<u64>,
    /// The last token it was told.
    token: Option<Token>,
}

struct Model {
    limit: usize,
    now: u64,
    holders: Vec<Holder>,
    queue: Vec<usize>,
    clients: [Client; 3],
    told: Vec<(usize, &'static str)>,
}

impl Model {
    fn serve(&mut self) {
        while self.holders.len() < self.limit && !self.queue.is_empty() {
            let client = self.queue.remove(0);
            let waits = self.clients[client].blocked.take().is_some();
            self.hold(client, !waits, true);
            if waits {
                self.clients[client].enqueued = Enqueued::No;
                self.told.push((client, "granted"));
            }
        }
    }

    fn hold(&mut self, client: usize, claimed: bool, from_queue: bool) {
        let until = self.now + LEASE * SECOND;
        self.holders.push(Holder { client, token: None, until, from_queue, claimed, found: false });
        self.clients[client].enqueued = Enqueued::Holds;
    }

    /// Takes away an expired slot; `w` hears of it unless `e` had told of the grant and the sweep found the end of it.
    fn lapse(&mut self, at: usize, swept: bool) {
        let holder = self.holders.remove(at);
        if holder.claimed {
            let heard = swept && !holder.from_queue;
            self.clients[holder.client].enqueued = if heard { Enqueued::No } else { Enqueued::Lapsed };
        }
        self.serve();
    }

    /// The client was told a token: that of its newest slot, unless it is known already.
    fn learn(&mut self, client: usize, token: Token) {
        self.clients[client].token = Some(token);
        let of_client = |holder: &&mut Holder| holder.client == client && holder.token.is_none();
        if self.holders.iter().all(|holder| holder.token != Some(token))
            && let Some(holder) = self.holders.iter_mut().rev().find(of_client)
        {
            holder.token = Some(token);
        }
    }

    fn mine(&self, client: usize) -> Option<usize> {
        self.holders.iter().position(|holder| holder.client == client && holder.claimed)
    }

    fn enqueue(&mut self, client: usize) -> &'static str {
        match (self.clients[client].enqueued, self.mine(client)) {
            (Enqueued::No | Enqueued::Lapsed, _) => {}
            (Enqueued::Holds, Some(at))
                if self.holders[at].from_queue && self.holders[at].until <= self.now =>
            {
                self.holders[at].claimed = false;
            }
            _ => return "already",
        }
        self.clients[client].enqueued = Enqueued::No;
        while let Some(at) = self.holders.iter().position(|holder| holder.until <= self.now) {
            self.lapse(at, false);
        }
        if self.holders.len() < self.limit && self.queue.is_empty() {
            self.hold(client, true, false);
            return "granted";
        }
        self.clients[client].enqueued = Enqueued::Queued;
        self.queue.push(client);
        "queued"
    }

    fn wait(&mut self, client: usize, timeout: u64) -> &'static str {
        let state = self.clients[client].enqueued;
        match state {
            Enqueued::No => "not enqueued",
            Enqueued::Queued if timeout > 0 => {
                self.clients[client].blocked = Some(self.now + timeout * SECOND);
                "blocked"
            }
            Enqueued::Queued => {
                self.queue.retain(|other| *other != client);
                self.clients[client].enqueued = Enqueued::No;
                "timeout"
            }
            Enqueued::Lapsed => {
                self.clients[client].enqueued = Enqueued::No;
                "expired"
            }
            Enqueued::Holds => {
                let at = self.mine(client).unwrap();
                self.holders[at].claimed = false;
                self.clients[client].enqueued = Enqueued::No;
                if self.holders[at].until <= self.now {
                    self.lapse(at, false);
                    return "expired";
                }
                self.holders[at].until = self.now + LEASE * SECOND;
                "granted"
            }
        }
    }

    fn give_up(&mut self, at: usize) {
        let holder = self.holders.remove(at);
        if holder.claimed {
            self.clients[holder.client].enqueued = Enqueued::No;
        }
        self.serve();
    }

    fn leave(&mut self, client: usize) {
        self.queue.retain(|other| *other != client);
        while let Some(at) = self.holders.iter().position(|holder| holder.client == client) {
            self.give_up(at);
        }
        self.clients[client] = Client { enqueued: Enqueued::No, blocked: None, token: None };
    }

    fn tick(&mut self) {
        self.now += HALF;
        if self.now.is_multiple_of(SECOND) {
            while let Some(at) = self.holders.iter().position(|holder| holder.found) {
                self.lapse(at, true);
            }
        }
        while let Some(at) = self.holders.iter().position(|holder| holder.until <= self.now && !holder.found)
        {
            if self.queue.is_empty() { self.holders[at].found = true } else { self.lapse(at, false) }
        }
        for client in 0..self.clients.len() {
            if self.clients[client].blocked.is_some_and(|until| until <= self.now) {
                self.queue.retain(|other| *other != client);
                self.clients[client].blocked = None;
                self.clients[client].enqueued = Enqueued::No;
                self.told.push((client, "timeout"));
            }
        }
    }
}

fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Granted { lease: LEASE, .. } => "granted",
        Outcome::Queued => "queued",
        Outcome::Blocked => "blocked",
        Outcome::Timeout => "timeout",
        Outcome::NotEnqueued => "not enqueued",
        Outcome::AlreadyEnqueued => "already",
        Outcome::LeaseExpired => "expired",
        _ => "something else",
    }
}

fn run(program: &[Step], limit: usize) {
    let rules = Rules {
        max_locks: 9,
        max_waiters: 0,
        sweep_interval: SECOND,
        gc_interval: 900 * SECOND,
        gc_max_idle: 900 * SECOND,
        auto_release: true,
        grace_until: 0,
        first_counter: 1,
        tell_pruned: true,
    };
    let mut table = Table::new(rules, Box::new(|| 7));
    let client = Client { enqueued: Enqueued::No, blocked: None, token: None };
    let mut model =
        Model { limit, now: 0, holders: vec![], queue: vec![], clients: [client; 3], told: vec![] };
    let (space, bound) = if limit == 1 { (Space::Lock, 1) } else { (Space::Semaphore, limit as u64) };
    for conn in 0..3 {
        table.connect(conn, 1);
    }
    for (number, step) in program.iter().enumerate() {
        let differ = |what: String| panic!("limit {limit}, step {number} of {program:?}: {what}");
        let now = model.now;
        let (Step::Enqueue(client) | Step::Wait(client, _) | Step::Release(client) | Step::Leave(client)) =
            *step
        else {
            model.tick();
            while table.advance(model.now, 2) {}
            finish(&mut table, &mut model, &differ);
            continue;
        };
        if model.clients[client].blocked.is_some() && !matches!(step, Step::Leave(_)) {
            continue;
        }
        let conn = client as u32;
        let (answer, wanted) = match *step {
            Step::Enqueue(_) => (table.enqueue(now, conn, space, KEY, bound, LEASE), model.enqueue(client)),
            Step::Wait(_, timeout) => {
                (table.wait(now, conn, space, KEY, timeout), model.wait(client, timeout))
            }
            Step::Release(_) => {
                let Some(token) = model.clients[client].token.take() else { continue };
                let at = model.holders.iter().position(|holder| holder.token == Some(token));
                if let Some(at) = at {
                    model.give_up(at);
                }
                let outcome = table.release(now, space, KEY, Some(token));
                if (outcome == Outcome::Done) != at.is_some() {
                    differ(format!("release of {token} answers {outcome:?}"));
                }
                finish(&mut table, &mut model, &differ);
                continue;
            }
            _ => {
                model.leave(client);
                table.disconnect(now, conn);
                while table.advance(now, 1) {}
                finish(&mut table, &mut model, &differ);
                table.connect(conn, 1);
                continue;
            }
        };
        if word(answer) != wanted {
            differ(format!("{answer:?} instead of {wanted}"));
        }
        if let Outcome::Granted { token, .. } = answer {
            model.learn(client, token);
        }
        finish(&mut table, &mut model, &differ);
    }
}

/// Both must have told the same clients the same, and hold and queue as many.
fn finish(table: &mut Table, model: &mut Model, differ: &dyn Fn(String)) {
    let mut told = Vec::new();
    while let Some(event) = table.next_event() {
        match event {
            Event::Granted { conn, token, .. } => {
                model.learn(conn as usize, token);
                told.push((conn as usize, "granted"));
            }
            Event::TimedOut { conn } => told.push((conn as usize, "timeout")),
            Event::Left { .. } => {}
            Event::Interrupted { .. } => differ("nobody drains".into()),
        }
    }
    told.sort_unstable();
    model.told.sort_unstable();
    let counts = (table.holder_count(), table.waiter_count() as usize);
    if told != model.told || counts != (model.holders.len(), model.queue.len()) {
        let wanted = (&model.told, model.holders.len(), model.queue.len());
        differ(format!("told {told:?}, holders and waiters {counts:?}, wanted {wanted:?}"));
    }
    model.told.clear();
}

fn steps(clients: usize) -> Vec<Step> {
    let mut steps = vec![Step::Tick];
    for client in 0..clients {
        steps.extend([
            Step::Enqueue(client),
            Step::Wait(client, 0),
            Step::Wait(client, 1),
            Step::Release(client),
            Step::Leave(client),
        ]);
    }
    steps
}

#[test]
fn every_short_program_of_two_clients() {
    let steps = steps(2);
    const LENGTH: u32 = 4;
    for number in 0..steps.len().pow(LENGTH) {
        let program: Vec<Step> =
            (0..LENGTH).map(|place| steps[number / steps.len().pow(place) % steps.len()]).collect();
        // Two claims, then anything: programs that begin otherwise soon come to the same.
        let program = [&[Step::Enqueue(0), Step::Enqueue(1)], &program[..]].concat();
        run(&program, 1);
    }
}

#[test]
fn random_programs_of_three_clients() {
    let steps = steps(3);
    for seed in 0..15_000 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let program: Vec<Step> = (0..rng.usize(6..24)).map(|_| *rng.choice(&steps).unwrap()).collect();
        run(&program, 1 + (seed % 2) as usize);
    }
}
