//! `lql`: the command as a program of its own.

use std::{ffi::OsString, io, process::ExitCode};

use lql::Surroundings;

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    let surroundings = Surroundings::of_this_process("lql");
    lql::run(&args, &mut io::stdin().lock(), &mut io::stdout().lock(), &mut io::stderr(), &surroundings)
}
