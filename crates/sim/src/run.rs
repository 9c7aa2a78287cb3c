//! Running seeds, and shortening a run that fails.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::violation::{Violation, broken};
use crate::world::World;

pub const DEFAULT_STEPS: u64 = 600;

/// Seeds that once failed, each with its mistake; they are run before any others. When the world changes, a seed tells another
/// story: find one that shows the old mistake again (undo its correction and run the seeds) and put it here instead.
/// Since the core takes short strides in most worlds, those below still have to be found again.
pub const REGRESSIONS: &[(u64, &str)] = &[
    (0, "an acquire that was cancelled while its record was loading was granted all the same"),
    (1, "the end of a lease with nothing staged rolled back the transaction of others"),
    (14, "a commit left the message behind whose delivery had run out"),
    (37, "a queue kept its alarm when its last consumer had gone"),
    (78, "a transaction that was prepared without participants was not found"),
    (718, "a drain lost observers without answering them"),
    (742, "the ack of a delivery whose transaction named others left the message itself"),
    (3163, "naming a message with a lapsed lease rolled back a half of its own transaction"),
    (3988, "a stateful consumer that passed a message by was not woken for the next"),
];

/// A seed that breaks a promise.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("seed {seed} with {steps} steps, at step {at}: {violation}")]
pub struct Failure {
    pub seed: u64,
    pub steps: u64,
    /// The step that showed it; beyond `steps` if it showed while everything came to rest.
    pub at: u64,
    pub violation: Violation,
}

pub fn run(seed: u64, steps: u64) -> Result<(), Failure> {
    live(seed, steps, false).0
}

/// The same run, and its whole story.
pub fn run_traced(seed: u64, steps: u64) -> (Result<(), Failure>, String) {
    live(seed, steps, true)
}

fn live(seed: u64, steps: u64, traced: bool) -> (Result<(), Failure>, String) {
    let mut world = World::new(seed, traced);
    // A panic of the core is a broken promise like any other. The world is only looked at afterwards, not continued.
    let result = catch_unwind(AssertUnwindSafe(|| world.run(steps)));
    let result = result.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or(panic.downcast_ref::<&str>().copied());
        broken("the core never panics", text.unwrap_or("without a message"))
    });
    let result = result.map_err(|violation| Failure { seed, steps, at: world.steps(), violation });
    (result, world.trace().to_owned())
}

/// The same failure after as few steps as possible.
pub fn shortest(failure: Failure) -> Failure {
    let most = failure.steps.min(failure.at);
    (1..=most).find_map(|steps| run(failure.seed, steps).err()).unwrap_or(failure)
}
