//! The judge who sees everything: every batch must be explained by exactly the requests that can have caused it, and every
//! answer by the batch that it rests on or, if it changed nothing, by a state of the key during the request.
//!
//! The order of the batches is thereby a proof of linearizability against the reference in [`crate::model`].

use std::collections::{BTreeMap, BTreeSet};

use lockd_core::op::{Acquire, Op, Outcome, Reason, Reply};
use lockd_core::records::blob;
use lockd_core::records::key::{self, KeyRecord};
use lockd_core::records::namespace::{self, NamespaceRecord};
use lockd_core::{Footprint, Limits, Moment, RequestId};
use lockd_store::{Batch, Change};
use lockd_wire::{KeyId, TxnId};

use crate::disk::{Records, apply, check_references, decode};
use crate::model::{KeyModel, Verdict, expiry};
use crate::shape::Shape;
use crate::violation::{Checked, Violation, broken, promise};

/// While this many batches are on their way, the core leaves expired leases alone.
const SWEEPS_UNDER_WAY: u64 = 32;

#[derive(Debug)]
pub struct Oracle {
    limits: Limits,
    /// All records as of the newest batch, durable or not.
    written: Records,
    keys: BTreeMap<KeyId, Vec<Era<KeyModel>>>,
    settings: BTreeMap<String, Vec<Era<Option<NamespaceRecord>>>>,
    requests: BTreeMap<RequestId, Asked>,
    /// Batches that an expiry may have caused, or somebody's request.
    maybe_expired: BTreeSet<u64>,
    step: u64,
    /// The time in the core, which never goes backwards.
    now: u64,
    newest: u64,
    told: u64,
    draining: bool,
    failed: bool,
}

/// A state, and since when.
#[derive(Debug)]
struct Era<T> {
    from_step: u64,
    from_time: u64,
    batch: u64,
    state: T,
}

#[derive(Debug)]
struct Asked {
    op: Op,
    step: u64,
    time: u64,
    cancelled: bool,
    /// When no record was on its way any more, so that an acquire was in line if it had to be.
    in_line: Option<u64>,
    /// The batch that carried it out, and what the client must be told.
    decided: Option<(u64, Shape)>,
    /// The same, while several requests may have been the one.
    possible: Option<(u64, Shape)>,
}

struct Moved {
    key: KeyId,
    before: KeyModel,
    after: KeyModel,
}

/// How a lease ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Commit,
    RollBack,
    /// By expiry or abandonment: nobody has decided anything.
    Alone,
}

impl End {
    fn by(op: &Op, commit: bool) -> End {
        match op {
            Op::Abandon(_) => End::Alone,
            _ if commit => End::Commit,
            _ => End::RollBack,
        }
    }
}

/// Which requests caused a batch.
#[derive(Default)]
struct Explained {
    sure: Vec<(RequestId, Shape)>,
    /// One of these.
    either: Vec<(RequestId, Shape)>,
    /// Or time alone.
    or_expiry: bool,
}

impl Explained {
    fn by(id: RequestId, shape: Shape) -> Explained {
        Explained { sure: vec![(id, shape)], ..Explained::default() }
    }
}

impl Oracle {
    pub fn new(limits: Limits) -> Oracle {
        Oracle {
            limits,
            written: Records::new(),
            keys: BTreeMap::new(),
            settings: BTreeMap::new(),
            requests: BTreeMap::new(),
            maybe_expired: BTreeSet::new(),
            step: 0,
            now: 0,
            newest: 0,
            told: 0,
            draining: false,
            failed: false,
        }
    }

    /// Before the core is given anything: the time.
    pub fn turn(&mut self, step: u64, now: u64) {
        self.step = step;
        self.now = self.now.max(now);
    }

    pub fn asked(&mut self, id: RequestId, op: &Op) {
        let asked = Asked {
            op: op.clone(),
            step: self.step,
            time: self.now,
            cancelled: false,
            in_line: None,
            decided: None,
            possible: None,
        };
        self.requests.insert(id, asked);
    }

    pub fn cancelled(&mut self, id: RequestId) {
        if let Some(asked) = self.requests.get_mut(&id) {
            asked.cancelled = true;
        }
    }

    pub fn told(&mut self, through: u64) {
        self.told = through;
    }

    pub fn draining(&mut self) {
        self.draining = true;
    }

    pub fn failed(&mut self) {
        self.failed = true;
    }

    pub fn op(&self, id: RequestId) -> Option<&Op> {
        self.requests.get(&id).map(|asked| &asked.op)
    }

    pub fn unanswered(&self) -> usize {
        self.requests.len()
    }

    pub fn model(&self, key: &KeyId) -> KeyModel {
        self.keys.get(key).and_then(|eras| eras.last()).map(|era| era.state.clone()).unwrap_or_default()
    }

    // ---- batches --------------------------------------------------------------------------------------------------

    /// A batch, and the request that the core has just been given, if it was one.
    pub fn batch(&mut self, seq: u64, batch: &Batch, hint: Option<RequestId>) -> Checked {
        promise(!self.failed, "nothing is written after a failure", || format!("batch {seq}"))?;
        self.newest = seq;
        apply(&mut self.written, batch);
        check_references(&self.written)?;
        let mut moved = Vec::new();
        let mut settings = None;
        let mut blobs_dropped = BTreeSet::new();
        for change in &batch.changes {
            match change {
                Change::Put { key, value } => {
                    if let Some((key, record)) = decode(key, value)? {
                        let before = self.model(&key);
                        moved.push(Moved { key, before, after: KeyModel::of(&record) });
                    }
                    if let Ok(name) = namespace::namespace_of(key) {
                        settings = NamespaceRecord::decode(value).ok().map(|record| (name, record));
                    }
                }
                Change::Delete { key } if key.starts_with(b"K") => {
                    return broken("the record of a key is never deleted", format!("{key:?}"));
                }
                Change::Delete { key } if key.starts_with(b"B") => {
                    blobs_dropped.insert(key.clone());
                }
                Change::Delete { .. } => {}
            }
        }
        let dead = batch.dead_blobs.iter().map(|&id| blob::storage_key(id)).collect();
        promise(blobs_dropped == dead, "a blob is deleted exactly when its record is", || {
            format!("batch {seq} drops {blobs_dropped:?}, declares dead {dead:?}")
        })?;
        let explained = match settings {
            Some((name, record)) => {
                promise(moved.is_empty(), "namespace settings change alone", || format!("batch {seq}"))?;
                let explained = self.explain_settings(name.as_str(), &record)?;
                let era = self.era(seq, Some(record));
                self.settings.entry(name.as_str().to_owned()).or_default().push(era);
                explained
            }
            None => self.explain(&moved, hint)?,
        };
        for moved in moved {
            promise(
                moved.after.token >= moved.before.token && moved.after.token <= moved.before.token + 1,
                "the fencing token grows by one a grant",
                || format!("{}: {} to {}", moved.key, moved.before.token, moved.after.token),
            )?;
            promise(moved.after.version >= moved.before.version, "versions never go back", || {
                format!("{}: {} to {}", moved.key, moved.before.version, moved.after.version)
            })?;
            let era = self.era(seq, moved.after);
            self.keys.entry(moved.key).or_default().push(era);
        }
        for (id, shape) in explained.sure {
            if let Some(asked) = self.requests.get_mut(&id) {
                asked.decided = Some((seq, shape));
                let earlier = asked.possible.take();
                self.rule_out(earlier);
            }
        }
        let only = explained.either.len() == 1 && !explained.or_expiry;
        if explained.or_expiry {
            self.maybe_expired.insert(seq);
        }
        for (id, shape) in explained.either {
            if let Some(asked) = self.requests.get_mut(&id) {
                let place = if only { &mut asked.decided } else { &mut asked.possible };
                *place = Some((seq, shape));
            }
        }
        Ok(())
    }

    /// A request was not the one that caused a batch after all. If only one is left, that was it.
    fn rule_out(&mut self, possible: Option<(u64, Shape)>) {
        let Some((batch, _)) = possible else { return };
        if self.maybe_expired.contains(&batch) {
            return;
        }
        let others = self.requests.values_mut();
        let mut others = others.filter(|asked| asked.possible.as_ref().is_some_and(|other| other.0 == batch));
        if let (Some(only), None) = (others.next(), others.next()) {
            only.decided = only.possible.take();
        }
    }

    /// A request was the one that caused a batch.
    fn settle_on(&mut self, batch: u64) {
        for asked in self.requests.values_mut() {
            asked.possible.take_if(|other| other.0 == batch);
        }
    }

    fn era<T>(&self, batch: u64, state: T) -> Era<T> {
        Era { from_step: self.step, from_time: self.now, batch, state }
    }

    /// Requests on a key that are not carried out yet, the one just made first.
    fn open(&self, key: &KeyId, hint: Option<RequestId>) -> impl Iterator<Item = (RequestId, &Asked)> {
        let hinted = hint.and_then(|id| self.requests.get_key_value(&id));
        let others = self.requests.iter().filter(move |&(&id, _)| Some(id) != hint);
        hinted
            .into_iter()
            .chain(others)
            .filter(|(_, asked)| asked.decided.is_none() && asked.op.key() == Some(key))
            .map(|(&id, asked)| (id, asked))
    }

    fn explain(&self, moved: &[Moved], hint: Option<RequestId>) -> Checked<Explained> {
        let ends = |moved: &&Moved| match (&moved.before.lease, &moved.after.lease) {
            (Some(before), Some(after)) => before.id != after.id,
            (before, _) => before.is_some(),
        };
        let ended: Vec<&Moved> = moved.iter().filter(ends).collect();
        if ended.is_empty() {
            return match moved {
                [only] => self.explain_change(only, hint),
                _ => broken("several keys change together only when a transaction is decided", names(moved)),
            };
        }
        let mut failures: Vec<Violation> = Vec::new();
        let mut found: Option<Explained> = None;
        for moved_key in &ended {
            for (id, asked) in self.open(&moved_key.key, hint) {
                let Verdict::Decide { commit } = moved_key.before.apply(self.now, &asked.op, &self.limits)
                else {
                    continue;
                };
                match self.explain_end(moved, &moved_key.key, End::by(&asked.op, commit), hint) {
                    Ok((outcome, sure)) => {
                        let shape = match &asked.op {
                            Op::Release(_) => Shape::Released(outcome),
                            _ => Shape::Abandoned,
                        };
                        let found = found.get_or_insert_default();
                        found.sure = sure;
                        found.either.push((id, shape));
                        if hint == Some(id) {
                            return Ok(Explained {
                                either: found.either.split_off(found.either.len() - 1),
                                ..std::mem::take(found)
                            });
                        }
                    }
                    Err(failure) => failures.push(failure),
                }
            }
            if !moved_key.before.is_leased_at(self.now) {
                match self.explain_end(moved, &moved_key.key, End::Alone, hint) {
                    Ok((_, sure)) => {
                        let found = found.get_or_insert_default();
                        (found.sure, found.or_expiry) = (sure, true);
                    }
                    Err(failure) => failures.push(failure),
                }
            }
        }
        if let Some(found) = found {
            return Ok(found);
        }
        match failures.pop() {
            Some(failure) => Err(failure),
            None => broken(
                "a lease ends only by release, rollback, abandonment or expiry",
                format!("{} at {}", names(moved), self.now),
            ),
        }
    }

    /// One key changes under its lease, or is granted while it is free.
    fn explain_change(&self, moved: &Moved, hint: Option<RequestId>) -> Checked<Explained> {
        if moved.before.lease.is_none() && moved.after.lease.is_some() {
            let (id, shape) = self.explain_grant(&moved.key, &moved.before, &moved.after, hint)?;
            return Ok(Explained::by(id, shape));
        }
        for (id, asked) in self.open(&moved.key, hint) {
            if let Verdict::Change(after, shape) = moved.before.apply(self.now, &asked.op, &self.limits)
                && *after == moved.after
            {
                return Ok(Explained::by(id, shape));
            }
        }
        broken(
            "a key changes only as somebody has asked for",
            format!("{}: {:?} became {:?}", moved.key, moved.before, moved.after),
        )
    }

    /// The lease on `trigger` ended and took its transaction along.
    fn explain_end(
        &self,
        moved: &[Moved],
        trigger: &KeyId,
        end: End,
        hint: Option<RequestId>,
    ) -> Checked<(Outcome, Vec<(RequestId, Shape)>)> {
        let model = self.model(trigger);
        let Some(lease) = &model.lease else {
            return broken("a lease ends only once", trigger.to_string());
        };
        // Without changes of its own the key is no participant: that its holder is gone means nothing to the others.
        let decides = end != End::Alone || model.draft.is_some();
        let mut expected = if decides { self.participants(lease.txn) } else { BTreeSet::new() };
        expected.insert(trigger.clone());
        let ended: BTreeSet<KeyId> = moved.iter().map(|moved| moved.key.clone()).collect();
        promise(expected == ended, "a transaction is decided for all participants in one batch", || {
            format!("{} of {expected:?}, but {ended:?} changed", lease.txn)
        })?;
        let mut total = Outcome::Nothing;
        let mut explained = Vec::new();
        for moved in moved {
            let (between, outcome) =
                if end == End::Commit { moved.before.committed() } else { moved.before.rolled_back() };
            if outcome != Outcome::Nothing {
                total = outcome;
            }
            if between == moved.after {
                continue;
            }
            if moved.after.lease.is_none() {
                return broken(
                    "a decision commits exactly what was staged, or nothing",
                    format!("{} ({end:?}): {:?} became {:?}", moved.key, moved.before, moved.after),
                );
            }
            explained.push(self.explain_grant(&moved.key, &between, &moved.after, hint)?);
        }
        Ok((total, explained))
    }

    /// Keys with changes staged under a transaction that somebody has chosen.
    fn participants(&self, txn: TxnId) -> BTreeSet<KeyId> {
        let mut chosen = false;
        let mut keys = BTreeSet::new();
        for (key, eras) in &self.keys {
            let Some(model) = eras.last().map(|era| &era.state) else { continue };
            if let (Some(lease), Some(_)) = (&model.lease, &model.draft)
                && lease.txn == txn
            {
                chosen |= lease.coordinated;
                keys.insert(key.clone());
            }
        }
        if chosen { keys } else { BTreeSet::new() }
    }

    fn explain_grant(
        &self,
        key: &KeyId,
        free: &KeyModel,
        after: &KeyModel,
        hint: Option<RequestId>,
    ) -> Checked<(RequestId, Shape)> {
        let granted = after.lease.as_ref().map(|lease| lease.id);
        let asked = self
            .open(key, hint)
            .find(|(_, asked)| matches!(&asked.op, Op::Acquire(acquire) if Some(acquire.lease) == granted));
        let Some((id, asked)) = asked else {
            return broken("a lease is granted to whoever asked for it", format!("{key}: {after:?}"));
        };
        promise(!self.draining, "nothing is granted while draining", || format!("{key} to {id:?}"))?;
        promise(!asked.cancelled, "nothing is granted to somebody who has gone", || {
            format!("{key} to {id:?}")
        })?;
        for (other, waiting) in self.open(key, None) {
            promise(
                other >= id || !self.is_waiting(waiting),
                "leases are handed over in the order of arrival",
                || format!("{key} to {id:?} while {other:?} waits"),
            )?;
        }
        match free.apply(self.now, &asked.op, &self.limits) {
            Verdict::Change(expected, shape) if *expected == *after => Ok((id, shape)),
            verdict => broken(
                "a grant is a new lease with the next token over committed data",
                format!("{key}: {free:?} became {after:?}, expected {verdict:?}"),
            ),
        }
    }

    /// Does the request certainly still wait for its lease?
    fn is_waiting(&self, asked: &Asked) -> bool {
        let Op::Acquire(op) = &asked.op else { return false };
        let Some(patience) = self.patience(op) else { return false };
        // While draining, whoever waited has been sent away, though the answer may still be held back.
        !op.if_not_exists
            && !self.draining
            && !asked.cancelled
            && asked.decided.is_none()
            && self.now < asked.time.saturating_add(patience)
    }

    /// How long an acquire is willing to wait, if at all.
    fn patience(&self, op: &Acquire) -> Option<u64> {
        match op.block_seconds {
            -1 => None,
            0 => Some(u64::MAX),
            seconds => {
                Some(u64::try_from(seconds).map_or(self.limits.acquire_block_ms, |seconds| seconds * 1000))
            }
        }
    }

    /// When an acquire must have been told that it has waited long enough.
    fn patience_ends(&self, asked: &Asked) -> Option<u64> {
        let Op::Acquire(op) = &asked.op else { return None };
        Some(expiry(asked.in_line?, self.patience(op)?))
    }

    fn explain_settings(&self, name: &str, after: &NamespaceRecord) -> Checked<Explained> {
        for (&id, asked) in &self.requests {
            if let Op::ConfigureNamespace(op) = &asked.op
                && asked.decided.is_none()
                && op.namespace.as_str() == name
                && op.etag == after.etag
            {
                let before = self.settings.get(name).and_then(|eras| eras.last());
                let before = before.and_then(|era| era.state.as_ref());
                let engines = before.map_or(op.defaults, |before| before.engines);
                let allowed =
                    op.if_match.is_none() || op.if_match == before.map(|before| before.etag.to_string());
                promise(
                    allowed
                        && after.engines.preferred == op.preferred.unwrap_or(engines.preferred)
                        && after.engines.fallback == op.fallback.unwrap_or(engines.fallback),
                    "namespace settings change as asked",
                    || format!("{name}: {before:?} became {after:?}"),
                )?;
                return Ok(Explained::by(id, Shape::Configured { engines: after.engines, etag: after.etag }));
            }
        }
        broken("namespace settings change as asked", format!("{name}: {after:?}, and nobody asked"))
    }

    // ---- answers --------------------------------------------------------------------------------------------------

    /// An answer leaves the core. Gives back what was asked.
    pub fn answer(&mut self, id: RequestId, reply: &Reply) -> Checked<(Op, Shape)> {
        let Some(asked) = self.requests.remove(&id) else {
            return broken("every request is answered once", format!("{id:?}: {reply:?}"));
        };
        let shape = Shape::of(reply);
        if let Reply::Refused(refusal) = reply {
            let hint = refusal.retry_after_seconds;
            promise(
                hint.is_some_and(|seconds| seconds > 0) == (refusal.reason == Reason::Waiting),
                "only who waits is told how long",
                || format!("{id:?}: {refusal:?}"),
            )?;
        }
        let is_failure = matches!(shape, Shape::Refused { reason: Reason::StoreFailed, .. });
        promise(is_failure == self.failed, "after a failure nobody is told anything else", || {
            format!("{id:?}: {shape:?}")
        })?;
        if is_failure {
            return Ok((asked.op, shape));
        }
        let possible = asked.possible.as_ref().filter(|(_, expected)| *expected == shape);
        if let Some(&(batch, _)) = possible.filter(|_| asked.decided.is_none()) {
            self.settle_on(batch);
        } else {
            self.rule_out(asked.possible.clone());
        }
        match asked.decided.as_ref().or(possible) {
            Some((batch, expected)) => {
                let told_to_nobody = matches!(asked.op, Op::Abandon(_));
                promise(
                    *batch <= self.told || told_to_nobody,
                    "nothing is answered before it is durable",
                    || format!("{id:?} rests on batch {batch}, durable are {}: {shape:?}", self.told),
                )?;
                promise(*expected == shape, "an answer says what happened", || {
                    format!("{id:?} {:?}: expected {expected:?}, got {shape:?}", asked.op)
                })?;
            }
            None => {
                promise(
                    self.justified(&asked, &shape),
                    "an answer is right about some durable state",
                    || format!("{id:?} {:?} since step {}: {shape:?}", asked.op, asked.step),
                )?;
            }
        }
        Ok((asked.op, shape))
    }

    /// Was there a durable moment during the request at which this answer, which changed nothing, was right?
    fn justified(&self, asked: &Asked, shape: &Shape) -> bool {
        let reason = match shape {
            Shape::Refused { reason, .. } => Some(*reason),
            _ => None,
        };
        if let Op::ConfigureNamespace(op) = &asked.op {
            let wrong = |state: Option<&NamespaceRecord>| {
                op.if_match.is_some() && op.if_match != state.map(|record| record.etag.to_string())
            };
            let eras = self.settings.get(op.namespace.as_str()).map_or(&[][..], Vec::as_slice);
            let found = self.during(eras, asked, |state, _| wrong(state.as_ref()));
            let before = eras.first().is_none_or(|era| era.from_step >= asked.step) && wrong(None);
            return reason == Some(Reason::NamespaceConflict) && (found || before);
        }
        let Some(key) = asked.op.key() else { return false };
        let patience = match &asked.op {
            Op::Acquire(_) if reason == Some(Reason::Draining) => return self.draining,
            Op::Acquire(_) if reason == Some(Reason::Cancelled) => return asked.cancelled,
            Op::Acquire(op) if reason == Some(Reason::Waiting) => match op.block_seconds {
                -1 => None,
                0 => return false,
                _ => self.patience(op),
            },
            _ => None,
        };
        if let Some(patience) = patience
            && self.now < asked.time + patience
        {
            return false;
        }
        let fresh = Era { from_step: 0, from_time: 0, batch: 0, state: KeyModel::default() };
        let fits = |model: &KeyModel, time: u64| match patience {
            Some(_) => model.lease.is_some() && model.refuse(Reason::Waiting) == *shape,
            None => {
                matches!(model.apply(time, &asked.op, &self.limits), Verdict::Keep(told) if told == *shape)
            }
        };
        let eras = self.keys.get(key).map_or(&[][..], Vec::as_slice);
        let untouched = eras.first().is_none_or(|era| era.from_step >= asked.step && era.batch > 0);
        self.during(eras, asked, fits) || (untouched && fits(&fresh.state, asked.time))
    }

    /// Does any durable state of these, at some time during the request, fit?
    fn during<T>(&self, eras: &[Era<T>], asked: &Asked, fits: impl Fn(&T, u64) -> bool) -> bool {
        eras.iter().enumerate().any(|(place, era)| {
            let next = eras.get(place + 1);
            let (last_step, last_time) =
                next.map_or((self.step, self.now), |next| (next.from_step, next.from_time));
            let first_time = era.from_time.max(asked.time);
            // Only the shell hears that there was nothing to abandon, and tells nobody.
            (era.batch <= self.told || matches!(asked.op, Op::Abandon(_)))
                && last_step >= asked.step
                && (fits(&era.state, first_time) || fits(&era.state, last_time.max(first_time)))
        })
    }

    // ---- after every step -------------------------------------------------------------------------------------------

    pub fn settled(
        &mut self,
        print: Footprint,
        deadline: Option<Moment>,
        loads: usize,
        ticked: bool,
    ) -> Checked {
        let expiries = self.keys.values().filter_map(|eras| Some(eras.last()?.state.lease.as_ref()?.expires));
        let (held, first_expiry) = (expiries.clone().count(), expiries.min());
        promise(print.held_leases == held, "the core counts the leases that are held", || {
            format!("{print:?}, but {held} are held")
        })?;
        // After a failure nobody waits for records that are still on their way.
        promise(print.loading == loads || self.failed, "a record that loads has been asked for", || {
            format!("{print:?}, but {loads} were asked for")
        })?;
        promise(
            print.waiters + print.unanswered <= self.requests.len(),
            "nobody waits who has not asked",
            || format!("{print:?}, but {} have asked", self.requests.len()),
        )?;
        let nothing_rests = self.newest == self.told && print.unanswered > 0;
        promise(!nothing_rests, "no answer is held back without reason", || format!("{print:?}"))?;
        if print.waiters == 0 && print.held_leases == 0 {
            promise(deadline.is_none(), "no timer is left when nothing is going on", || {
                format!("{deadline:?}")
            })?;
        }
        if loads > 0 || self.failed {
            return Ok(());
        }
        for asked in self.requests.values_mut() {
            asked.in_line.get_or_insert(self.now);
        }
        promise(self.requests.len() == print.waiters + print.unanswered, "no request is forgotten", || {
            format!("{print:?}, but {} have asked", self.requests.len())
        })?;
        promise(!self.draining || print.waiters == 0, "nobody waits while draining", || {
            format!("{print:?}")
        })?;
        for (id, asked) in self.requests.iter().filter(|(_, asked)| self.is_waiting(asked)) {
            let Some(key) = asked.op.key() else { continue };
            promise(self.model(key).lease.is_some(), "nobody waits for a free lease", || {
                format!("{id:?} for {key}")
            })?;
        }
        let overdue = |asked: &&Asked| self.patience_ends(asked).is_some_and(|end| end <= self.now);
        let overdue = self.requests.values().filter(overdue).count();
        promise(!ticked || overdue <= print.unanswered, "nobody waits longer than it wanted to", || {
            format!("{overdue} do, {print:?}")
        })?;
        let waiting = self.requests.values().filter(|asked| self.is_waiting(asked));
        if let Some(first) = waiting.filter_map(|asked| self.patience_ends(asked)).min() {
            promise(
                first == u64::MAX || deadline.is_some_and(|deadline| deadline.0 <= first),
                "the core asks to be woken when somebody has waited long enough",
                || format!("{deadline:?}, but somebody waits until {first}"),
            )?;
        }
        if self.newest - self.told >= SWEEPS_UNDER_WAY {
            return Ok(());
        }
        if let Some(first) = first_expiry {
            promise(
                deadline.is_some_and(|deadline| deadline.0 <= first),
                "the core asks to be woken for the first expiry",
                || format!("{deadline:?}, but a lease expires at {first}"),
            )?;
            promise(
                !ticked || first > self.now,
                "expired leases are cleared when their time has come",
                || format!("one expired at {first}, it is {}", self.now),
            )?;
        }
        Ok(())
    }

    /// The process has died, and this is what the disk holds: the state after batch `reached`, and nothing in between.
    pub fn crashed(&mut self, durable: &Records, reached: u64) -> Checked {
        for (key, eras) in &self.keys {
            let expected = eras.iter().rev().find(|era| era.batch <= reached).map(|era| &era.state);
            let found = match durable.get(&key::storage_key(key)) {
                None => KeyModel::default(),
                Some(bytes) => KeyModel::of(&KeyRecord::decode(bytes).unwrap_or_default()),
            };
            promise(
                found == expected.cloned().unwrap_or_default(),
                "a restart finds what was durable",
                || format!("{key}: {found:?}"),
            )?;
        }
        let settings = std::mem::take(&mut self.settings);
        let (step, limits) = (self.step, self.limits);
        *self = Oracle { step, written: durable.clone(), ..Oracle::new(limits) };
        for (storage_key, value) in durable {
            if let Some((key, record)) = decode(storage_key, value)? {
                let era = self.era(0, KeyModel::of(&record));
                self.keys.insert(key, vec![era]);
            }
        }
        for (name, eras) in settings {
            if let Some(era) = eras.into_iter().rev().find(|era| era.batch <= reached) {
                let era = self.era(0, era.state);
                self.settings.insert(name, vec![era]);
            }
        }
        Ok(())
    }
}

fn names(moved: &[Moved]) -> String {
    moved
        .iter()
        .map(|moved| format!("{}: {:?} became {:?}; ", moved.key, moved.before, moved.after))
        .collect()
}
