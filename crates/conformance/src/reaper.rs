//! Makes sure that no server process and no store directory outlives the test program, however it ends.
//!
//! Servers that tests share live in statics, which Rust never drops, and a test program may be killed. So a small
//! shell waits at the other end of a pipe: when the pipe closes, this process is gone, and it clears up.

use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};

const SCRIPT: &str = r#"
trap '' INT TERM HUP
pids= dirs= mounts=
while read -r verb word; do
    case $verb in
        watch) pids="$pids $word " ;;
        forget) pids=$(printf %s "$pids" | sed "s/ $word / /") ;;
        sweep) dirs="$dirs $word" ;;
        unmount) mounts="$mounts $word" ;;
    esac
done
for pid in $pids; do kill -9 "$pid"; done
for mount in $mounts; do umount -l "$mount"; done
[ -z "$dirs" ] || rm -rf -- $dirs
"#;

/// Kills the process with this id when the test program ends.
pub fn watch(pid: u32) {
    tell(&format!("watch {pid}"));
}

/// The process has ended on its own, so its id may belong to somebody else from now on.
pub fn forget(pid: u32) {
    tell(&format!("forget {pid}"));
}

/// Removes this directory when the test program ends.
pub fn sweep(directory: &Path) {
    let text = directory.display().to_string();
    assert!(!text.contains(char::is_whitespace), "the temporary directory {text:?} has a blank in its name");
    tell(&format!("sweep {text}"));
}

/// Unmounts this directory when the test program ends.
pub fn unmount(directory: &Path) {
    tell(&format!("unmount {}", directory.display()));
}

fn tell(line: &str) {
    static REAPER: OnceLock<Mutex<Child>> = OnceLock::new();
    let reaper = REAPER.get_or_init(|| {
        let child = Command::new("sh")
            .args(["-c", SCRIPT])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("start sh, which clears up after the tests");
        Mutex::new(child)
    });
    let mut child = reaper.lock().unwrap_or_else(PoisonError::into_inner);
    let input = child.stdin.as_mut().expect("the pipe to the reaper");
    writeln!(input, "{line}").expect("tell the reaper");
}
