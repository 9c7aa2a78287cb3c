//! Which lockd program to start: the one that was named, the one of this workspace, or the one of `PATH`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use crate::Error;

/// Finds the lockd program: `LOCKD_BIN`; inside the workspace of lockd, what cargo builds from it now; the first `lockd` on
/// `PATH`; last, what cargo builds from the sources that this crate came with (a git or path dependency).
///
/// Building takes its time the first time only; the answer is remembered for this process.
pub fn lockd_binary() -> Result<PathBuf, Error> {
    static FOUND: Mutex<Option<PathBuf>> = Mutex::new(None);
    // Holding the lock while building keeps tests that start together from building together.
    let mut found = FOUND.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(path) = found.as_ref() {
        return Ok(path.clone());
    }
    let path = find()?;
    Ok(found.insert(path).clone())
}

fn find() -> Result<PathBuf, Error> {
    if let Some(named) = std::env::var_os("LOCKD_BIN").filter(|value| !value.is_empty()) {
        let path = PathBuf::from(named);
        return if path.is_file() { Ok(path) } else { Err(Error::NotAProgram(path)) };
    }
    let sources = Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .filter(|root| root.join("crates/lockd/Cargo.toml").is_file() && root.join("Cargo.toml").is_file());
    // Tests of this workspace must not run against some other lockd that happens to be installed.
    if let Some(root) = sources
        && std::env::current_dir().is_ok_and(|here| here.starts_with(root))
    {
        return build(root);
    }
    if let Some(path) = std::env::var_os("PATH").and_then(on_path) {
        return Ok(path);
    }
    sources.map_or(Err(Error::NoProgram), build)
}

fn on_path(path: OsString) -> Option<PathBuf> {
    use std::os::unix::fs::PermissionsExt as _;
    let runnable = |file: &PathBuf| {
        std::fs::metadata(file).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
    };
    std::env::split_paths(&path).map(|directory| directory.join("lockd")).find(runnable)
}

fn build(root: &Path) -> Result<PathBuf, Error> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .current_dir(root)
        .args(["build", "--package", "lockd", "--bin", "lockd"])
        .args(["--message-format", "json-render-diagnostics"])
        .stdin(Stdio::null())
        .stderr(Stdio::inherit());
    if !cfg!(debug_assertions) {
        command.arg("--release");
    }
    let output = command.output().map_err(Error::io("run cargo to build lockd"))?;
    if !output.status.success() {
        return Err(Error::Build { reason: output.status.to_string() });
    }
    // Among the messages is one for every crate; that of the program says where it is.
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| message["target"]["name"] == "lockd")
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .ok_or_else(|| Error::Build { reason: "it did not say where the program is".to_owned() })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn path_is_searched_in_order_for_a_program() {
        let home = tempfile::tempdir().unwrap();
        let [a, b, c] = ["a", "b", "c"].map(|name| home.path().join(name));
        for directory in [&a, &b, &c] {
            std::fs::create_dir(directory).unwrap();
            std::fs::write(directory.join("lockd"), "").unwrap();
        }
        let path = std::env::join_paths([&a, &b, &c]).unwrap();
        assert_eq!(on_path(path.clone()), None, "files that cannot be run are no programs");
        for directory in [&c, &b] {
            let file = directory.join("lockd");
            std::fs::set_permissions(&file, PermissionsExt::from_mode(0o755)).unwrap();
            assert_eq!(on_path(path.clone()), Some(file));
        }
    }
}
