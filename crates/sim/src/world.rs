//! The second shell around the core: a world in which everything that can happen happens in some order, chosen by one seed.

use std::fmt::Write as _;

use lockd_core::op::{Abandon, Attached, Op, Reason, Reply, Source};
use lockd_core::records::key::{self, KeyRecord};
use lockd_core::records::{held, namespace};
use lockd_core::view::{self, Audience};
use lockd_core::{Core, Input, Limits, Moment, Output, RequestId, Settings};
use lockd_wire::{KeyId, KeyName, Namespace};

use crate::client::{Client, Common, Ticket, Wish, claim_of};
use crate::dice::Dice;
use crate::disk::Disk;
use crate::history::History;
use crate::model::{KeyModel, value_of};
use crate::oracle::Oracle;
use crate::shape::Shape;
use crate::violation::{Checked, broken, promise};

const LIMITS: Limits = Limits { default_ttl_ms: 10_000, max_ttl_ms: 60_000, acquire_block_ms: 15_000 };

/// How often what happens, in this world.
#[derive(Debug)]
struct Climate {
    client: u64,
    sync: u64,
    tell: u64,
    load: u64,
    post: u64,
    clock: u64,
    tick: u64,
    gone: u64,
    crash: u64,
    failure: u64,
    drain: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Event {
    Client,
    Sync,
    Tell,
    ReadLoad,
    DeliverLoad,
    Post,
    Abandon,
    Clock,
    Tick,
    Gone,
    Crash,
    Failure,
    Drain,
    DeleteBlob,
}

/// An answer on its way to a client.
#[derive(Debug)]
struct Letter {
    id: RequestId,
    op: Op,
    shape: Shape,
}

#[derive(Debug)]
pub struct World {
    dice: Dice,
    climate: Climate,
    settings: Settings,
    core: Core,
    disk: Disk,
    clients: Vec<Client>,
    common: Common,
    letters: Vec<Letter>,
    /// Grants that did not reach their clients.
    undelivered: Vec<Abandon>,
    oracle: Oracle,
    history: History,
    /// What the wall clock says.
    clock: u64,
    step: u64,
    requests: u64,
    draining: bool,
    failed: bool,
    trace: Option<String>,
}

impl World {
    pub fn new(seed: u64, traced: bool) -> World {
        let mut dice = Dice::new(seed);
        let namespaces: Vec<Namespace> =
            ["n", "m"].iter().filter_map(|name| Namespace::parse(name).ok()).collect();
        let mut keys = Vec::new();
        for number in 0..dice.between(1, 8) {
            let name = KeyName::parse(&format!("k{number}"));
            if let (Ok(name), Some(namespace)) = (name, dice.pick(&namespaces)) {
                keys.push(KeyId::new(namespace, &name));
            }
        }
        let clients = dice.between(1, 8);
        let common = Common::new(&mut dice, keys, namespaces);
        let rare = |dice: &mut Dice, most: u64| if dice.percent(50) { dice.between(1, most) } else { 0 };
        let climate = Climate {
            client: dice.between(200, 1000),
            sync: dice.between(50, 600),
            tell: dice.between(50, 600),
            load: dice.between(50, 400),
            post: dice.between(200, 1000),
            clock: dice.between(5, 80),
            tick: dice.between(50, 300),
            gone: rare(&mut dice, 60),
            crash: rare(&mut dice, 8),
            failure: rare(&mut dice, 2),
            drain: rare(&mut dice, 2),
        };
        let idle_lanes = if dice.percent(20) { 64 } else { dice.below(4) as usize };
        let settings = Settings { limits: LIMITS, idle_lanes };
        World {
            core: Core::recover(settings, [], []),
            climate,
            settings,
            disk: Disk::default(),
            clients: (0..clients).map(|_| Client::default()).collect(),
            common,
            letters: Vec::new(),
            undelivered: Vec::new(),
            oracle: Oracle::new(LIMITS),
            history: History::default(),
            clock: 1_000_000,
            step: 0,
            requests: 0,
            draining: false,
            failed: false,
            trace: traced.then(String::new),
            dice,
        }
    }

    /// Everything that happened so far, one line an event.
    pub fn trace(&self) -> &str {
        self.trace.as_deref().unwrap_or_default()
    }

    pub fn steps(&self) -> u64 {
        self.step
    }

    fn note(&mut self, text: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            // Writing to a string cannot fail.
            let _ = writeln!(trace, "{:>5} {:>9} {}", self.step, self.clock, text());
        }
    }

    /// Lets so many things happen, then lets everything come to rest and looks whether anything is left over.
    pub fn run(&mut self, steps: u64) -> Checked {
        for _ in 0..steps {
            self.happen()?;
        }
        self.rest()
    }

    /// One thing happens.
    fn happen(&mut self) -> Checked {
        self.step += 1;
        let climate = &self.climate;
        let when = |possible: bool, weight: u64| if possible { weight } else { 0 };
        let loads = &self.disk.loads;
        // A store that has failed, or a server that drains, ends before long.
        let ends = if self.failed { 200 } else { when(self.draining, 60) };
        let events = [
            (when(self.clients.iter().any(|client| client.pending.is_none()), climate.client), Event::Client),
            (when(self.disk.waiting() > 0 && !self.failed, climate.sync), Event::Sync),
            (when(self.disk.told < self.disk.reached && !self.failed, climate.tell), Event::Tell),
            (when(loads.iter().any(|load| load.read.is_none()), climate.load), Event::ReadLoad),
            (when(loads.iter().any(|load| load.read.is_some()), climate.load), Event::DeliverLoad),
            (when(!self.letters.is_empty(), climate.post), Event::Post),
            (when(!self.undelivered.is_empty(), climate.post), Event::Abandon),
            (climate.clock, Event::Clock),
            (climate.tick, Event::Tick),
            (climate.gone, Event::Gone),
            (climate.crash + ends, Event::Crash),
            (when(!self.failed, climate.failure), Event::Failure),
            (when(!self.draining, climate.drain), Event::Drain),
            (when(!self.disk.dead.is_empty(), climate.load), Event::DeleteBlob),
        ];
        match self.dice.weighted(&events) {
            Some(Event::Client) => self.act(),
            Some(Event::Sync) => self.sync(),
            Some(Event::Tell) => self.tell(),
            Some(Event::ReadLoad) => self.read_load(),
            Some(Event::DeliverLoad) => self.deliver_load(),
            Some(Event::Post) => self.post(),
            Some(Event::Abandon) => self.abandon(),
            Some(Event::Clock) => self.move_clock(),
            Some(Event::Tick) => self.tick(),
            Some(Event::Gone) => self.lose_client(),
            Some(Event::Crash) => self.crash(),
            Some(Event::Failure) => self.fail(),
            Some(Event::Drain) => self.drain(),
            Some(Event::DeleteBlob) => {
                let place = self.dice.place(self.disk.dead.len());
                self.disk.delete_dead(place);
                Ok(())
            }
            None => Ok(()),
        }
    }

    // ---- the shell --------------------------------------------------------------------------------------------------

    /// Gives the core one input and does what it asks for.
    fn feed(&mut self, input: Input) -> Checked {
        self.oracle.turn(self.step, self.clock);
        self.history.turn(self.step, self.clock);
        let (mut hint, mut ticked) = (None, false);
        match &input {
            Input::Request { id, op } => {
                hint = Some(*id);
                self.oracle.asked(*id, op);
                self.history.asked(*id, op, &LIMITS);
            }
            Input::Cancel(id) => self.oracle.cancelled(*id),
            Input::Durable { through } => self.oracle.told(*through),
            Input::Failed => self.oracle.failed(),
            Input::Drain => self.oracle.draining(),
            Input::Tick => ticked = true,
            Input::Loaded { .. } => {}
        }
        let mut out = Vec::new();
        self.core.handle(Moment(self.clock), input, &mut out);
        for output in out {
            match output {
                Output::Load(key) => {
                    self.note(|| format!("  load {key}"));
                    self.disk.ask(key)?;
                }
                Output::Write { seq, batch } => {
                    self.note(|| format!("  write {seq}: {}", describe_batch(&batch)));
                    self.oracle.batch(seq, &batch, hint)?;
                    self.disk.submit(seq, batch)?;
                }
                Output::Answer { id, reply } => self.answer(id, reply)?,
            }
        }
        let (print, deadline) = (self.core.footprint(), self.core.next_deadline());
        self.oracle.settled(print, deadline, self.disk.loads.len(), ticked)
    }

    fn ask(&mut self, op: Op) -> Checked<RequestId> {
        self.requests += 1;
        let id = RequestId(self.requests);
        self.note(|| format!("ask {} {}", id.0, describe(&op)));
        if let Some(Source::Blob(blob)) = source(&op) {
            self.disk.blobs.insert(*blob);
        }
        self.feed(Input::Request { id, op })?;
        Ok(id)
    }

    fn answer(&mut self, id: RequestId, reply: Reply) -> Checked {
        self.note(|| format!("  answer {}: {:?}", id.0, Shape::of(&reply)));
        let (op, shape) = self.oracle.answer(id, &reply)?;
        self.history.answered(id, &op, &shape)?;
        let unused = matches!(&reply, Reply::Refused(refusal) if refusal.reason != Reason::StoreFailed)
            || matches!(&reply, Reply::Attached(Attached::Kept { .. }));
        if unused && let Some(Source::Blob(blob)) = source(&op) {
            self.disk.blobs.remove(blob);
        }
        if !matches!(op, Op::Abandon(_)) {
            self.letters.push(Letter { id, op, shape });
        }
        Ok(())
    }

    // ---- what can happen ----------------------------------------------------------------------------------------------

    fn act(&mut self) -> Checked {
        let idle: Vec<usize> =
            (0..self.clients.len()).filter(|&n| self.clients[n].pending.is_none()).collect();
        let Some(&place) = self.dice.pick(&idle) else { return Ok(()) };
        match self.clients[place].wish(&mut self.dice, &mut self.common) {
            None => Ok(()),
            Some(Wish::ReadPublic(key)) => self.read_public(&key),
            Some(Wish::ReadHeld(ticket)) => self.read_held(&ticket),
            Some(Wish::Ask(op)) => {
                // The answer may come before the question returns, so the client waits for it already.
                self.clients[place].pending = Some(RequestId(self.requests + 1));
                self.ask(op).map(|_| ())
            }
        }
    }

    fn durable_record(&self, key: &KeyId) -> Checked<KeyRecord> {
        match self.disk.durable.get(&key::storage_key(key)) {
            None => Ok(KeyRecord::default()),
            Some(bytes) => match KeyRecord::decode(bytes) {
                Ok(record) => Ok(record),
                Err(damaged) => broken("what the core writes reads back", format!("{key}: {damaged}")),
            },
        }
    }

    fn read_public(&mut self, key: &KeyId) -> Checked {
        let record = self.durable_record(key)?;
        let Ok((found, token)) = view::document(&record, Moment(self.clock), &Audience::Public) else {
            return broken("public reads need no lease", key.to_string());
        };
        let (version, value) =
            found.map_or((record.version, None), |seen| (seen.version, Some(value_of(seen.stored.sha256))));
        self.note(|| format!("read {key}: version {version}, {value:?}"));
        promise(token.is_none(), "public readers learn no token", || key.to_string())?;
        let model = KeyModel::of(&record);
        promise(value == model.value && version == model.version, "readers see what is committed", || {
            format!("{key}: {value:?} of {model:?}")
        })?;
        let floor = self.history.floor(key);
        self.history.observe(key, floor, version, value)?;
        let files = view::attachments(&record, Moment(self.clock), &Audience::Public).unwrap_or_default();
        for file in files {
            self.history.is_committed(key, value_of(file.stored.sha256))?;
        }
        Ok(())
    }

    fn read_held(&mut self, ticket: &Ticket) -> Checked {
        let record = self.durable_record(&ticket.key)?;
        let model = KeyModel::of(&record);
        let audience = Audience::Holder(claim_of(ticket));
        let found = view::document(&record, Moment(self.clock), &audience);
        let files = view::attachments(&record, Moment(self.clock), &audience);
        let holds = model.lease.as_ref().is_some_and(|lease| {
            lease.id == ticket.lease && lease.token == ticket.token && lease.txn == ticket.txn
        });
        let may = holds && model.is_leased_at(self.clock);
        self.note(|| format!("read {} with lease {}: {found:?}", ticket.key, ticket.lease));
        promise(
            found.is_ok() == may && files.is_ok() == may,
            "only the holder reads under its lease",
            || format!("{}: {found:?} of {model:?}", ticket.key),
        )?;
        let (Ok((found, _)), Ok(files)) = (found, files) else { return Ok(()) };
        let value = found.map(|seen| value_of(seen.stored.sha256));
        let names: Vec<&String> = files.iter().map(|file| &file.name).collect();
        promise(
            value == model.seen_value() && names.iter().copied().eq(model.seen_files().keys()),
            "a holder sees committed data under its own changes",
            || format!("{}: {value:?}, {names:?} of {model:?}", ticket.key),
        )?;
        self.history.holder_read(ticket.lease, value)
    }

    fn sync(&mut self) -> Checked {
        let many = self.dice.between(1, 4);
        for _ in 0..many {
            self.disk.sync_one()?;
        }
        let reached = self.disk.reached;
        self.note(|| format!("synced through {reached}"));
        Ok(())
    }

    fn tell(&mut self) -> Checked {
        let through = self.dice.between(self.disk.told + 1, self.disk.reached);
        self.disk.told = through;
        self.note(|| format!("durable through {through}"));
        self.feed(Input::Durable { through })
    }

    fn read_load(&mut self) -> Checked {
        let unread: Vec<usize> =
            (0..self.disk.loads.len()).filter(|&n| self.disk.loads[n].read.is_none()).collect();
        if let Some(&place) = self.dice.pick(&unread) {
            self.disk.read(place);
        }
        Ok(())
    }

    fn deliver_load(&mut self) -> Checked {
        let read: Vec<usize> =
            (0..self.disk.loads.len()).filter(|&n| self.disk.loads[n].read.is_some()).collect();
        let Some(&place) = self.dice.pick(&read) else { return Ok(()) };
        let (key, record) = self.disk.deliver(place)?;
        self.note(|| format!("loaded {key}"));
        self.feed(Input::Loaded { key, record: Ok(record) })
    }

    /// A letter arrives, or finds nobody.
    fn post(&mut self) -> Checked {
        let place = self.dice.place(self.letters.len());
        let Letter { id, op, shape } = self.letters.remove(place);
        match self.clients.iter_mut().find(|client| client.pending == Some(id)) {
            Some(client) => client.hear(&mut self.dice, &mut self.common, &op, &shape),
            None => {
                if let Shape::Granted { key, lease, .. } = shape {
                    self.undelivered.push(Abandon { key, lease });
                }
            }
        }
        Ok(())
    }

    fn abandon(&mut self) -> Checked {
        let place = self.dice.place(self.undelivered.len());
        let abandon = self.undelivered.remove(place);
        self.ask(Op::Abandon(abandon)).map(|_| ())
    }

    fn move_clock(&mut self) -> Checked {
        self.clock = match self.dice.below(40) {
            0 => self.clock.saturating_sub(self.dice.between(1, 20_000)),
            1 => self.clock + self.dice.between(10_000, 120_000),
            2..12 => match self.core.next_deadline() {
                // Exactly when something is due, or just before.
                Some(deadline) => self.clock.max(deadline.0.saturating_sub(self.dice.below(2))),
                None => self.clock,
            },
            _ => self.clock + self.dice.between(1, 2_000),
        };
        self.note(|| "the clock moves".to_owned());
        Ok(())
    }

    fn tick(&mut self) -> Checked {
        self.note(|| "tick".to_owned());
        self.feed(Input::Tick)
    }

    /// A connection breaks; the client itself may live on and remember its leases.
    fn lose_client(&mut self) -> Checked {
        let place = self.dice.place(self.clients.len());
        let pending = self.clients[place].pending.take();
        if self.dice.percent(50) {
            self.clients[place].die();
        }
        self.note(|| format!("client {place} is gone, it waited for {pending:?}"));
        match pending {
            Some(id) if self.oracle.op(id).is_some() => self.feed(Input::Cancel(id)),
            _ => Ok(()),
        }
    }

    fn drain(&mut self) -> Checked {
        self.draining = true;
        self.note(|| "drain".to_owned());
        self.feed(Input::Drain)
    }

    fn fail(&mut self) -> Checked {
        self.failed = true;
        self.note(|| "the store fails".to_owned());
        self.feed(Input::Failed)?;
        promise(self.oracle.unanswered() == 0, "a failure is told to everybody", || {
            format!("{} wait", self.oracle.unanswered())
        })
    }

    fn crash(&mut self) -> Checked {
        // What is on its way may or may not have arrived, but in order.
        let survivors = self.dice.between(0, self.disk.waiting());
        self.disk_survive(survivors)?;
        let reached = self.disk.reached;
        self.note(|| format!("crash: batch {reached} was the last to survive"));
        self.oracle.turn(self.step, self.clock);
        self.oracle.crashed(&self.disk.durable, reached)?;
        self.history.crashed(|key| self.oracle.model(key))?;
        self.disk.crash();
        for client in &mut self.clients {
            client.pending = None;
            if self.dice.percent(30) {
                client.die();
            }
        }
        self.letters.clear();
        self.undelivered.clear();
        (self.draining, self.failed) = (false, false);
        self.start()
    }

    fn disk_survive(&mut self, survivors: u64) -> Checked {
        for _ in 0..survivors {
            self.disk.sync_one()?;
        }
        Ok(())
    }

    /// A new process opens the store.
    fn start(&mut self) -> Checked {
        let (mut leases, mut namespaces) = (Vec::new(), Vec::new());
        for (storage_key, value) in &self.disk.durable {
            match storage_key.first() {
                Some(b'L') => match (held::key_of(storage_key), held::HeldLease::decode(value)) {
                    (Ok(key), Ok(lease)) => leases.push((key, lease)),
                    damaged => return broken("what the core writes reads back", format!("{damaged:?}")),
                },
                Some(b'N') => {
                    let record = namespace::NamespaceRecord::decode(value);
                    match (namespace::namespace_of(storage_key), record) {
                        (Ok(name), Ok(record)) => namespaces.push((name, record)),
                        damaged => return broken("what the core writes reads back", format!("{damaged:?}")),
                    }
                }
                _ => {}
            }
        }
        self.core = Core::recover(self.settings, leases, namespaces);
        Ok(())
    }

    // ---- the end ------------------------------------------------------------------------------------------------------

    /// Nobody asks for anything any more. Everything must end by itself, and leave nothing behind.
    fn rest(&mut self) -> Checked {
        self.note(|| "rest".to_owned());
        if self.failed || self.draining {
            self.crash()?;
        }
        for _ in 0..10_000 {
            self.step += 1;
            self.clock += 1;
            while self.disk.sync_one()? {}
            if self.disk.told < self.disk.reached {
                self.disk.told = self.disk.reached;
                self.feed(Input::Durable { through: self.disk.reached })?;
            } else if !self.disk.loads.is_empty() {
                self.disk.read(0);
                let (key, record) = self.disk.deliver(0)?;
                self.feed(Input::Loaded { key, record: Ok(record) })?;
            } else if !self.letters.is_empty() {
                self.post()?;
            } else if !self.undelivered.is_empty() {
                self.abandon()?;
            } else if let Some(deadline) = self.core.next_deadline() {
                self.clock = self.clock.max(deadline.0);
                self.tick()?;
            } else if self.disk.waiting() == 0 {
                return self.nothing_is_left();
            }
        }
        broken("everything comes to rest", format!("{:?}", self.core.footprint()))
    }

    fn nothing_is_left(&mut self) -> Checked {
        for _ in 0..16 {
            self.feed(Input::Tick)?;
        }
        let print = self.core.footprint();
        promise(
            (print.loading, print.waiters, print.held_leases, print.unanswered) == (0, 0, 0, 0)
                && print.lanes <= self.settings.idle_lanes
                && self.oracle.unanswered() == 0,
            "nothing is left when everything has come to rest",
            || format!("{print:?}, {} unanswered", self.oracle.unanswered()),
        )?;
        while !self.disk.dead.is_empty() {
            self.disk.delete_dead(0);
        }
        self.disk.no_garbage()?;
        // Restarting now must find exactly what clients have been told.
        self.crash()
    }
}

fn source(op: &Op) -> Option<&Source> {
    match op {
        Op::Update(op) => Some(&op.content.source),
        Op::Attach(op) => Some(&op.content.source),
        _ => None,
    }
}

fn describe(op: &Op) -> String {
    format!("{op:?}")
}

fn describe_batch(batch: &lockd_store::Batch) -> String {
    let mut text = String::new();
    for change in &batch.changes {
        let (verb, key) = match change {
            lockd_store::Change::Put { key, .. } => ("+", key),
            lockd_store::Change::Delete { key } => ("-", key),
        };
        let _ = write!(text, "{verb}{key:?} ");
    }
    text
}
