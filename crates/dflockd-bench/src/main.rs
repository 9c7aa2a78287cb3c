//! The load generator: reads the command line, runs the workload, sets the exit status.

mod crowd;
mod engine;
mod fault;
mod floor;
mod redis;
mod scenes;
mod script;
mod server;
mod session;
mod settings;

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
    // Thousands of connections; refused where the limit may not be raised, and connecting then says so.
    let mut limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    limit.current = limit.maximum;
    let _ = rustix::process::setrlimit(rustix::process::Resource::Nofile, limit);
    let output = Output::new(settings.json);
    match settings.task {
        Task::Compare => session::compare(settings, &output),
        Task::Memory => scenes::memory(settings, &output),
        Task::Leave => scenes::leave(settings, &output),
        Task::Expiry => scenes::expiry(settings, &output),
        Task::FloorServer => floor::serve(settings.port).map(|()| true),
        Task::Crowd => crowd::serve(settings.port, settings.crowd, settings.keys_each).map(|()| true),
        _ => session::repeat(settings, &output),
    }
}

fn complain(fault: &Fault, status: u8) -> ExitCode {
    let _ = writeln!(std::io::stderr().lock(), "dflockd-bench: {fault}");
    ExitCode::from(status)
}
