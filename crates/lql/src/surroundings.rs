//! What the command has to know of the process it runs in.

use std::{
    io::{self, IsTerminal},
    path::PathBuf,
    time::{SystemTime, UNIX_EPOCH},
};

use lockd_lql::condition::Instant;

#[derive(Clone, Debug)]
pub struct Surroundings {
    /// How the command was called, for help and errors.
    pub name: &'static str,
    pub stdout_is_terminal: bool,
    /// Another program reads what is printed, maybe to show it on the terminal.
    pub stdout_is_pipe: bool,
    pub stderr_is_terminal: bool,
    /// Terminals are to be spared colours.
    pub no_color: bool,
    /// What `~` means in paths of file values.
    pub home: Option<PathBuf>,
    /// Where relative paths of file values start.
    pub directory: Option<PathBuf>,
    pub now: Instant,
}

impl Surroundings {
    pub fn of_this_process(name: &'static str) -> Surroundings {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as i128);
        Surroundings {
            name,
            stdout_is_terminal: io::stdout().is_terminal(),
            stdout_is_pipe: is_pipe(&io::stdout()),
            stderr_is_terminal: io::stderr().is_terminal(),
            no_color: set("NO_COLOR").is_some() || set("TERM").is_some_and(|term| term == "dumb"),
            home: set("HOME").map(PathBuf::from),
            directory: std::env::current_dir().ok(),
            now: Instant(now),
        }
    }
}

#[cfg(unix)]
fn is_pipe(stdout: &io::Stdout) -> bool {
    use std::os::{fd::AsFd, unix::fs::FileTypeExt};
    let file = stdout.as_fd().try_clone_to_owned().map(std::fs::File::from);
    file.and_then(|file| file.metadata()).is_ok_and(|metadata| metadata.file_type().is_fifo())
}

#[cfg(not(unix))]
fn is_pipe(_: &io::Stdout) -> bool {
    false
}
