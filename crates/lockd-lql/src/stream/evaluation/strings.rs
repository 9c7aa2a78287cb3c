//! Strings: short ones at once, long ones in steps.

use super::{
    super::{
        long::{Long, Needs, STEP},
        scan::Text,
        text::unescape,
    },
    Evaluation,
};

impl Evaluation {
    /// The value is a string, or this is a part of it. The answer, if that decides it.
    pub(crate) fn text(&mut self, part: Text<'_>, first: bool, last: bool) -> Option<bool> {
        if first && last && part.raw.len() <= STEP && !part.escaped {
            return self.plain_text(part.raw);
        }
        self.other_text(part, first, last)
    }

    fn plain_text(&mut self, text: &[u8]) -> Option<bool> {
        self.lower.forget();
        self.test_all(|probe, lower| probe.text(text, lower))
    }

    /// A string with escapes, or a long one, or a part of one.
    fn other_text(&mut self, part: Text<'_>, first: bool, last: bool) -> Option<bool> {
        if first && last && part.raw.len() <= STEP {
            self.lower.forget();
            let mut text = std::mem::take(&mut self.text);
            text.clear();
            unescape(part.raw, &mut text);
            let decided = self.test_all(|probe, lower| probe.text(&text, lower));
            self.text = text;
            return decided;
        }
        let mut long = std::mem::take(&mut self.long);
        if first {
            long.begin(self.gather_long_tests());
        }
        let decided = self.long_text(&mut long, part.raw, last);
        self.long = long;
        decided
    }

    fn gather_long_tests(&mut self) -> Needs {
        let mut needs = Needs::default();
        self.long_tests.clear();
        for place in 0..self.next.len() {
            let Some(&state) = self.next.get(place) else { break };
            let ends = self.routes.steps.get(state.step as usize).map_or(0, |step| step.ends.len());
            for end in 0..ends {
                let Some(clause) = self.end(state.step, end) else { continue };
                let Some(probe) = self.probes.get(clause as usize) else { continue };
                needs.head = needs.head.max(probe.head);
                needs.reach = needs.reach.max(probe.longest_needle());
                needs.folds |= probe.folds();
                self.long_tests.push((clause, state.scope));
            }
        }
        needs
    }

    fn long_text(&mut self, long: &mut Long, raw: &[u8], last: bool) -> Option<bool> {
        for step in raw.chunks(STEP) {
            if self.long_tests.is_empty() || !long.is_wanted() {
                break;
            }
            let (plain, lower) = long.step(step);
            if let Some(decided) = self.search(plain, lower) {
                return Some(decided);
            }
        }
        if !last {
            return None;
        }
        let (plain, lower) = long.end();
        if let Some(decided) = self.search(plain, lower) {
            return Some(decided);
        }
        self.lower.forget();
        for place in 0..self.long_tests.len() {
            let Some(&(clause, scope)) = self.long_tests.get(place) else { break };
            let Some(probe) = self.probes.get(clause as usize) else { continue };
            let passed = !probe.searches()
                && if long.is_whole() {
                    probe.text(&long.head, &mut self.lower)
                } else {
                    probe.long_text(&long.head)
                };
            if passed && let Some(decided) = self.satisfy(clause, scope) {
                return Some(decided);
            }
        }
        None
    }

    fn search(&mut self, plain: &[u8], lower: &[u8]) -> Option<bool> {
        let mut place = 0;
        while let Some(&(clause, scope)) = self.long_tests.get(place) {
            if self.probes.get(clause as usize).is_some_and(|probe| probe.finds(plain, lower)) {
                self.long_tests.swap_remove(place);
                if let Some(decided) = self.satisfy(clause, scope) {
                    return Some(decided);
                }
            } else {
                place += 1;
            }
        }
        None
    }
}
