//! Is an answer right?

use lockd_core::RequestId;
use lockd_core::op::{Op, Reason, Reply};
use lockd_core::records::namespace::NamespaceRecord;

use super::{Asked, Era, Oracle};
use crate::model::{KeyModel, Verdict};
use crate::shape::Shape;
use crate::violation::{Checked, broken, promise};

impl Oracle {
    /// An answer leaves the core. Gives back what was asked.
    pub fn answer(&mut self, id: RequestId, reply: &Reply) -> Checked<(Op, Shape)> {
        let Some(asked) = self.requests.remove(&id) else {
            return broken("every request is answered once", format!("{id:?}: {reply:?}"));
        };
        let shape = Shape::of(reply);
        if let Reply::Refused(refusal) = reply {
            let hint = refusal.retry_after_seconds;
            let waited = match &asked.op {
                Op::Dequeue(op) => refusal.reason == Reason::NoMessage && op.wait_seconds != -1,
                _ => refusal.reason == Reason::Waiting,
            };
            promise(
                hint.is_some_and(|seconds| seconds > 0) == waited,
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
        if Oracle::is_of_market(&asked.op) {
            self.answer_market(id, &asked, &shape)?;
            return Ok((asked.op, shape));
        }
        let possible = asked.possible.as_ref().filter(|(_, expected)| *expected == shape);
        if matches!(asked.op, Op::Abandon(_)) {
            // It is told the same whether there was anything to abandon or not: that says nothing of who caused a batch.
        } else if let Some(&(batch, _)) = possible.filter(|_| asked.decided.is_none()) {
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
    pub(super) fn during<T>(&self, eras: &[Era<T>], asked: &Asked, fits: impl Fn(&T, u64) -> bool) -> bool {
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
}
