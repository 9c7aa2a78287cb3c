//! The command line of the simulator: one seed, step by step, or many seeds until one fails.

use std::io::Write;
use std::process::ExitCode;

use lockd_sim::{DEFAULT_STEPS, REGRESSIONS, run, run_traced, shortest};

const USAGE: &str = "usage: lockd-sim --seed N [--steps N] [--trace]
       lockd-sim --seeds A..B [--steps N]

  --seed N      run one seed and say how it ended
  --seeds A..B  run the seeds from A up to but not including B (and the known bad ones) until one fails, and shorten
                the failing run
  --steps N     how many things happen before everything comes to rest (default 600)
  --trace       print everything that happens
";

struct Arguments {
    seeds: std::ops::Range<u64>,
    steps: u64,
    trace: bool,
}

fn main() -> ExitCode {
    let mut out = std::io::stdout().lock();
    let ended = match arguments() {
        Ok(Some(arguments)) => simulate(&arguments, &mut out),
        Ok(None) => out.write_all(USAGE.as_bytes()).map(|()| true),
        Err(error) => write!(out, "{error}\n\n{USAGE}").map(|()| false),
    };
    match ended {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) | Err(_) => ExitCode::FAILURE,
    }
}

fn arguments() -> Result<Option<Arguments>, lexopt::Error> {
    use lexopt::prelude::*;
    let (mut seeds, mut steps, mut trace) = (None, DEFAULT_STEPS, false);
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("seed") => {
                let seed: u64 = parser.value()?.parse()?;
                seeds = Some(seed..seed.saturating_add(1));
            }
            Long("seeds") => {
                let range = parser.value()?.string()?;
                let (from, to) = range.split_once("..").ok_or("--seeds wants a range such as 0..2000")?;
                let number = |text: &str| {
                    text.parse::<u64>().map_err(|error| format!("--seeds: {text:?} is no seed: {error}"))
                };
                seeds = Some(number(from)?..number(to)?);
            }
            Long("steps") => steps = parser.value()?.parse()?,
            Long("trace") => trace = true,
            Short('h') | Long("help") => return Ok(None),
            _ => return Err(argument.unexpected()),
        }
    }
    let seeds = seeds.ok_or("which seed? give --seed or --seeds")?;
    Ok(Some(Arguments { seeds, steps, trace }))
}

/// False if a promise was broken.
fn simulate(arguments: &Arguments, out: &mut impl Write) -> std::io::Result<bool> {
    let Arguments { seeds, steps, trace } = arguments;
    if *trace {
        let mut all_kept = true;
        for seed in seeds.clone() {
            let (ended, story) = run_traced(seed, *steps);
            out.write_all(story.as_bytes())?;
            match ended {
                Ok(()) => writeln!(out, "seed {seed}: all promises kept")?,
                Err(failure) => {
                    all_kept = false;
                    writeln!(out, "{failure}")?;
                }
            }
        }
        return Ok(all_kept);
    }
    let count = seeds.end.saturating_sub(seeds.start);
    let known = REGRESSIONS.iter().map(|&(seed, _)| seed).filter(|_| count > 1);
    for seed in known.chain(seeds.clone()) {
        if let Err(failure) = run(seed, *steps) {
            let short = shortest(failure.clone());
            writeln!(out, "{failure}")?;
            writeln!(out, "shortest: {short}")?;
            writeln!(out, "story: cargo run -p lockd-sim -- --seed {seed} --steps {} --trace", short.steps)?;
            return Ok(false);
        }
    }
    writeln!(out, "{count} seeds, all promises kept")?;
    Ok(true)
}
