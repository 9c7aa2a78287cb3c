//! What can be seen of queues and transactions from outside, at some moment.

use lockd_core::op::{Op, TxnAsk};
use lockd_wire::{KeyId, QueueId, Uid};

use super::{Asked, Oracle};

impl Oracle {
    /// The batch that made the head what it is. That others have left does not count.
    fn head_since(&self, queue: &QueueId, head: Option<Uid>) -> u64 {
        let key = head.map(|id| KeyId::of_message(queue, id));
        let last = key.and_then(|key| self.keys.get(&key)?.last());
        last.map_or(0, |era| era.batch)
    }

    /// What would be handed out next.
    pub(super) fn head(&self, queue: &QueueId) -> Option<Uid> {
        self.ready(queue).min().map(|(_, id)| id)
    }

    pub(super) fn ready(&self, queue: &QueueId) -> impl Iterator<Item = (u64, Uid)> {
        self.keys.iter().filter_map(move |(key, eras)| {
            let ready = eras.last()?.state.ready(self.now)?;
            let (_, id) = key.as_message().filter(|(of, _)| of == queue)?;
            Some((ready.visible_at, id))
        })
    }

    /// Remembers what those who ask about queues and transactions can have seen by now.
    pub(super) fn look_around(&mut self) {
        let asks = |asked: &Asked| match &asked.op {
            Op::Dequeue(_) => !asked.saw_nothing,
            Op::WatchQueue(_) => true,
            Op::DecideTxn(op) => op.ask == TxnAsk::Tell,
            _ => false,
        };
        if !self.market || !self.requests.values().any(asks) {
            return;
        }
        let mut requests = std::mem::take(&mut self.requests);
        for asked in requests.values_mut() {
            match &asked.op {
                Op::Dequeue(op) if !asked.saw_nothing => {
                    let has = |(_, id): (u64, Uid)| {
                        !op.stateful || self.model(&KeyId::of_queue_state(&op.queue, id)).lease.is_none()
                    };
                    asked.saw_nothing |= !self.ready(&op.queue).any(has);
                }
                Op::WatchQueue(op) => {
                    let head = self.head(&op.queue);
                    let head = (head, self.head_since(&op.queue, head));
                    if !asked.heads.iter().any(|had| had.0 == head.0 && had.1 <= head.1) {
                        asked.heads.push(head);
                    }
                }
                Op::DecideTxn(op) if op.ask == TxnAsk::Tell => {
                    let open = self.pending.contains_key(&op.txn) || !self.participants(op.txn).is_empty();
                    asked.saw_open |= open;
                    asked.saw_nothing |= !open && self.verdict(op.txn).is_none();
                }
                _ => {}
            }
        }
        self.requests = requests;
    }
}
