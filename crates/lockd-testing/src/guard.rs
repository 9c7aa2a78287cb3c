//! Makes sure that no server and no store outlives the test program, however that ends.
//!
//! Rust does not drop statics, and a test program may be killed. So a small shell waits at the other end of a pipe: when
//! the pipe closes without a farewell, this program is gone, and the shell clears up.

use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

const SCRIPT: &str = r#"
trap '' INT TERM HUP
pid=
while read -r verb word; do
    case $verb in
        watch) pid=$word ;;
        forget) pid= ;;
        done) exit 0 ;;
    esac
done
[ -z "$pid" ] || kill -9 "$pid"
rm -rf -- "$1"
"#;

/// Kills one process and removes one directory if this program ends without saying [`Guard::dismiss`].
#[derive(Debug)]
pub(crate) struct Guard {
    // A machine without `sh` has no guard; servers are cleared up on drop all the same.
    shell: Option<Child>,
}

impl Guard {
    pub(crate) fn over(directory: &Path) -> Guard {
        let shell = Command::new("sh")
            .args(["-c", SCRIPT, "lockd-testing-guard"])
            .arg(directory)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Guard { shell: shell.ok() }
    }

    pub(crate) fn watch(&mut self, pid: u32) {
        self.tell(&format!("watch {pid}\n"));
    }

    /// The process has ended: its number may belong to somebody else from now on.
    pub(crate) fn forget(&mut self) {
        self.tell("forget\n");
    }

    pub(crate) fn dismiss(&mut self) {
        self.tell("done\n");
        if let Some(mut shell) = self.shell.take() {
            let _ = shell.wait();
        }
    }

    fn tell(&mut self, line: &str) {
        if let Some(input) = self.shell.as_mut().and_then(|shell| shell.stdin.as_mut()) {
            let _ = input.write_all(line.as_bytes());
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // A start that failed has cleared up by itself.
        self.dismiss();
    }
}
