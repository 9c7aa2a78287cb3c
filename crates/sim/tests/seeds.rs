//! Thousands of seeds: `LOCKD_SIM_SEEDS` says how many (2000 by default), `LOCKD_SIM_FIRST` which is the first.

use std::sync::atomic::{AtomicU64, Ordering};

use lockd_sim::{DEFAULT_STEPS, Failure, REGRESSIONS, run, run_traced, shortest};

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Nothing, if all promises were kept; else the failure, how to reach it in fewer steps, and how to see it.
fn report(failure: Option<Failure>) -> String {
    let Some(failure) = failure else { return String::new() };
    let short = shortest(failure.clone());
    format!(
        "{failure}\nshortest: {short}\nstory: cargo run -p lockd-sim -- --seed {} --steps {} --trace",
        short.seed, short.steps
    )
}

#[test]
fn seeds_that_once_failed() {
    for &(seed, mistake) in REGRESSIONS {
        let report = report(run(seed, DEFAULT_STEPS).err());
        assert!(report.is_empty(), "{report}\nthis seed once showed that {mistake}");
    }
}

#[test]
fn many_seeds() {
    let first = number("LOCKD_SIM_FIRST", 0);
    let end = first + number("LOCKD_SIM_SEEDS", 2000);
    let next = AtomicU64::new(first);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let found = std::thread::scope(|scope| {
        let work = || {
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= end {
                    return None;
                }
                if let Err(failure) = run(seed, DEFAULT_STEPS) {
                    next.store(end, Ordering::Relaxed);
                    return Some(failure);
                }
            }
        };
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().filter_map(|worker| worker.join().unwrap()).min_by_key(|failure| failure.seed)
    });
    let report = report(found);
    assert!(report.is_empty(), "{report}");
}

/// The simulator proves nothing if a failing seed cannot be run again.
#[test]
fn a_seed_tells_the_same_story_twice() {
    for seed in 0..20 {
        let (first, second) = (run_traced(seed, DEFAULT_STEPS), run_traced(seed, DEFAULT_STEPS));
        assert!(first.1.lines().count() > 300, "seed {seed} tells almost nothing");
        assert_eq!(first, second, "seed {seed}");
    }
    assert_ne!(run_traced(1, 50).1, run_traced(2, 50).1);
}
