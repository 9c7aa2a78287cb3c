//! Queues in memory: those that somebody waits for or looks at, and some that were used lately. A queue without any of that
//! takes no memory, whatever it holds in the store.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use lockd_wire::{QueueId, Uid};

use crate::machine::RequestId;
use crate::moment::Moment;
use crate::op::{Delivery, Dequeue};
use crate::window::Window;

#[derive(Debug)]
pub(crate) struct Queue {
    pub(crate) window: Window,
    /// Consumers in the order of their arrival (request ids grow).
    pub(crate) consumers: BTreeMap<RequestId, Consumer>,
    /// Observers, and the head that each of them knows.
    pub(crate) watchers: BTreeMap<RequestId, Option<Option<Uid>>>,
    /// Consumers that do not want to wait, and observers that have not been told anything yet.
    pub(crate) hasty: Vec<RequestId>,
    pub(crate) newcomers: Vec<RequestId>,
    /// The head that observers were told last.
    pub(crate) told: Option<Option<Uid>>,
    /// A record is on its way that a delivery waits for.
    pub(crate) fetching: bool,
    /// A message was passed over because something that it takes cannot be read. It is looked for again then.
    pub(crate) passed_over_until: Option<Moment>,
    /// The newest batch that changed the index of this queue.
    pub(crate) written: u64,
    alarm: Option<Moment>,
    /// Used since the clock hand last came by.
    touched: bool,
}

#[derive(Debug)]
pub(crate) struct Consumer {
    pub(crate) op: Box<Dequeue>,
    pub(crate) patience: Patience,
    /// What it has got so far, and the newest batch that this rests on.
    pub(crate) collected: Vec<Delivery>,
    pub(crate) basis: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Patience {
    None,
    Until(Moment),
    Endless,
}

impl Queue {
    fn new(page: usize) -> Queue {
        Queue {
            window: Window::new(page),
            consumers: BTreeMap::new(),
            watchers: BTreeMap::new(),
            hasty: Vec::new(),
            newcomers: Vec::new(),
            told: None,
            fetching: false,
            written: 0,
            alarm: None,
            touched: false,
            passed_over_until: None,
        }
    }

    /// Whether anybody wants to know what is in it.
    pub(crate) fn is_wanted(&self) -> bool {
        !self.consumers.is_empty() || !self.watchers.is_empty()
    }

    /// The first in line, or the first behind this one.
    pub(crate) fn next_consumer(&self, behind: Option<RequestId>) -> Option<(&RequestId, &Consumer)> {
        match behind {
            None => self.consumers.first_key_value(),
            Some(behind) => self.consumers.range((Bound::Excluded(behind), Bound::Unbounded)).next(),
        }
    }

    fn is_idle(&self, durable: u64) -> bool {
        !self.is_wanted() && !self.fetching && !self.window.is_asking() && self.written <= durable
    }
}

#[derive(Debug)]
pub(crate) struct Queues {
    map: HashMap<QueueId, Queue, RandomState>,
    /// Queues as the clock hand meets them.
    clock: VecDeque<QueueId>,
    alarms: BTreeSet<(Moment, QueueId)>,
    capacity: usize,
    /// Of each queue's window.
    page: usize,
}

/// How many queues the clock hand may look at for one that it wants to forget: keeps every step short.
const SWEEP_STEPS: usize = 4;

impl Queues {
    pub(crate) fn new(capacity: usize, page: usize) -> Queues {
        Queues { map: HashMap::default(), clock: VecDeque::new(), alarms: BTreeSet::new(), capacity, page }
    }

    pub(crate) fn len(&self) -> usize {
        self.map.len()
    }

    /// The queue, made up now if it is not in memory.
    pub(crate) fn get(&mut self, queue: &QueueId) -> &mut Queue {
        if !self.map.contains_key(queue) {
            self.map.insert(queue.clone(), Queue::new(self.page));
            self.clock.push_back(queue.clone());
        }
        let found = self.map.entry(queue.clone()).or_insert_with(|| Queue::new(self.page));
        found.touched = true;
        found
    }

    pub(crate) fn known(&mut self, queue: &QueueId) -> Option<&mut Queue> {
        self.map.get_mut(queue)
    }

    /// Sets when a queue has to be looked at next.
    pub(crate) fn set_alarm(&mut self, queue: &QueueId, at: Option<Moment>) {
        let Some(known) = self.map.get_mut(queue) else { return };
        if known.alarm == at {
            return;
        }
        if let Some(old) = std::mem::replace(&mut known.alarm, at) {
            self.alarms.remove(&(old, queue.clone()));
        }
        if let Some(at) = at {
            self.alarms.insert((at, queue.clone()));
        }
    }

    pub(crate) fn next_alarm(&self) -> Option<Moment> {
        self.alarms.first().map(|(at, _)| *at)
    }

    /// Takes one queue whose alarm has gone off.
    pub(crate) fn take_due(&mut self, now: Moment) -> Option<QueueId> {
        let (at, _) = self.alarms.first()?;
        if *at > now {
            return None;
        }
        let (_, queue) = self.alarms.pop_first()?;
        if let Some(known) = self.map.get_mut(&queue) {
            known.alarm = None;
        }
        Some(queue)
    }

    /// Forgets idle queues beyond the capacity.
    pub(crate) fn trim(&mut self, durable: u64) {
        let mut steps = 0;
        while self.clock.len() > self.capacity && steps < SWEEP_STEPS {
            steps += 1;
            let Some(id) = self.clock.pop_front() else { return };
            let Some(queue) = self.map.get_mut(&id) else { continue };
            let used = std::mem::take(&mut queue.touched);
            if !used && queue.is_idle(durable) {
                if let Some(at) = queue.alarm {
                    self.alarms.remove(&(at, id.clone()));
                }
                self.map.remove(&id);
            } else {
                self.clock.push_back(id);
            }
        }
    }
}
