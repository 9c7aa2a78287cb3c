//! Answers that wait for durability: nothing is told to anybody before the batch it rests on is synced.

use std::collections::VecDeque;

use smallvec::SmallVec;

use crate::machine::RequestId;
use crate::op::Reply;

#[derive(Debug, Default)]
pub(crate) struct Answers {
    /// Every batch up to and including this one is durable.
    durable: u64,
    /// What waits for batch `durable + 1`, `durable + 2`, …
    held: VecDeque<SmallVec<[(RequestId, Reply); 1]>>,
    count: usize,
}

impl Answers {
    pub(crate) fn durable(&self) -> u64 {
        self.durable
    }

    pub(crate) fn waiting(&self) -> usize {
        self.count
    }

    /// Holds an answer until `batch` is durable; hands it back if it already is.
    pub(crate) fn hold(&mut self, batch: u64, id: RequestId, reply: Reply) -> Option<Reply> {
        let Some(ahead) = batch.checked_sub(self.durable + 1) else { return Some(reply) };
        let place = ahead as usize;
        if self.held.len() <= place {
            self.held.resize_with(place + 1, SmallVec::new);
        }
        self.held[place].push((id, reply));
        self.count += 1;
        None
    }

    /// Lets go of everything that rested on batches up to `through`.
    pub(crate) fn release(&mut self, through: u64, mut give: impl FnMut(RequestId, Reply)) {
        while self.durable < through {
            self.durable += 1;
            for (id, reply) in self.held.pop_front().unwrap_or_default() {
                self.count -= 1;
                give(id, reply);
            }
        }
    }

    /// The store failed: names everybody who still waits.
    pub(crate) fn abandon(&mut self, mut give: impl FnMut(RequestId)) {
        for (id, _) in self.held.drain(..).flatten() {
            give(id);
        }
        self.count = 0;
    }
}
