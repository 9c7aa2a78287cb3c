//! The second shell around the core: a world in which everything that can happen happens in some order, chosen by one seed.

mod endings;
mod events;

use std::fmt::Write as _;

use lockd_core::op::{Abandon, Attached, Op, Reason, Reply, Source};
use lockd_core::{Core, Input, Limits, Moment, Output, RequestId, Settings, Strides};
use lockd_wire::{KeyId, KeyName, Namespace};

use crate::client::{Client, Common, Market};
use crate::dice::Dice;
use crate::disk::{Disk, Wanted};
use crate::history::History;
use crate::ledger::Ledger;
use crate::oracle::Oracle;
use crate::shape::Shape;
use crate::violation::Checked;

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
    TidyUp,
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
    /// What housekeeping has seen to be done and has not done yet.
    chores: Vec<Op>,
    oracle: Oracle,
    history: History,
    ledger: Ledger,
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
        let mut common = Common::new(&mut dice, keys, namespaces.clone());
        let market = has_market(seed).then(|| Market::new(&mut dice, &namespaces));
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
        let strides = strides(&mut dice);
        let settings =
            Settings { limits: LIMITS, idle_lanes, idle_queues: 2, txn_retention_ms: 3_600_000, strides };
        let settings = match &market {
            Some(_) => Settings { txn_retention_ms: dice.between(2_000, 90_000), ..settings },
            None => settings,
        };
        common.market = market;
        World {
            core: Core::new(settings),
            climate,
            settings,
            disk: Disk::default(),
            clients: (0..clients).map(|_| Client::default()).collect(),
            common,
            letters: Vec::new(),
            undelivered: Vec::new(),
            chores: Vec::new(),
            oracle: Oracle::new(&settings, has_market(seed)),
            history: History::default(),
            ledger: Ledger::default(),
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
            (when(self.common.market.is_some(), climate.tick / 2), Event::TidyUp),
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
            Some(Event::TidyUp) => self.tidy_up(),
            None => Ok(()),
        }
    }

    /// Gives the core one input and does what it asks for.
    fn feed(&mut self, input: Input) -> Checked {
        let ticked = matches!(input, Input::Tick);
        self.feed_and_look(input, ticked)
    }

    /// The same; `ticked`: everything that was due must have been done by now.
    fn feed_and_look(&mut self, input: Input, ticked: bool) -> Checked {
        self.oracle.turn(self.step, self.clock);
        self.history.turn(self.step, self.clock);
        self.ledger.turn(self.clock);
        let mut hint = None;
        match &input {
            Input::Request { id, op } => {
                hint = Some(*id);
                self.oracle.asked(*id, op);
                self.history.asked(*id, op, &LIMITS);
                self.ledger.asked(*id, op);
            }
            Input::Cancel(id) => {
                self.oracle.cancelled(*id);
                self.history.cancelled(*id);
                self.ledger.cancelled(*id);
            }
            Input::Durable { through } => self.oracle.told(*through),
            Input::Failed => self.oracle.failed(),
            Input::Drain => {
                self.oracle.draining();
                self.history.draining();
            }
            Input::Tick | Input::Loaded { .. } | Input::TxnLoaded { .. } | Input::Scanned { .. } => {}
        }
        let mut out = Vec::new();
        self.core.handle(Moment(self.clock), input, &mut out);
        for output in out {
            match output {
                Output::Load(key) => {
                    self.note(|| format!("  load {key}"));
                    self.disk.ask(Wanted::Key(key))?;
                }
                Output::Write { seq, batch } => {
                    self.note(|| format!("  write {seq}: {}", describe_batch(&batch)));
                    self.oracle.batch(seq, &batch, hint)?;
                    self.disk.submit(seq, batch)?;
                }
                Output::Answer { id, reply } => self.answer(id, reply)?,
                Output::LoadTxn(txn) => {
                    self.note(|| format!("  load transaction {txn}"));
                    self.disk.ask(Wanted::Decision(txn))?;
                }
                Output::Scan { queue, after, limit } => {
                    self.note(|| format!("  scan {limit} of {queue} after {after:?}"));
                    self.disk.ask(Wanted::Page { queue, after, limit })?;
                }
            }
        }
        let (print, deadline) = (self.core.footprint(), self.core.next_deadline());
        let loads = (self.disk.loading_keys(), self.disk.loads.len());
        self.oracle.settled(print, deadline, loads, ticked)
    }

    fn ask(&mut self, op: Op) -> Checked<RequestId> {
        self.requests += 1;
        let id = RequestId(self.requests);
        self.note(|| format!("ask {} {op:?}", id.0));
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
        self.ledger.answered(id, &op, &shape)?;
        let unused = matches!(&reply, Reply::Refused(refusal) if refusal.reason != Reason::StoreFailed)
            || matches!(&reply, Reply::Attached(Attached::Kept { .. }));
        if unused && let Some(Source::Blob(blob)) = source(&op) {
            self.disk.blobs.remove(blob);
        }
        if !matches!(op, Op::Abandon(_) | Op::ForgetTxn(_)) {
            self.letters.push(Letter { id, op, shape });
        }
        Ok(())
    }
}

/// Mostly short ones, so that queues are longer than pages and more is due than is done in one go.
fn strides(dice: &mut Dice) -> Strides {
    let usual = Strides::default();
    let mut short =
        |most: u64, usual: usize| if dice.percent(75) { dice.between(1, most) as usize } else { usual };
    Strides {
        page: short(4, usual.page),
        fetch_ahead: short(3, usual.fetch_ahead),
        sweep: short(6, usual.sweep),
        alarms: short(2, usual.alarms),
    }
}

/// Two worlds in five know keys only, so that their stories stay short.
fn has_market(seed: u64) -> bool {
    seed % 5 >= 2
}

fn source(op: &Op) -> Option<&Source> {
    match op {
        Op::Update(op) => Some(&op.content.source),
        Op::Attach(op) => Some(&op.content.source),
        Op::Enqueue(op) => Some(&op.payload.source),
        _ => None,
    }
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
