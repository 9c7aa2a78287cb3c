//! What a figure must be read with: machine, kernel, processor, file system and durability.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::time::Instant;

use serde::Serialize;

use crate::Unmeasurable;
use crate::statistics::{duration_text, median};

#[derive(Clone, Debug, Serialize)]
pub struct Host {
    pub host: String,
    pub kernel: String,
    pub cpu: String,
    pub cpus: usize,
    pub file_system: String,
    /// Median of appending 4 KiB to a file there and syncing its data: what one durable write costs this disk.
    pub sync_4k_us: Option<f64>,
    pub durability: String,
    pub generator: String,
}

impl Host {
    pub fn describe(root: &Path, durability: String, generator: &str) -> Host {
        let line = |path: &str| {
            fs::read_to_string(path).map_or_else(|_| "unknown".to_owned(), |text| text.trim().to_owned())
        };
        let cpu = fs::read_to_string("/proc/cpuinfo")
            .ok()
            .and_then(|text| {
                text.lines()
                    .find_map(|line| line.strip_prefix("model name"))
                    .map(|rest| rest.trim_start_matches([' ', '\t', ':']).to_owned())
            })
            .unwrap_or_else(|| "unknown".to_owned());
        Host {
            host: line("/proc/sys/kernel/hostname"),
            kernel: line("/proc/sys/kernel/osrelease"),
            cpu,
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            file_system: file_system(root),
            sync_4k_us: sync_cost_us(root).ok(),
            durability,
            generator: format!(
                "{generator} {} ({} build)",
                env!("CARGO_PKG_VERSION"),
                if cfg!(debug_assertions) { "debug" } else { "release" }
            ),
        }
    }

    pub fn line(&self) -> String {
        format!(
            "# host={} kernel={} cpu=\"{}\" x{} fs={} sync_4k={} durability=\"{}\" generator=\"{}\"",
            self.host,
            self.kernel,
            self.cpu,
            self.cpus,
            self.file_system,
            self.sync_4k_us.map_or_else(|| "unknown".to_owned(), duration_text),
            self.durability,
            self.generator
        )
    }
}

fn file_system(root: &Path) -> String {
    let root = fs::canonicalize(root).unwrap_or_else(|_| root.to_owned());
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    mount_type(&mounts, &root).unwrap_or_else(|| "unknown".to_owned())
}

/// The file system type of the longest mount point that contains `path`.
fn mount_type(mounts: &str, path: &Path) -> Option<String> {
    mounts
        .lines()
        .filter_map(|line| {
            let (before, after) = line.split_once(" - ")?;
            let point = before.split(' ').nth(4)?;
            let kind = after.split(' ').next()?;
            path.starts_with(point).then_some((point.len(), kind))
        })
        // Later lines cover earlier ones on the same point.
        .max_by_key(|(length, _)| *length)
        .map(|(_, kind)| kind.to_owned())
}

fn sync_cost_us(root: &Path) -> Result<f64, Unmeasurable> {
    let path = root.join(format!("bench-sync-{}", std::process::id()));
    let measure = || {
        let mut file = File::create_new(&path)?;
        let mut costs = Vec::with_capacity(64);
        for _ in 0..64 {
            let begun = Instant::now();
            file.write_all(&[0x5a; 4096])?;
            file.sync_data()?;
            costs.push(begun.elapsed().as_secs_f64() * 1e6);
        }
        Ok::<f64, std::io::Error>(median(&costs))
    };
    let cost = measure();
    let _ = fs::remove_file(&path);
    Ok(cost?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_mount_names_the_file_system() {
        let mounts = "1 0 8:1 / / rw shared:1 - ext4 /dev/sda rw\n\
                      2 1 0:5 / /data rw - xfs /dev/sdb rw\n\
                      3 1 0:6 / /database rw - tmpfs none rw\n";
        assert_eq!(mount_type(mounts, Path::new("/data/x")).as_deref(), Some("xfs"));
        assert_eq!(mount_type(mounts, Path::new("/home")).as_deref(), Some("ext4"));
        assert_eq!(mount_type("", Path::new("/home")), None);
    }

    #[test]
    fn a_sync_is_measured_and_leaves_nothing_behind() {
        let directory = tempfile::tempdir().unwrap();
        assert!(sync_cost_us(directory.path()).unwrap() > 0.0);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}
