//! What can happen in the world.

use lockd_core::op::{Abandon, Delivery, Op, Tend};
use lockd_core::records::key::{self, KeyRecord};
use lockd_core::view::{self, Audience};
use lockd_core::{Input, Moment, RequestId};
use lockd_wire::KeyId;

use super::{Letter, World};
use crate::client::{Ticket, Wish, claim_of};
use crate::model::{KeyModel, value_of};
use crate::shape::Shape;
use crate::violation::{Checked, broken, promise};

impl World {
    pub(super) fn act(&mut self) -> Checked {
        let idle: Vec<usize> =
            (0..self.clients.len()).filter(|&n| self.clients[n].pending.is_none()).collect();
        let Some(&place) = self.dice.pick(&idle) else { return Ok(()) };
        if let Some(market) = &mut self.common.market {
            market.now = self.clock;
            market.dead_letters = self.disk.dead_letters()?;
        }
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

    pub(super) fn sync(&mut self) -> Checked {
        let many = self.dice.between(1, 4);
        for _ in 0..many {
            self.disk.sync_one()?;
        }
        let reached = self.disk.reached;
        self.note(|| format!("synced through {reached}"));
        Ok(())
    }

    pub(super) fn tell(&mut self) -> Checked {
        let through = self.dice.between(self.disk.told + 1, self.disk.reached);
        self.disk.told = through;
        self.note(|| format!("durable through {through}"));
        self.feed(Input::Durable { through })
    }

    pub(super) fn read_load(&mut self) -> Checked {
        let unread: Vec<usize> =
            (0..self.disk.loads.len()).filter(|&n| self.disk.loads[n].read.is_none()).collect();
        if let Some(&place) = self.dice.pick(&unread) {
            self.disk.read(place)?;
        }
        Ok(())
    }

    pub(super) fn deliver_load(&mut self) -> Checked {
        let read: Vec<usize> =
            (0..self.disk.loads.len()).filter(|&n| self.disk.loads[n].read.is_some()).collect();
        let Some(&place) = self.dice.pick(&read) else { return Ok(()) };
        let input = self.disk.deliver(place)?;
        self.note(|| describe_load(&input));
        self.feed(input)
    }

    /// A letter arrives, or finds nobody.
    pub(super) fn post(&mut self) -> Checked {
        let place = self.dice.place(self.letters.len());
        let Letter { id, op, shape } = self.letters.remove(place);
        match self.clients.iter_mut().find(|client| client.pending == Some(id)) {
            Some(client) => client.hear(&mut self.dice, &mut self.common, &op, &shape),
            None => {
                match shape {
                    Shape::Granted { key, lease, .. } => self.undelivered.push(Abandon { key, lease }),
                    // Either nothing of it was sent, or nobody knows and it stays out until its time is over.
                    Shape::Delivered(deliveries) if self.dice.percent(50) => {
                        let leases = deliveries.iter().flat_map(Delivery::leases);
                        self.undelivered.extend(leases.map(|(key, lease)| Abandon { key, lease }));
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }

    pub(super) fn abandon(&mut self) -> Checked {
        let place = self.dice.place(self.undelivered.len());
        let abandon = self.undelivered.remove(place);
        self.ask(Op::Abandon(abandon)).map(|_| ())
    }

    /// A step of housekeeping, which a server does now and then: it looks what there is to do, and does it some time later.
    pub(super) fn tidy_up(&mut self) -> Checked {
        if self.chores.is_empty() {
            let (dying, over) = self.disk.to_be_tidied(self.clock)?;
            self.note(|| format!("to be tidied up: {dying:?}, to be forgotten: {over:?}"));
            self.chores.extend(dying.into_iter().map(|key| Op::Tend(Tend::Bury(key))));
            self.chores.extend(over.into_iter().map(Op::ForgetTxn));
        }
        if self.dice.percent(40) {
            return Ok(());
        }
        let many = self.dice.between(1, 4) as usize;
        for _ in 0..many.min(self.chores.len()) {
            let chore = self.chores.remove(self.dice.place(self.chores.len()));
            self.ask(chore)?;
        }
        Ok(())
    }

    pub(super) fn move_clock(&mut self) -> Checked {
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

    pub(super) fn tick(&mut self) -> Checked {
        self.note(|| "tick".to_owned());
        // The core may want to be woken again at once, because it does only so much in one go.
        let (most_due, now) = (256, self.oracle.time().max(self.clock));
        for _ in 0..most_due {
            if self.core.next_deadline().is_none_or(|deadline| deadline.0 > now) {
                break;
            }
            self.feed_and_look(Input::Tick, false)?;
        }
        self.feed(Input::Tick)
    }

    /// A connection breaks; the client itself may live on and remember its leases.
    pub(super) fn lose_client(&mut self) -> Checked {
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

    pub(super) fn drain(&mut self) -> Checked {
        self.draining = true;
        self.note(|| "drain".to_owned());
        self.feed(Input::Drain)
    }

    pub(super) fn fail(&mut self) -> Checked {
        self.failed = true;
        self.note(|| "the store fails".to_owned());
        self.feed(Input::Failed)?;
        promise(self.oracle.unanswered() == 0, "a failure is told to everybody", || {
            format!("{} wait", self.oracle.unanswered())
        })
    }
}

fn describe_load(input: &Input) -> String {
    match input {
        Input::Loaded { key, .. } => format!("loaded {key}"),
        Input::TxnLoaded { txn, .. } => format!("loaded transaction {txn}"),
        Input::Scanned { queue, page } => format!("scanned {queue}: {:?}", page.as_ref().map(Vec::len)),
        input => format!("loaded {input:?}"),
    }
}
