//! A queue's nearest messages, in memory: a window on the ready index, always whole up to its horizon.
//!
//! The index in the store is read a page at a time, from where the window ends and never from the start again, so that
//! neither the depth of a queue nor what has been taken from it costs anything. What the core changes meanwhile is
//! remembered until it is durable, because a page is read from the durable state and may not show it.

use std::collections::BTreeMap;

use lockd_wire::Uid;

use crate::moment::Moment;
use crate::records::ready::{Place, Ready};

/// With more entries than so many pages, the far end is forgotten again.
const MOST_PAGES: usize = 4;

#[derive(Debug)]
pub(crate) struct Window {
    /// How many entries are asked for at once.
    page: usize,
    entries: BTreeMap<Place, Option<Moment>>,
    extent: Extent,
    /// A page is on its way, and tells of everything that was durable up to this batch.
    asked_at: Option<u64>,
    /// Changes that may not be durable: present with its time of death, or absent, and the batch that says so.
    recent: BTreeMap<Place, (u64, Option<Option<Moment>>)>,
    /// With more recent changes than this, those that are durable are let go.
    settle_above: usize,
}

/// Up to where the window knows the index.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Extent {
    #[default]
    Nothing,
    /// To this place, inclusive.
    To(Place),
    Everything,
}

/// What there is to deliver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    Ready(Ready),
    /// Nothing now; something then.
    Later(Moment),
    Never,
    /// The window has to be filled before anybody can tell.
    Unknown,
}

impl Window {
    pub(crate) fn new(page: usize) -> Window {
        Window {
            page: page.max(1),
            entries: BTreeMap::new(),
            extent: Extent::Nothing,
            asked_at: None,
            recent: BTreeMap::new(),
            settle_above: 0,
        }
    }

    /// The first message behind `after` that can be delivered now. The dead that it meets are taken out, so that they are met
    /// only once; removing them from the index is up to others.
    pub(crate) fn next(&mut self, now: Moment, after: Option<Place>) -> Next {
        if self.extent == Extent::Nothing {
            return Next::Unknown;
        }
        let from = after.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
        while let Some((&place, &dies_at)) = self.entries.range((from, std::ops::Bound::Unbounded)).next() {
            if place.visible_at > now {
                return Next::Later(place.visible_at);
            }
            if dies_at.is_none_or(|dies_at| dies_at > now) {
                return Next::Ready(Ready { place, dies_at });
            }
            self.entries.remove(&place);
        }
        if self.extent == Extent::Everything { Next::Never } else { Next::Unknown }
    }

    /// The next messages that can be delivered now.
    pub(crate) fn due(&self, now: Moment) -> impl Iterator<Item = Place> {
        let due = self.entries.keys().take_while(move |place| place.visible_at <= now);
        due.copied()
    }

    /// Changes an entry; `batch` is the one that will make it durable.
    pub(crate) fn set(&mut self, place: Place, present: Option<Option<Moment>>, batch: u64, durable: u64) {
        match present {
            Some(dies_at) if self.covers(place) => {
                self.entries.insert(place, dies_at);
                self.forget_the_far_end();
            }
            Some(_) => {}
            None => {
                self.entries.remove(&place);
            }
        }
        self.recent.insert(place, (batch, present));
        if self.recent.len() > self.settle_above.max(2 * self.page) {
            self.settle(durable);
            // What has to stay is not gone through again for every change.
            self.settle_above = 2 * self.recent.len();
        }
    }

    fn covers(&self, place: Place) -> bool {
        match self.extent {
            Extent::Nothing => false,
            Extent::To(horizon) => place <= horizon,
            Extent::Everything => true,
        }
    }

    fn forget_the_far_end(&mut self) {
        // The page that is on its way joins the horizon as it is now.
        let most = MOST_PAGES * self.page;
        if self.entries.len() <= most || self.asked_at.is_some() {
            return;
        }
        while self.entries.len() > most / 2 {
            self.entries.pop_last();
        }
        if let Some((&last, _)) = self.entries.last_key_value() {
            self.extent = Extent::To(last);
        }
    }

    /// Lets go of changes that every page shows.
    pub(crate) fn settle(&mut self, durable: u64) {
        let shown = self.asked_at.unwrap_or(durable).min(durable);
        self.recent.retain(|_, &mut (batch, _)| batch > shown);
    }

    /// Asks for a page, if none is on its way: after which place, and how many entries?
    pub(crate) fn ask(&mut self, durable: u64) -> Option<(Option<Place>, usize)> {
        if self.asked_at.is_some() {
            return None;
        }
        let after = match self.extent {
            Extent::Nothing => None,
            Extent::To(horizon) => Some(horizon),
            Extent::Everything => return None,
        };
        self.asked_at = Some(durable);
        Some((after, self.page))
    }

    /// Takes the page: at most as many entries as were asked for, in order; all that there are if there are fewer.
    pub(crate) fn fill(&mut self, page: Vec<Ready>, durable: u64) {
        if self.asked_at.take().is_none() {
            return;
        }
        let begin = match self.extent {
            Extent::To(horizon) => Some(horizon),
            _ => None,
        };
        self.extent = match page.last() {
            Some(last) if page.len() >= self.page => Extent::To(last.place),
            _ => Extent::Everything,
        };
        self.entries.extend(page.into_iter().map(|ready| (ready.place, ready.dies_at)));
        for (&place, &(_, present)) in &self.recent {
            if begin.is_some_and(|begin| place <= begin) {
                continue;
            }
            match present {
                Some(dies_at) if self.covers(place) => {
                    self.entries.insert(place, dies_at);
                }
                Some(_) => {}
                None => {
                    self.entries.remove(&place);
                }
            }
        }
        self.settle(durable);
    }

    /// The page could not be read.
    pub(crate) fn give_up(&mut self) {
        self.asked_at = None;
    }

    pub(crate) fn is_asking(&self) -> bool {
        self.asked_at.is_some()
    }

    /// Has the index read again from its start. Not while a page is on its way.
    pub(crate) fn start_again(&mut self) {
        self.entries.clear();
        self.extent = Extent::Nothing;
    }

    /// Takes out an entry whose record cannot be read, until the index is read again.
    pub(crate) fn skip(&mut self, message: Uid) {
        self.entries.retain(|place, _| place.message != message);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Debug, Clone)]
    enum Step {
        Put(u8, u8),
        Take(u8),
        Durable,
        Ask,
        Answer,
        Deliver,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (any::<u8>(), any::<u8>()).prop_map(|(at, id)| Step::Put(at, id)),
            2 => any::<u8>().prop_map(Step::Take),
            2 => Just(Step::Durable),
            2 => Just(Step::Ask),
            2 => Just(Step::Answer),
            3 => Just(Step::Deliver),
        ]
    }

    fn place(at: u8, id: u8) -> Place {
        Place { visible_at: Moment(at.into()), message: Uid([id; 16]) }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        /// The window against the whole index, with changes that become durable late and pages that show them or not.
        #[test]
        fn shows_what_the_index_holds(
            steps in prop::collection::vec(step(), 1..120), page in 1usize..6, many in prop::bool::weighted(0.3)
        ) {
            let mut window = Window::new(page);
            let mut index: BTreeMap<Place, ()> = BTreeMap::new();
            let (mut written, mut durable) = (0u64, 0u64);
            // The states of the index after each batch.
            let mut states = vec![index.clone()];
            let mut asked: Option<(Option<Place>, u64)> = None;
            if many {
                // Deeper than the window, with room between.
                for n in 0..40 {
                    index.insert(place(5 * n, 0), ());
                }
                states = vec![index.clone()];
            }
            for step in steps {
                match step {
                    Step::Put(at, id) => {
                        written += 1;
                        index.insert(place(at, id), ());
                        window.set(place(at, id), Some(None), written, durable);
                        states.push(index.clone());
                    }
                    Step::Take(nth) => {
                        let Some(&found) = index.keys().nth(usize::from(nth) % index.len().max(1)) else { continue };
                        written += 1;
                        index.remove(&found);
                        window.set(found, None, written, durable);
                        states.push(index.clone());
                    }
                    Step::Durable => {
                        durable = written;
                        window.settle(durable);
                    }
                    Step::Ask => {
                        if window.next(Moment(u64::MAX), None) == Next::Unknown && let Some((after, _)) = window.ask(durable) {
                            asked = Some((after, durable));
                        }
                    }
                    Step::Answer => {
                        let Some((after, _)) = asked.take() else { continue };
                        // Read from the durable state of now, which is at least that of the question.
                        let state = &states[durable as usize];
                        let found = state.keys().filter(|&&place| after.is_none_or(|after| place > after)).take(page);
                        window.fill(found.map(|&place| Ready { place, dies_at: None }).collect(), durable);
                    }
                    Step::Deliver => {
                        let first = index.keys().next().copied();
                        match window.next(Moment(u64::MAX), None) {
                            Next::Ready(ready) => prop_assert_eq!(Some(ready.place), first),
                            Next::Never => prop_assert_eq!(first, None),
                            Next::Later(_) => prop_assert!(false, "nothing is late"),
                            Next::Unknown => {}
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn what_is_late_or_dead_is_not_offered() {
        let mut window = Window::new(256);
        assert_eq!(window.next(Moment(5), None), Next::Unknown);
        window.ask(0);
        window.fill(vec![], 0);
        assert_eq!(window.next(Moment(5), None), Next::Never);
        window.set(place(9, 1), Some(None), 1, 0);
        window.set(place(3, 2), Some(Some(Moment(4))), 2, 0);
        assert_eq!(window.entries.len(), 2);
        assert_eq!(window.next(Moment(5), None), Next::Later(Moment(9)));
        assert_eq!(window.entries.len(), 1, "the dead are met only once");
        assert!(matches!(window.next(Moment(9), None), Next::Ready(ready) if ready.place == place(9, 1)));
    }
}
