//! Deadlines of numbered things: a four-ary heap that knows where each thing is, so that a deadline can be moved or
//! withdrawn at once and nothing stale ever piles up.

use super::slab::NIL;

#[derive(Debug, Default)]
pub(crate) struct Deadlines {
    heap: Vec<(u64, u32)>,
    /// Place in the heap by id; NIL when the id has no deadline.
    places: Vec<u32>,
}

impl Deadlines {
    /// The earliest deadline and its owner.
    pub(crate) fn first(&self) -> Option<(u64, u32)> {
        self.heap.first().copied()
    }

    pub(crate) fn get(&self, id: u32) -> Option<u64> {
        let place = *self.places.get(id as usize)?;
        self.heap.get(place as usize).map(|entry| entry.0)
    }

    /// Removes and returns the first owner whose deadline is not after `now`.
    pub(crate) fn pop_due(&mut self, now: u64) -> Option<u32> {
        let (at, id) = self.first()?;
        if at > now {
            return None;
        }
        self.remove(id);
        Some(id)
    }

    pub(crate) fn set(&mut self, id: u32, at: u64) {
        if self.places.len() <= id as usize {
            self.places.resize(id as usize + 1, NIL);
        }
        let place = self.places[id as usize];
        if place == NIL {
            let place = self.heap.len();
            self.heap.push((at, id));
            self.places[id as usize] = place as u32;
            self.rise(place);
        } else {
            let place = place as usize;
            self.heap[place].0 = at;
            self.settle(place);
        }
    }

    pub(crate) fn remove(&mut self, id: u32) {
        let Some(&place) = self.places.get(id as usize) else { return };
        if place == NIL {
            return;
        }
        self.places[id as usize] = NIL;
        let place = place as usize;
        let Some(last) = self.heap.pop() else { return };
        if place < self.heap.len() {
            self.heap[place] = last;
            self.places[last.1 as usize] = place as u32;
            self.settle(place);
        }
    }

    fn settle(&mut self, place: usize) {
        if place > 0 && self.heap[place].0 < self.heap[(place - 1) / 4].0 {
            self.rise(place);
        } else {
            self.sink(place);
        }
    }

    fn rise(&mut self, mut place: usize) {
        let entry = self.heap[place];
        while place > 0 {
            let parent = (place - 1) / 4;
            if self.heap[parent].0 <= entry.0 {
                break;
            }
            self.heap[place] = self.heap[parent];
            self.places[self.heap[place].1 as usize] = place as u32;
            place = parent;
        }
        self.heap[place] = entry;
        self.places[entry.1 as usize] = place as u32;
    }

    fn sink(&mut self, mut place: usize) {
        let entry = self.heap[place];
        loop {
            let first = place * 4 + 1;
            let end = (first + 4).min(self.heap.len());
            let Some(least) = (first..end).min_by_key(|&child| self.heap[child].0) else { break };
            if self.heap[least].0 >= entry.0 {
                break;
            }
            self.heap[place] = self.heap[least];
            self.places[self.heap[place].1 as usize] = place as u32;
            place = least;
        }
        self.heap[place] = entry;
        self.places[entry.1 as usize] = place as u32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_a_sorted_map_under_random_changes() {
        let mut rng = fastrand::Rng::with_seed(7);
        let mut deadlines = Deadlines::default();
        let mut model = std::collections::BTreeMap::new();
        for _ in 0..20_000 {
            let id = rng.u32(..200);
            match rng.u8(..4) {
                0 => {
                    deadlines.remove(id);
                    model.remove(&id);
                }
                1 => {
                    let least = model.values().min().copied();
                    assert_eq!(deadlines.first().map(|entry| entry.0), least);
                    if let Some(least) = least {
                        let id = deadlines.pop_due(least).unwrap();
                        assert_eq!(model.remove(&id), Some(least));
                    }
                }
                _ => {
                    let at = rng.u64(..1000);
                    deadlines.set(id, at);
                    model.insert(id, at);
                }
            }
            assert_eq!(deadlines.get(id), model.get(&id).copied());
        }
    }
}
