//! What the kernel knows of the time and memory that processes and the machine have used.

use std::fs;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::Unmeasurable;

/// Processor time of a process since it started, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct CpuTime {
    pub user_us: f64,
    pub system_us: f64,
}

impl CpuTime {
    /// `pid` may be `self`.
    pub fn of(pid: &str) -> Result<CpuTime, Unmeasurable> {
        let path = format!("/proc/{pid}/stat");
        let text = fs::read_to_string(&path)
            .map_err(|error| Unmeasurable(format!("cannot read {path}: {error}; has the server died?")))?;
        let ticks = rustix::param::clock_ticks_per_second() as f64;
        parse_stat(&text)
            .map(|(user, system)| CpuTime {
                user_us: user as f64 * 1e6 / ticks,
                system_us: system as f64 * 1e6 / ticks,
            })
            .ok_or_else(|| Unmeasurable(format!("{path} has an unknown form: {text:?}")))
    }

    pub fn since(self, earlier: CpuTime) -> CpuTime {
        CpuTime { user_us: self.user_us - earlier.user_us, system_us: self.system_us - earlier.system_us }
    }

    pub fn total_us(self) -> f64 {
        self.user_us + self.system_us
    }
}

/// User and system ticks. The command name before them may itself contain blanks and brackets.
fn parse_stat(text: &str) -> Option<(u64, u64)> {
    let (_, fields) = text.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace().skip(11);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

/// Processor time of the whole machine since it started, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct MachineTime {
    pub busy_us: f64,
    /// Taken away by the hypervisor for other machines.
    pub stolen_us: f64,
}

impl MachineTime {
    pub fn now() -> Result<MachineTime, Unmeasurable> {
        let text = fs::read_to_string("/proc/stat")
            .map_err(|error| Unmeasurable(format!("cannot read /proc/stat: {error}")))?;
        let scale = 1e6 / rustix::param::clock_ticks_per_second() as f64;
        parse_machine(&text)
            .map(|(busy, stolen)| MachineTime {
                busy_us: busy as f64 * scale,
                stolen_us: stolen as f64 * scale,
            })
            .ok_or_else(|| Unmeasurable("/proc/stat has an unknown form".into()))
    }

    pub fn since(self, earlier: MachineTime) -> MachineTime {
        MachineTime { busy_us: self.busy_us - earlier.busy_us, stolen_us: self.stolen_us - earlier.stolen_us }
    }
}

/// Ticks of user, nice, system, irq and softirq together, and of steal. Idle and iowait are neither.
fn parse_machine(text: &str) -> Option<(u64, u64)> {
    let mut fields = text.lines().next()?.strip_prefix("cpu ")?.split_ascii_whitespace();
    let mut ticks = [0; 8];
    for slot in &mut ticks {
        *slot = fields.next()?.parse::<u64>().ok()?;
    }
    let [user, nice, system, _idle, _iowait, irq, softirq, steal] = ticks;
    Some((user + nice + system + irq + softirq, steal))
}

/// Processor time spent during a run.
#[derive(Clone, Copy, Debug)]
pub struct Spent {
    pub server: Option<CpuTime>,
    pub generator: CpuTime,
    pub machine: MachineTime,
    pub window: Duration,
}

/// The clocks of a run at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    at: Instant,
    server: Option<CpuTime>,
    generator: CpuTime,
    machine: MachineTime,
}

impl Reading {
    pub fn take(server_pid: Option<u32>) -> Result<Reading, Unmeasurable> {
        Ok(Reading {
            at: Instant::now(),
            server: server_pid.map(|pid| CpuTime::of(&pid.to_string())).transpose()?,
            generator: CpuTime::of("self")?,
            machine: MachineTime::now()?,
        })
    }

    pub fn since(self, earlier: Reading) -> Spent {
        Spent {
            server: self.server.zip(earlier.server).map(|(now, then)| now.since(then)),
            generator: self.generator.since(earlier.generator),
            machine: self.machine.since(earlier.machine),
            window: self.at.saturating_duration_since(earlier.at),
        }
    }
}

/// Resident memory of a process.
pub fn resident_bytes(pid: u32) -> Result<u64, Unmeasurable> {
    let path = format!("/proc/{pid}/status");
    let text = fs::read_to_string(&path)
        .map_err(|error| Unmeasurable(format!("cannot read {path}: {error}; has the server died?")))?;
    parse_resident(&text).ok_or_else(|| Unmeasurable(format!("{path} does not tell VmRSS")))
}

fn parse_resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_found_behind_an_awkward_command_name() {
        let stat = "7 (a) b) c) S 1 2 3 4 5 6 7 8 9 10 1200 34 0 0 20 0 1";
        assert_eq!(parse_stat(stat), Some((1200, 34)));
        assert_eq!(parse_stat("7 (x) S 1"), None);
    }

    #[test]
    fn busy_and_stolen_time_are_told_from_idle() {
        let stat = "cpu  10 1 20 5000 600 3 4 7 0 0\ncpu0 1 2 3 4 5 6 7 8 0 0\n";
        assert_eq!(parse_machine(stat), Some((38, 7)));
        assert_eq!(parse_machine("intr 1 2 3"), None);
    }

    #[test]
    fn resident_memory_is_read_in_bytes() {
        assert_eq!(parse_resident("Name:\tx\nVmRSS:\t    2048 kB\nThreads: 1\n"), Some(2_097_152));
        assert_eq!(parse_resident("Name:\tx\n"), None);
    }
}
