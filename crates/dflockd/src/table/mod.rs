//! The lock table: keys with a limit, their holders and their FIFO of claims. No sockets, no clock, no randomness of its
//! own: time (nanoseconds of a monotonic clock) and random bits are passed in, what concerns other connections than the
//! caller comes out as events. Nothing here walks over all keys or all connections; work that may be large (expiry, garbage,
//! connections that left) is done in slices by [`Table::advance`].

mod acquire;
mod chores;
mod deadlines;
mod index;
mod inspect;
mod links;
mod release;
mod slab;
mod token;

pub(crate) use deadlines::Deadlines;
use index::Index;
pub use inspect::{Hold, View};
pub(crate) use slab::{NIL, Slab};
use std::collections::VecDeque;
use std::hash::BuildHasher;
pub use token::Token;

pub const SECOND: u64 = 1_000_000_000;

/// The two namespaces; they share only the budget of keys.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Space {
    Lock,
    Semaphore,
}

/// Rules that hold for the life of a table. Durations are nanoseconds.
#[derive(Clone, Debug)]
pub struct Rules {
    pub max_locks: u64,
    /// Per key; 0 = no bound.
    pub max_waiters: u64,
    pub sweep_interval: u64,
    pub gc_interval: u64,
    pub gc_max_idle: u64,
    pub auto_release: bool,
    /// Until then nothing is granted, because a crash may have left holders that we do not know.
    pub grace_until: u64,
    /// The first grant counter to hand out.
    pub first_counter: u64,
    /// Whether anybody reads of keys that are forgotten.
    pub tell_pruned: bool,
}

/// Answer to a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    Granted {
        token: Token,
        lease: u64,
    },
    Queued,
    /// The connection now waits; an event will tell the end of it.
    Blocked,
    Timeout,
    Done,
    Renewed {
        lease: u64,
    },
    Error,
    MaxLocks,
    MaxWaiters,
    LimitMismatch,
    NotEnqueued,
    AlreadyEnqueued,
    LeaseExpired,
}

/// What happened to a connection other than by its own request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    Granted {
        conn: u32,
        token: Token,
        lease: u64,
    },
    TimedOut {
        conn: u32,
    },
    /// A drain ended the wait.
    Interrupted {
        conn: u32,
    },
    /// Nothing of a disconnected connection is left.
    Left {
        conn: u32,
    },
}

impl Event {
    pub(crate) fn conn(&self) -> u32 {
        match *self {
            Self::Granted { conn, .. }
            | Self::TimedOut { conn }
            | Self::Interrupted { conn }
            | Self::Left { conn } => conn,
        }
    }
}

/// Something an operator may want to read about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Notice {
    LeaseExpired { key: Box<[u8]>, conn: u64 },
    EvictedOnAcquire { key: Box<[u8]>, conn: u64 },
    RenewRejected { key: Box<[u8]>, conn: u64 },
    ReleasedOnDisconnect { key: Box<[u8]>, conn: u64 },
    Pruned { key: Box<[u8]> },
}

/// Counters since the start, for the metrics page.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Totals {
    pub grants: u64,
    pub releases: u64,
    pub renewals: u64,
    pub timeouts: u64,
    pub expirations: u64,
    pub pruned: u64,
    pub released_on_disconnect: u64,
    pub waiting: u64,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Links {
    prev: u32,
    next: u32,
}

impl Links {
    const NONE: Self = Self { prev: NIL, next: NIL };
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct List {
    head: u32,
    tail: u32,
}

impl List {
    const EMPTY: Self = Self { head: NIL, tail: NIL };
}

#[derive(Debug)]
pub(crate) struct Resource {
    key: Box<[u8]>,
    limit: u64,
    last_activity: u64,
    grants: List,
    queue: List,
    holders: u32,
    waiters: u32,
    /// Claims whose grant lapsed before `w` asked for it.
    lapsed: u32,
    idle: Links,
    space: Space,
    is_idle: bool,
}

#[derive(Debug)]
pub(crate) struct Grant {
    token: Token,
    deadline: u64,
    conn_id: u64,
    resource: u32,
    /// NIL once the owner left while grants outlive connections.
    conn: u32,
    claim: u32,
    in_resource: Links,
    in_conn: Links,
    /// Past its deadline and taken out of the deadlines, waiting for the next sweep.
    expired: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ClaimState {
    Queued,
    Granted(u32),
    Lapsed,
}

/// A request in the queue of a key, and the enqueued state that `e` leaves behind.
#[derive(Debug)]
pub(crate) struct Claim {
    resource: u32,
    conn: u32,
    lease: u64,
    state: ClaimState,
    two_phase: bool,
    from_queue: bool,
    blocked: bool,
    in_resource: Links,
    in_conn: Links,
}

#[derive(Debug)]
pub(crate) struct Client {
    id: u64,
    grants: List,
    claims: List,
    /// The claim that blocks the connection.
    blocked: u32,
    leaving: bool,
}

/// Source of random bits for tokens.
pub type Entropy = Box<dyn FnMut() -> u64 + Send>;

pub struct Table {
    rules: Rules,
    entropy: Entropy,
    hasher: foldhash::fast::RandomState,
    counter: u64,

    resources: Slab<Resource>,
    grants: Slab<Grant>,
    claims: Slab<Claim>,
    clients: Slab<Client>,
    by_key: Index,
    by_token: Index,
    by_claimant: Index,

    leases: Deadlines,
    waits: Deadlines,
    /// Expired grants without anybody waiting, by place and counter, until the sweep takes them.
    expired: VecDeque<(u32, u64)>,
    /// How many of them the running sweep still has to take.
    sweeping: usize,
    next_sweep: u64,
    idle: List,
    next_gc: u64,
    collecting: bool,
    leaving: VecDeque<u32>,
    withheld: VecDeque<u32>,
    draining: bool,
    interrupting: bool,

    events: VecDeque<Event>,
    notices: Vec<Notice>,
    /// How many notices may still be written down; the rest is only counted.
    notice_budget: u32,
    suppressed: u64,
    totals: Totals,
}

impl std::fmt::Debug for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Table")
            .field("rules", &self.rules)
            .field("counter", &self.counter)
            .finish_non_exhaustive()
    }
}

impl Table {
    /// An empty table whose clock stands at 0.
    pub fn new(rules: Rules, entropy: Entropy) -> Self {
        Self {
            counter: rules.first_counter,
            next_sweep: rules.sweep_interval,
            next_gc: rules.gc_interval,
            rules,
            entropy,
            hasher: foldhash::fast::RandomState::default(),
            resources: Slab::new(),
            grants: Slab::new(),
            claims: Slab::new(),
            clients: Slab::new(),
            by_key: Index::new(),
            by_token: Index::new(),
            by_claimant: Index::new(),
            leases: Deadlines::default(),
            waits: Deadlines::default(),
            expired: VecDeque::new(),
            sweeping: 0,
            idle: List::EMPTY,
            collecting: false,
            leaving: VecDeque::new(),
            withheld: VecDeque::new(),
            draining: false,
            interrupting: false,
            events: VecDeque::new(),
            notices: Vec::new(),
            notice_budget: 0,
            suppressed: 0,
            totals: Totals::default(),
        }
    }

    /// Registers a connection under a place that the caller chose and a number that is never reused.
    pub fn connect(&mut self, conn: u32, id: u64) {
        let client = Client { id, grants: List::EMPTY, claims: List::EMPTY, blocked: NIL, leaving: false };
        self.clients.put(conn, client);
    }

    pub fn next_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    pub fn totals(&self) -> Totals {
        self.totals
    }

    /// Takes the notices collected so far.
    pub fn take_notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.notices)
    }

    /// Allows that many further notices and tells how many were suppressed since the last call.
    pub fn allow_notices(&mut self, count: u32) -> u64 {
        self.notice_budget = count;
        std::mem::take(&mut self.suppressed)
    }

    pub(crate) fn has_notices(&self) -> bool {
        !self.notices.is_empty()
    }

    fn notice(&mut self, resource: u32, make: impl FnOnce(Box<[u8]>) -> Notice) {
        if self.notice_budget == 0 {
            self.suppressed += 1;
            return;
        }
        self.notice_budget -= 1;
        self.notices.push(make(self.resources[resource].key.clone()));
    }

    fn hash_key(hasher: &foldhash::fast::RandomState, space: Space, key: &[u8]) -> u64 {
        hasher.hash_one((space == Space::Lock, key))
    }

    fn hash_token(hasher: &foldhash::fast::RandomState, counter: u64) -> u64 {
        hasher.hash_one(counter)
    }

    fn hash_claimant(hasher: &foldhash::fast::RandomState, conn: u32, resource: u32) -> u64 {
        hasher.hash_one(u64::from(conn) << 32 | u64::from(resource))
    }

    fn find_resource(&self, space: Space, key: &[u8]) -> Option<u32> {
        self.by_key.find(Self::hash_key(&self.hasher, space, key), |place| {
            let resource = &self.resources[place];
            resource.space == space && *resource.key == *key
        })
    }

    fn find_claim(&self, conn: u32, resource: u32) -> Option<u32> {
        self.by_claimant.find(Self::hash_claimant(&self.hasher, conn, resource), |place| {
            let claim = &self.claims[place];
            claim.conn == conn && claim.resource == resource
        })
    }

    fn create_resource(&mut self, now: u64, space: Space, key: &[u8], limit: u64) -> u32 {
        let place = self.resources.insert(Resource {
            key: key.into(),
            limit,
            last_activity: now,
            grants: List::EMPTY,
            queue: List::EMPTY,
            holders: 0,
            waiters: 0,
            lapsed: 0,
            idle: Links::NONE,
            space,
            is_idle: false,
        });
        let (hasher, resources) = (&self.hasher, &self.resources);
        self.by_key.insert(Self::hash_key(hasher, space, key), place, |other| {
            let resource = &resources[other];
            Self::hash_key(hasher, resource.space, &resource.key)
        });
        place
    }
}
