//! `lockd client with KEY -- command…`: a command runs while this process holds the lease for it.
//!
//! The lease is extended three times in the time that the server grants. It counts as lost when a server says so, or when it would have run out without
//! a word from any server: then the command must not go on believing that it is alone.

use std::cell::Cell;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use rustix::time::{ClockId, clock_gettime};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};

use super::lease::{self, Grant};
use super::print;
use super::transport::Api;
use super::{Failure, Invocation, Outcome};

const NOT_FOUND: u8 = 127;
const NOT_EXECUTABLE: u8 = 126;

pub(super) async fn with(invocation: &Invocation) -> Outcome<u8> {
    let settings = &invocation.settings;
    let [key, program, arguments @ ..] = invocation.words.as_slice() else {
        return Err(Failure::Usage("requires a key and a command: write KEY -- COMMAND".into()));
    };
    let api = Api::new(invocation)?;
    let asked = now();
    let grant = tokio::select! {
        grant = lease::take(&api, settings, key) => grant?,
        () = super::interrupted() => return Err(Failure::Interrupted),
    };
    let mut command = Command::new(program);
    command.args(arguments).envs(grant.variables(&api.servers())).envs(api.trust().iter().cloned());
    let child = match command.spawn() {
        Ok(child) => child,
        Err(error) => {
            end(&api, &grant, true).await;
            print::complain(&format!("run {program}: {error}\n"));
            return Ok(match error.kind() {
                std::io::ErrorKind::NotFound => NOT_FOUND,
                _ => NOT_EXECUTABLE,
            });
        }
    };
    let good_until = Cell::new(first_end(&grant, asked));
    let (status, lost) = accompany(&api, invocation, &grant, child, &good_until).await?;
    let code = exit_code(status);
    if lost {
        // What was staged under the lease is gone; success would be a lie.
        return Ok(if code == 0 { 1 } else { code });
    }
    let released = tokio::time::timeout(
        settings.close_timeout,
        lease::give_back(&api, &grant.subject(), &grant.claim(), code != 0),
    )
    .await;
    match released {
        Ok(Ok(())) => Ok(code),
        Ok(Err(failure)) => {
            print::complain(&format!("release {key}: {failure}\n"));
            Ok(if code == 0 { 1 } else { code })
        }
        Err(_) => {
            print::complain(&format!("release {key}: no answer; the lease ends by itself\n"));
            Ok(if code == 0 { 1 } else { code })
        }
    }
}

async fn end(api: &Api, grant: &Grant, rollback: bool) {
    // The command's own failure is what is reported; the lease runs out by itself if this fails, too.
    let _ = lease::give_back(api, &grant.subject(), &grant.claim(), rollback).await;
}

/// Keeps the lease alive until the command ends. Tells how it ended, and whether the lease was lost before.
async fn accompany(
    api: &Api,
    invocation: &Invocation,
    grant: &Grant,
    mut child: Child,
    good_until: &Cell<Duration>,
) -> Outcome<(ExitStatus, bool)> {
    let settings = &invocation.settings;
    let cannot = |error: std::io::Error| Failure::Local(format!("watch the command: {error}"));
    let mut interrupt = signal(SignalKind::interrupt()).map_err(cannot)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(cannot)?;
    let mut hang_up = signal(SignalKind::hangup()).map_err(cannot)?;
    let pid = child.id();
    let alive = keep_alive(api, invocation, grant, good_until);
    tokio::pin!(alive);
    let mut lost = false;
    let mut kill_at: Option<tokio::time::Instant> = None;
    loop {
        let killing = async {
            match kill_at {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            status = child.wait() => {
                // This process, or the whole machine, may have slept too long to have renewed it.
                if !lost && now() >= good_until.get() {
                    lost = true;
                    print::complain(&format!("lockd: the lease on {} ran out before the command ended\n", grant.key));
                }
                return status.map(|status| (status, lost)).map_err(cannot);
            }
            reason = &mut alive, if !lost => {
                lost = true;
                let key = &grant.key;
                if settings.on_lost == "warn" {
                    print::complain(&format!("lockd: the lease on {key} is lost: {reason}\n"));
                } else {
                    print::complain(&format!("lockd: the lease on {key} is lost, ending the command: {reason}\n"));
                    send(pid, Signal::TERM);
                    kill_at = Some(tokio::time::Instant::now() + settings.kill_after);
                }
            }
            () = killing => {
                send(pid, Signal::KILL);
                kill_at = None;
            }
            // A terminal sends its interrupt to the command as well; other senders know only this process.
            _ = interrupt.recv() => {
                if !std::io::IsTerminal::is_terminal(&std::io::stdin()) {
                    send(pid, Signal::INT);
                }
            }
            _ = terminate.recv() => send(pid, Signal::TERM),
            _ = hang_up.recv() => send(pid, Signal::HUP),
        }
    }
}

/// The time since the machine was started, its sleep included: leases run out meanwhile.
fn now() -> Duration {
    #[cfg(target_os = "linux")]
    const CLOCK: ClockId = ClockId::Boottime;
    #[cfg(not(target_os = "linux"))]
    const CLOCK: ClockId = ClockId::Monotonic;
    let time = clock_gettime(CLOCK);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// Until when a new lease is ours for certain. Counted from before the request, so that it is over here before it is over at the
/// server. A long wait for the key is part of that time, but the grant came at its end: the first keepalive follows at once.
fn first_end(grant: &Grant, asked: Duration) -> Duration {
    asked.max(now().saturating_sub(grant.lives / 3)) + grant.lives
}

/// Returns when the lease is lost, with the reason.
async fn keep_alive(
    api: &Api,
    invocation: &Invocation,
    grant: &Grant,
    good_until: &Cell<Duration>,
) -> String {
    let settings = &invocation.settings;
    let ttl = settings.ttl;
    let mut lives = grant.lives;
    let patience =
        settings.keepalive_timeout.min(settings.close_timeout).min(lives / 3).max(Duration::from_millis(100));
    let mut pause = Duration::ZERO;
    loop {
        let left = good_until.get().saturating_sub(now());
        if left.is_zero() {
            return "no server confirmed it in time".into();
        }
        tokio::time::sleep(pause.min(left)).await;
        let sent = now();
        let extended = async {
            let mut answer = lease::extend(api, &grant.subject(), &grant.claim(), ttl, patience).await?;
            let value = answer.value().await?;
            Ok::<_, Failure>(answer.granted_span(&value, ttl))
        };
        match extended.await {
            Ok(granted) => {
                lives = granted;
                good_until.set(sent + lives);
                pause = lives / 3;
            }
            Err(Failure::Service(refusal))
                if (400..500).contains(&refusal.status) && refusal.status != 429 =>
            {
                return Failure::Service(refusal).to_string();
            }
            Err(_) => pause = (lives / 20).clamp(Duration::from_millis(50), Duration::from_secs(1)),
        }
    }
}

fn send(pid: Option<u32>, signal: Signal) {
    let pid = pid.and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
    if let Some(pid) = pid {
        // It may have ended by itself a moment ago.
        let _ = kill_process(pid, signal);
    }
}

/// As a shell would put it: 128 and the number of the signal that ended it.
fn exit_code(status: ExitStatus) -> u8 {
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
    u8::try_from(code).unwrap_or(1)
}
