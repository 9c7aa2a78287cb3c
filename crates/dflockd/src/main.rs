//! The daemon: read the configuration, serve until a signal, say what went wrong.

use dflockd::config::{self, ConfigError, Invocation};
use dflockd::log::{Level, Log};
use dflockd::server::Server;
use std::io::Write;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> =
        std::env::args_os().skip(1).map(|argument| argument.to_string_lossy().into_owned()).collect();
    let variable = |name: &str| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned());
    let config = match config::read(&arguments, variable) {
        Ok(Invocation::Serve(config)) => *config,
        Ok(Invocation::Version) => {
            let written = writeln!(std::io::stdout(), "{}", env!("CARGO_PKG_VERSION"));
            return if written.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
        }
        Ok(Invocation::Help) => {
            complain(&config::usage());
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            if let ConfigError::Syntax(message) = &error {
                complain(&format!("{message}\n{}", config::usage()));
            }
            complain(&format!("configuration error: {error}\n"));
            return ExitCode::FAILURE;
        }
    };
    let log = Log::start(config.debug);
    match Server::bind(config, log) {
        Ok(server) => match server.run() {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        },
        Err(failure) => {
            let (error, mut log) = *failure;
            log.event(Level::Error, "server error", &[("err", &error)]);
            ExitCode::FAILURE
        }
    }
}

fn complain(text: &str) {
    // If stderr is gone there is nobody to tell.
    let _ = std::io::stderr().write_all(text.as_bytes());
}
