//! Lanes: the key records in memory, each with the requests that wait for it. Busy lanes stay; idle ones are forgotten in
//! the order of a clock hand, because the store has them too.

use std::collections::{BTreeMap, VecDeque};

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use lockd_wire::KeyId;

use crate::listing::Listing;
use crate::machine::{Job, RequestId};
use crate::moment::Moment;
use crate::op::Acquire;
use crate::records::key::KeyRecord;

#[derive(Debug)]
pub(crate) enum Lane {
    /// The record is on its way; these run, in order, when it is here.
    Loading(Vec<Job>),
    Ready(Box<Resident>),
}

/// A record in memory.
#[derive(Debug, Default)]
pub(crate) struct Resident {
    pub(crate) record: KeyRecord,
    /// Acquires that wait for the lease, in the order of their arrival (request ids grow).
    pub(crate) waiters: BTreeMap<RequestId, Waiter>,
    /// The batch that wrote this state.
    pub(crate) written: u64,
    /// What the indexes say, if the key is a message's.
    pub(crate) listed: Option<Box<Listing>>,
    /// Jobs that wait for other records and need this one to stay.
    pub(crate) pins: u32,
    /// Used since the clock hand last came by.
    touched: bool,
}

#[derive(Debug)]
pub(crate) struct Waiter {
    pub(crate) op: Box<Acquire>,
    pub(crate) deadline: Option<Moment>,
}

#[derive(Debug)]
pub(crate) struct Lanes {
    map: HashMap<KeyId, Lane, RandomState>,
    /// Ready lanes as the clock hand meets them.
    clock: VecDeque<KeyId>,
    capacity: usize,
}

/// How many lanes the clock hand may look at for one that it wants to forget: keeps every step short.
const SWEEP_STEPS: usize = 8;

impl Lanes {
    pub(crate) fn new(capacity: usize) -> Lanes {
        Lanes { map: HashMap::default(), clock: VecDeque::new(), capacity }
    }

    pub(crate) fn len(&self) -> usize {
        self.map.len()
    }

    pub(crate) fn loading(&self) -> usize {
        self.map.values().filter(|lane| matches!(lane, Lane::Loading(_))).count()
    }

    pub(crate) fn ready(&mut self, key: &KeyId) -> Option<&mut Resident> {
        match self.map.get_mut(key) {
            Some(Lane::Ready(resident)) => {
                resident.touched = true;
                Some(resident)
            }
            _ => None,
        }
    }

    /// Puts a job in line for a record that is not here. True if the record has to be asked for.
    pub(crate) fn park(&mut self, key: &KeyId, job: Job) -> bool {
        match self.map.get_mut(key) {
            Some(Lane::Loading(parked)) => {
                parked.push(job);
                false
            }
            Some(Lane::Ready(_)) => unreachable!("a job waits only for records that are not here"),
            None => {
                self.map.insert(key.clone(), Lane::Loading(vec![job]));
                true
            }
        }
    }

    /// Takes back a request that waits for a record.
    pub(crate) fn withdraw(&mut self, key: &KeyId, id: RequestId) -> Option<Job> {
        let Some(Lane::Loading(parked)) = self.map.get_mut(key) else { return None };
        let place = parked.iter().position(|job| job.request() == Some(id))?;
        Some(parked.remove(place))
    }

    /// Makes sure that a record is here or on its way. True if it has to be asked for.
    pub(crate) fn expect(&mut self, key: &KeyId) -> bool {
        if self.map.contains_key(key) {
            return false;
        }
        self.map.insert(key.clone(), Lane::Loading(Vec::new()));
        true
    }

    /// The record is here: whose turn is it?
    pub(crate) fn loaded(&mut self, key: &KeyId, record: KeyRecord) -> Vec<Job> {
        match self.map.get_mut(key) {
            Some(lane @ Lane::Loading(_)) => {
                let listed = key.as_message().map(|(_, id)| Listing::of(id, &record));
                let listed = listed.filter(|listed| *listed != Listing::default()).map(Box::new);
                let resident = Resident { record, listed, touched: true, ..Resident::default() };
                let arrived = std::mem::replace(lane, Lane::Ready(Box::new(resident)));
                self.clock.push_back(key.clone());
                match arrived {
                    Lane::Loading(parked) => parked,
                    Lane::Ready(_) => Vec::new(),
                }
            }
            _ => Vec::new(),
        }
    }

    /// A key that the store has never seen, because its name was made up just now.
    pub(crate) fn create(&mut self, key: &KeyId) -> &mut Resident {
        let fresh = || Lane::Ready(Box::new(Resident { touched: true, ..Resident::default() }));
        self.clock.push_back(key.clone());
        let lane = self.map.entry(key.clone()).or_insert_with(fresh);
        if matches!(lane, Lane::Loading(_)) {
            *lane = fresh();
        }
        match lane {
            Lane::Ready(resident) => resident,
            Lane::Loading(_) => unreachable!("made ready just above"),
        }
    }

    /// The record cannot be read: who waited for it?
    pub(crate) fn lost(&mut self, key: &KeyId) -> Vec<Job> {
        match self.map.get(key) {
            Some(Lane::Loading(_)) => match self.map.remove(key) {
                Some(Lane::Loading(parked)) => parked,
                _ => Vec::new(),
            },
            _ => Vec::new(),
        }
    }

    /// Forgets idle lanes beyond the capacity. What is not yet durable is not idle: the store does not have it.
    pub(crate) fn trim(&mut self, durable: u64) {
        let mut steps = 0;
        while self.clock.len() > self.capacity && steps < SWEEP_STEPS {
            steps += 1;
            let Some(key) = self.clock.pop_front() else { return };
            let idle = match self.map.get_mut(&key) {
                Some(Lane::Ready(lane)) => {
                    let used = std::mem::take(&mut lane.touched);
                    !used && lane.waiters.is_empty() && lane.pins == 0 && lane.written <= durable
                }
                _ => false,
            };
            if idle {
                self.map.remove(&key);
            } else {
                self.clock.push_back(key);
            }
        }
    }

    /// Everything that waits in any lane, for a shutdown that cannot serve it.
    pub(crate) fn drain_jobs(&mut self) -> Vec<Job> {
        let mut jobs = Vec::new();
        self.map.retain(|_, lane| match lane {
            Lane::Loading(parked) => {
                jobs.append(parked);
                false
            }
            Lane::Ready(_) => true,
        });
        jobs
    }
}
