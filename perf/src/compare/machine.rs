//! Where and of what a comparison was made.

use std::{fs, process::Command};

use serde::{Deserialize, Serialize};

/// The machine, and the code.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Machine {
    /// The processor's name.
    pub cpu: String,
    /// Cores that may be used.
    pub cores: usize,
    /// The kernel's version.
    pub kernel: String,
    /// The commit, with `-dirty` behind it if files were changed.
    pub commit: String,
    /// The cores of the gateways.
    pub gateway_cores: String,
    /// The cores of load and upstream.
    pub load_cores: String,
    /// The time of the run, in UTC.
    pub date: String,
}

impl Machine {
    pub(super) fn detect(gateway_cores: &str, load_cores: &str) -> Self {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let cpu = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        Self {
            cpu: cpu.map_or("unknown", |(_, name)| name).to_owned(),
            cores: crate::process::own_cores().len(),
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned(),
            commit: output("git", &["describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]),
            gateway_cores: gateway_cores.to_owned(),
            load_cores: load_cores.to_owned(),
            date: output("date", &["-u", "+%Y-%m-%d %H:%M UTC"]),
        }
    }
}

fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let text =
        output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default();
    if text.is_empty() { "unknown".to_owned() } else { text }
}
