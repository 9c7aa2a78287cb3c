//! The load generator: reads the command line, runs the workload, sets the exit status.

mod calls;
mod compare;
mod connection;
mod endpoint;
mod etcd;
mod fault;
mod held_leases;
mod load;
mod process;
mod queue;
mod redis;
mod session;
mod settings;
mod workload;

use std::io::Write as _;
use std::process::ExitCode;

use bench_kit::report::Output;
use fault::Fault;

use settings::{HELP, Settings, Task};

fn main() -> ExitCode {
    let settings = match Settings::read(std::env::args_os().skip(1)) {
        Ok(Some(settings)) => settings,
        Ok(None) => {
            let _ = write!(std::io::stdout().lock(), "{HELP}");
            return ExitCode::SUCCESS;
        }
        Err(fault) => return complain(&fault, 2),
    };
    match run(&settings) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(fault) => complain(&fault, 1),
    }
}

fn run(settings: &Settings) -> Result<bool, Fault> {
    let output = Output::new(settings.json);
    match settings.task {
        Task::Compare => compare::with_etcd(settings, &output),
        Task::ReadRatio => compare::reads_with_empty_answers(settings, &output),
        Task::QueueCompare => compare::with_redis(settings, &output),
        Task::QueueDrain => queue::drain::measure(settings, &output),
        Task::QueueDepth => queue::depth::measure(settings, &output),
        Task::QueueScale => queue::scale::measure(settings, &output),
        Task::HeldLeases => held_leases::measure(settings, &output),
        _ => session::repeat(settings, &output),
    }
}

fn complain(fault: &Fault, status: u8) -> ExitCode {
    let _ = writeln!(std::io::stderr().lock(), "lockd-bench: {fault}");
    ExitCode::from(status)
}
