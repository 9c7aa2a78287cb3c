//! The `lql` command: selects documents from files or stdin, cuts fields out of them, edits them, and prints them. It is a
//! library so that other programs can have it as a subcommand.

mod failure;
mod flags;
mod help;
mod output;
mod paint;
mod pass;
mod progress;
mod surroundings;

pub use surroundings::Surroundings;

use std::{
    ffi::OsString,
    io::{self, Read, Write},
    process::ExitCode,
};

use failure::Failure;
use flags::{Invocation, Request};
use pass::Pass;

/// What the command found out, as its exit status says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Selected,
    NothingSelected,
    Failed,
}

/// Runs the command. `args` are the words behind its name. The exit status is 0 if a document was selected, 1 if none was,
/// 2 if something went wrong.
pub fn run(
    args: &[OsString],
    stdin: &mut dyn Read,
    stdout: &mut dyn Write,
    stderr: &mut dyn Write,
    surroundings: &Surroundings,
) -> ExitCode {
    let outcome = match flags::parse(args) {
        Ok(Request::Help) => say(stdout, &help::text(surroundings.name)),
        Ok(Request::Version) => {
            say(stdout, &format!("{} {}\n", surroundings.name, env!("CARGO_PKG_VERSION")))
        }
        Ok(Request::Run(invocation)) => select(&invocation, stdin, stdout, stderr, surroundings),
        Err(mistake) => {
            complain(stderr, &format!("{}{mistake}\n", help::usage(surroundings.name)));
            Outcome::Failed
        }
    };
    match outcome {
        Outcome::Selected => ExitCode::SUCCESS,
        Outcome::NothingSelected => ExitCode::from(1),
        Outcome::Failed => ExitCode::from(2),
    }
}

fn select(
    invocation: &Invocation,
    stdin: &mut dyn Read,
    stdout: &mut dyn Write,
    stderr: &mut dyn Write,
    surroundings: &Surroundings,
) -> Outcome {
    let mut pass = match Pass::new(invocation, surroundings) {
        Ok(pass) => pass,
        Err(failure) => {
            complain(stderr, &format!("{}: {failure}\n", surroundings.name));
            return Outcome::Failed;
        }
    };
    let mut failed = false;
    let mut ended = false;
    for file in &invocation.files {
        match pass.file(file, stdin, stdout, stderr) {
            Ok(()) => {}
            // Whoever read the output has seen enough.
            Err(Failure::Write(error)) if error.kind() == io::ErrorKind::BrokenPipe => ended = true,
            Err(failure) => {
                failed = true;
                ended = matches!(failure, Failure::Write(_));
                complain(stderr, &format!("{}: {failure}\n", surroundings.name));
            }
        }
        if ended {
            break;
        }
    }
    if !ended && let Err(failure) = pass.finish(stdout) {
        let gone = matches!(&failure, Failure::Write(error) if error.kind() == io::ErrorKind::BrokenPipe);
        if !gone {
            failed = true;
            complain(stderr, &format!("{}: {failure}\n", surroundings.name));
        }
    }
    match (failed, pass.selected()) {
        (true, _) => Outcome::Failed,
        (false, 0) => Outcome::NothingSelected,
        (false, _) => Outcome::Selected,
    }
}

fn say(stdout: &mut dyn Write, text: &str) -> Outcome {
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Ok(()) => Outcome::Selected,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Outcome::Selected,
        Err(_) => Outcome::Failed,
    }
}

fn complain(stderr: &mut dyn Write, text: &str) {
    // If stderr is gone there is nobody left to tell.
    let _ = stderr.write_all(text.as_bytes());
}
