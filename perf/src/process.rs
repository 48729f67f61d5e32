//! CPU time and memory of a program and of everything that it started.
//!
//! Clocks of processes and `/proc` are read instead of a control group, which would need rights that a developer's
//! machine may not give.

use std::{collections::BTreeMap, fs, io, time::Duration};

use nix::time::ClockId;
#[cfg(target_os = "linux")]
use nix::unistd::Pid;

/// Ticks of `/proc/PID/stat` in a second: `USER_HZ`, which is 100 wherever Linux runs.
const TICKS_PER_SECOND: u64 = 100;

/// What a set of processes has used so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// User and system time, of ended children too.
    pub(crate) cpu: Duration,
    /// The sum of each process's largest resident set so far, in bytes.
    pub(crate) rss_peak_bytes: u64,
    /// The sum of each process's resident set now, in bytes.
    pub(crate) rss_bytes: u64,
    /// Processes that were found.
    pub(crate) processes: usize,
}

/// Usage of `roots` and all their descendants. What has ended counts as nothing, except a child in its parent's sum.
pub(crate) fn usage(roots: &[u32]) -> Usage {
    let stats = all();
    let mut total = Usage::default();
    for pid in family(roots, &stats) {
        if let Some(stat) = stats.get(&pid) {
            total.cpu += cpu(pid, stat);
            total.processes += 1;
        }
        let (rss, peak) = memory(pid);
        total.rss_bytes += rss;
        total.rss_peak_bytes += peak;
    }
    total
}

/// Has the kernel count the largest resident sets of `root` and its descendants anew.
pub(crate) fn forget_peaks(root: u32) {
    let stats = all();
    for pid in family(&[root], &stats) {
        // One that has just ended has no peak any more.
        let _ = fs::write(format!("/proc/{pid}/clear_refs"), "5");
    }
}

/// CPU time of this process.
pub(crate) fn own_cpu() -> Duration {
    ClockId::CLOCK_PROCESS_CPUTIME_ID.now().map_or(Duration::ZERO, Duration::from)
}

/// The cores on which this process may run, as the kernel lists them, such as `0-1`.
pub(crate) fn own_cores() -> Vec<usize> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap_or_default();
    cores(list.trim())
}

/// How long these cores have been idle since the machine started, and stolen by its host, summed.
pub(crate) fn idle_and_stolen(cores: &[usize]) -> (Duration, Duration) {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let (mut idle, mut stolen) = (0, 0);
    for line in text.lines() {
        let mut fields = line.split_ascii_whitespace();
        let name = fields.next().and_then(|name| name.strip_prefix("cpu")).and_then(|name| name.parse().ok());
        if name.is_some_and(|core| cores.contains(&core)) {
            let values: Vec<u64> = fields.filter_map(|field| field.parse().ok()).collect();
            // user nice system idle iowait irq softirq steal
            idle += values.get(3).unwrap_or(&0) + values.get(4).unwrap_or(&0);
            stolen += values.get(7).unwrap_or(&0);
        }
    }
    (ticks(idle), ticks(stolen))
}

/// Those of `roots` that run, and their descendants.
fn family(roots: &[u32], stats: &BTreeMap<u32, Stat>) -> Vec<u32> {
    let mut family: Vec<u32> = roots.iter().copied().filter(|root| stats.contains_key(root)).collect();
    let mut at = 0;
    while let Some(parent) = family.get(at).copied() {
        for (child, _) in stats.iter().filter(|(_, stat)| stat.parent == parent) {
            if !family.contains(child) {
                family.push(*child);
            }
        }
        at += 1;
    }
    family
}

struct Stat {
    parent: u32,
    /// Its own user and system time.
    ticks: u64,
    /// That of its children that have ended.
    children_ticks: u64,
}

/// The CPU time of a process and its ended children. Its own is taken from its clock, since ticks of 10 ms are too long
/// for who is idle most of the time; what a child had of a tick is lost when it ends.
fn cpu(pid: u32, stat: &Stat) -> Duration {
    clock(pid).unwrap_or(ticks(stat.ticks)) + ticks(stat.children_ticks)
}

#[cfg(target_os = "linux")]
fn clock(pid: u32) -> Option<Duration> {
    let clock = ClockId::pid_cpu_clock_id(Pid::from_raw(pid.try_into().ok()?)).ok()?;
    clock.now().ok().map(Duration::from)
}

/// Elsewhere no process has a clock for others, nor is there a `/proc` to find it in.
#[cfg(not(target_os = "linux"))]
fn clock(_pid: u32) -> Option<Duration> {
    None
}

fn all() -> BTreeMap<u32, Stat> {
    let entries: Vec<io::Result<fs::DirEntry>> =
        fs::read_dir("/proc").map(Iterator::collect).unwrap_or_default();
    entries
        .into_iter()
        .filter_map(|entry| {
            let pid: u32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
            let stat = parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)?;
            Some((pid, stat))
        })
        .collect()
}

/// `PID (name) state ppid … utime stime cutime cstime …`; the name may hold anything, so it is skipped from the back.
fn parse(text: &str) -> Option<Stat> {
    let (_, rest) = text.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let number = |index: usize| fields.get(index).and_then(|field| field.parse::<u64>().ok());
    Some(Stat {
        parent: fields.get(1)?.parse().ok()?,
        ticks: number(11)? + number(12)?,
        children_ticks: number(13)? + number(14)?,
    })
}

fn memory(pid: u32) -> (u64, u64) {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let kib = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|line| line.trim_end_matches(" kB").trim().parse::<u64>().ok()).unwrap_or(0)
    };
    (kib("VmRSS:") * 1024, kib("VmHWM:") * 1024)
}

fn ticks(count: u64) -> Duration {
    Duration::from_millis(count * 1000 / TICKS_PER_SECOND)
}

fn cores(list: &str) -> Vec<usize> {
    list.split(',')
        .filter_map(|part| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            Some(first.parse::<usize>().ok()?..=last.parse().ok()?)
        })
        .flatten()
        .collect()
}

#[cfg(test)]
mod tests {
    use std::{io::Read, process::Command};

    use super::*;

    #[test]
    fn a_stat_line_is_read_whatever_the_name() {
        let stat = parse("7 (a) b (c) S 3 7 7 0 -1 4194560 1 2 3 4 10 20 30 40 20 0 1 0 5").unwrap();
        assert_eq!((stat.parent, stat.ticks, stat.children_ticks), (3, 30, 70));
        assert!(parse("7 (a").is_none());
    }

    #[test]
    fn core_lists_are_read() {
        assert_eq!(cores("0-2,5"), [0, 1, 2, 5]);
        assert_eq!(cores(""), [] as [usize; 0]);
        assert!(!own_cores().is_empty());
    }

    #[test]
    fn less_than_a_tick_is_counted() {
        let own = || clock(std::process::id()).unwrap();
        let (before, before_own) = (own(), own_cpu());
        std::hint::black_box((0..100_000_u64).fold(0, |sum, more| sum ^ std::hint::black_box(more)));
        assert!(own() > before && own_cpu() > before_own);
    }

    #[test]
    fn what_a_child_burns_is_counted_while_it_runs_and_after() {
        let spin = "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done";
        let mut command = Command::new("sh");
        command.args(["-c", &format!("sh -c '{spin}'; echo; read line")]);
        let mut child =
            command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped()).spawn().unwrap();
        let pid = child.id();
        while usage(&[pid]).cpu < Duration::from_millis(20) {
            std::thread::yield_now();
        }
        // A line once the inner one has ended.
        child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
        let ended = usage(&[pid]);
        assert!(ended.processes == 1 && ended.cpu >= Duration::from_millis(20), "{ended:?}");
        assert!(usage(&[pid]).rss_peak_bytes > 0);
        drop(child.stdin.take());
        child.wait().unwrap();
        assert_eq!(usage(&[pid]), Usage::default());
    }
}
