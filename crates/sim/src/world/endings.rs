//! How things end: by a crash and a restart, or by coming to rest.

use lockd_core::records::key::{self, KeyRecord};
use lockd_core::records::txn::Pending;
use lockd_core::records::{held, namespace};
use lockd_core::{Core, Input};

use super::World;
use crate::model::KeyModel;
use crate::violation::{Checked, broken, promise};

impl World {
    pub(super) fn crash(&mut self) -> Checked {
        // What is on its way may or may not have arrived, but in order.
        let survivors = self.dice.between(0, self.disk.waiting());
        for _ in 0..survivors {
            self.disk.sync_one()?;
        }
        let reached = self.disk.reached;
        self.note(|| format!("crash: batch {reached} was the last to survive"));
        self.oracle.turn(self.step, self.clock);
        self.oracle.crashed(&self.disk.durable, reached)?;
        self.history.crashed(|key| {
            let stored = self.disk.durable.get(&key::storage_key(key));
            let record = stored.map_or_else(KeyRecord::default, |bytes| {
                // What does not read back has been reported already.
                KeyRecord::decode(bytes).unwrap_or_default()
            });
            KeyModel::of(&record)
        })?;
        self.ledger.crashed(&self.disk.durable)?;
        self.disk.crash();
        for client in &mut self.clients {
            client.pending = None;
            if self.dice.percent(30) {
                client.die();
            }
        }
        self.letters.clear();
        self.undelivered.clear();
        self.chores.clear();
        (self.draining, self.failed) = (false, false);
        self.start()
    }

    /// A new process opens the store.
    fn start(&mut self) -> Checked {
        let mut core = Core::new(self.settings);
        for (storage_key, value) in &self.disk.durable {
            match storage_key.first() {
                Some(b'L') => {
                    let key = held::key_of(storage_key);
                    let stored =
                        key.as_ref().ok().and_then(|key| self.disk.durable.get(&key::storage_key(key)));
                    match (key, stored.map(|bytes| KeyRecord::decode(bytes))) {
                        (Ok(key), Some(Ok(record))) => core.restore_lease(&key, &record),
                        damaged => return broken("what the core writes reads back", format!("{damaged:?}")),
                    }
                }
                Some(b'P') => match (Pending::txn_of(storage_key), Pending::decode(value)) {
                    (Ok(txn), Ok(pending)) => core.restore_txn(txn, pending),
                    damaged => return broken("what the core writes reads back", format!("{damaged:?}")),
                },
                Some(b'N') => {
                    let record = namespace::NamespaceRecord::decode(value);
                    match (namespace::namespace_of(storage_key), record) {
                        (Ok(name), Ok(record)) => core.restore_namespace(name, record),
                        damaged => return broken("what the core writes reads back", format!("{damaged:?}")),
                    }
                }
                _ => {}
            }
        }
        self.core = core;
        Ok(())
    }

    /// Nobody asks for anything any more. Everything must end by itself, and leave nothing behind.
    pub(super) fn rest(&mut self) -> Checked {
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
                let input = self.disk.deliver(0)?;
                self.feed(input)?;
            } else if !self.letters.is_empty() {
                self.post()?;
            } else if !self.undelivered.is_empty() {
                self.abandon()?;
            } else if let Some(deadline) = self.core.next_deadline() {
                self.clock = self.clock.max(deadline.0);
                self.tick()?;
            } else if let Some(id) = self.oracle.anybody_waiting() {
                // Whoever waits for a message that nobody sends goes home.
                self.feed(Input::Cancel(id))?;
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
                && (print.queue_waiters, print.pending_txns) == (0, 0)
                && print.lanes <= self.settings.idle_lanes
                && print.queues <= self.settings.idle_queues
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
