//! Numbers from a seed. Our own few lines, because a seed must choose the same in every version and on every machine.

use std::ops::RangeInclusive;

/// SplitMix64: a counter and a mixing function, good enough to make trouble with.
#[derive(Debug, Clone)]
pub(super) struct Dice(u64);

const STEP: u64 = 0x9E37_79B9_7F4A_7C15;

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

impl Dice {
    fn of(words: &[u64]) -> Dice {
        Dice(words.iter().fold(0, |state, word| mix(state.wrapping_add(STEP) ^ mix(word.wrapping_add(STEP)))))
    }

    /// For what happens to a connection.
    pub(super) fn for_plan(seed: u64, nth_chaos: u64, connection: u64) -> Dice {
        Dice::of(&[seed, 0, nth_chaos, connection])
    }

    /// For the delays of one direction of a connection.
    pub(super) fn for_delays(seed: u64, connection: u64, direction: super::Direction) -> Dice {
        Dice::of(&[seed, 1, connection, direction as u64])
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(STEP);
        mix(self.0)
    }

    /// From 0 to just below 1.
    pub(super) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// One number of the range; the start of an empty one.
    pub(super) fn within(&mut self, range: &RangeInclusive<u64>) -> u64 {
        let roll = self.next();
        let (start, end) = (*range.start(), *range.end());
        match end.saturating_sub(start).checked_add(1) {
            Some(count) => {
                // The high half of the product is below `count`, and evenly distributed.
                let scaled = (u128::from(roll) * u128::from(count)) >> 64;
                start + scaled as u64
            }
            None => roll,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_never_change_between_versions() {
        let mut dice = Dice::for_plan(42, 0, 0);
        assert_eq!([dice.next(), dice.next()], [477_458_971_840_239_780, 4_283_628_119_566_866_169]);
    }

    #[test]
    fn delays_are_seeded_by_connection_and_direction() {
        use crate::Direction::{ToClient, ToServer};
        let first = |seed, connection, direction| Dice::for_delays(seed, connection, direction).next();
        let one = first(1, 0, ToServer);
        assert_eq!(one, first(1, 0, ToServer));
        for other in [first(2, 0, ToServer), first(1, 1, ToServer), first(1, 0, ToClient)] {
            assert_ne!(one, other);
        }
    }

    #[test]
    #[expect(clippy::reversed_empty_ranges, reason = "what users may pass by mistake")]
    fn ranges_are_kept_at_their_ends() {
        let mut dice = Dice::of(&[1]);
        let rolls: Vec<_> = (0..1000).map(|_| dice.within(&(3..=5))).collect();
        for wanted in 3..=5 {
            assert!(rolls.contains(&wanted));
        }
        assert!(rolls.iter().all(|roll| (3..=5).contains(roll)));
        assert_eq!(dice.within(&(7..=7)), 7);
        assert_eq!(dice.within(&(9..=2)), 9);
        dice.within(&(0..=u64::MAX));
        assert!(dice.within(&(u64::MAX - 1..=u64::MAX)) >= u64::MAX - 1);
        assert!((0..1000).all(|_| (0.0..1.0).contains(&dice.unit())));
    }
}
