//! `lockd`: finds out what was asked for, does it, and says so when it cannot.

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use lockd::log::{self, LogSettings, Logger, Mode};
use lockd::{Command, Inputs, Report, ServerConfig, UsageError, resolve, serve};

/// Requests allocate and free small things on many threads, and leases keep small things for long: this allocator is faster at
/// the first and tighter at the second than the system's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    if let Some((first, rest)) = args.split_first()
        && first == "lql"
    {
        // A program of its own that came along: it has no configuration and no server.
        let surroundings = lql::Surroundings::of_this_process("lockd lql");
        let (stdin, stdout) = (std::io::stdin(), std::io::stdout());
        return lql::run(rest, &mut stdin.lock(), &mut stdout.lock(), &mut std::io::stderr(), &surroundings);
    }
    let env = |name: &str| std::env::var_os(name);
    let inputs = Inputs { args: &args, env: &env, read_file: &|path| std::fs::read(path) };
    match resolve(&inputs) {
        Ok(Command::Serve(config) | Command::Dev(config)) => run_server(config),
        Ok(Command::Version { text, warning }) => {
            if let Some(warning) = warning {
                complain(&format!("warning: {warning}\n"));
            }
            print(&format!("{text}\n"))
        }
        Ok(Command::Client(invocation)) => ExitCode::from(lockd::client::run(&invocation)),
        Ok(Command::Print(text)) => print(&text),
        Ok(Command::Manual(directory)) => match lockd::manual::write(&directory) {
            Ok(count) => print(&format!("wrote {count} pages to {}\n", directory.display())),
            Err(error) => {
                complain(&format!("{error}\n"));
                ExitCode::FAILURE
            }
        },
        Err(error) => refuse(&error, &env),
    }
}

fn run_server(config: ServerConfig) -> ExitCode {
    let logger = match log::install(&config.log) {
        Ok(logger) => logger,
        Err(error) => return fail(&Logger::stderr(&config.log), &error),
    };
    logger.welcome(&config.log);
    if let Some(path) = &config.config_file {
        tracing::info!(sys = "cli.root", path = %path.display(), "loaded config file");
    }
    for notice in &config.notices {
        notice.log();
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&logger, &format!("start worker threads: {error}")),
    };
    match runtime.block_on(serve(config)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&logger, &error),
    }
}

/// Reports why nothing was started: to the log of a server, or to the person who typed the command.
fn refuse(error: &UsageError, env: &dyn Fn(&str) -> Option<OsString>) -> ExitCode {
    let log_line = || {
        // What is wrong may be the log's own settings; an error has to come out even so.
        let settings = LogSettings::from_env(env, Mode::Structured).unwrap_or_default();
        fail(&Logger::open(&settings).unwrap_or_else(|_| Logger::stderr(&settings)), error)
    };
    match &error.report {
        Report::LogLine => return log_line(),
        Report::UsageThenLogLine(usage) => {
            complain(usage);
            return log_line();
        }
        Report::UsageThenPlain(usage) => complain(&format!("{usage}{error}\n")),
        Report::Plain { hint: Some(hint) } => complain(&format!("{error}\n{hint}\n")),
        Report::Plain { hint: None } => complain(&format!("{error}\n")),
    }
    ExitCode::FAILURE
}

/// The one line with which a server process ends that could not start or go on.
fn fail(logger: &Logger, error: &dyn std::fmt::Display) -> ExitCode {
    logger.command_failed(error);
    ExitCode::FAILURE
}

fn print(text: &str) -> ExitCode {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        // A reader such as `head` that has seen enough is no failure.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn complain(text: &str) {
    // If stderr is gone there is nobody left to tell.
    let _ = std::io::stderr().write_all(text.as_bytes());
}
