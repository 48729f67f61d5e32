//! Gets a peer's program: Debian packages, Python packages in an environment of their own, binaries of this repository,
//! what its test clusters are made of.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use thiserror::Error;

use super::peer::{Install, Peer};

/// A program that is there.
#[derive(Clone, Debug)]
pub(super) struct Installed {
    pub(super) program: PathBuf,
    pub(super) venv: PathBuf,
    /// Where the programs of the test clusters are, for a peer that needs them.
    pub(super) testbed: PathBuf,
    /// What it says about its version.
    pub(super) version: String,
}

/// Why a peer is missing. It is reported as such, never left out in silence.
#[derive(Debug, Error)]
pub(super) enum InstallError {
    #[error("`{0}` could not be run")]
    Run(String, #[source] io::Error),
    #[error("`{0}` failed: {1}")]
    Failed(String, String),
    #[error("installed, but there is no program `{0}`")]
    NoProgram(String),
    #[error("not installed (--no-install)")]
    NotAllowed,
    #[error("{0}")]
    Manual(String),
}

/// Builds all of them as `scripts/perf.sh` does: other packages together have dependencies with other features, and all
/// would be compiled anew.
const CARGO_BUILD: [&str; 8] = [
    "build",
    "--release",
    "--locked",
    "--quiet",
    "--package=penstock-perf",
    "--package=penstock-proxy",
    "--package=penstock-gates",
    "--bins",
];

/// Finds the peer's program, and installs it if it is not there and that is allowed.
pub(super) fn install(peer: &Peer, may_install: bool) -> Result<Installed, InstallError> {
    let venv = cache().join(&peer.name);
    let Some(program) = &peer.program else {
        let (program, testbed) = (PathBuf::new(), PathBuf::new());
        return Ok(Installed { program, venv, testbed, version: String::new() });
    };
    if let Install::Manual(what) = &peer.install {
        return Err(InstallError::Manual(what.clone()));
    }
    if let Install::Cargo {} = &peer.install {
        // Cargo knows best whether it is up to date.
        if may_install {
            run(Command::new("cargo").args(CARGO_BUILD))?;
        }
    }
    let program = match find(program, peer, &venv) {
        Some(program) => program,
        None if !may_install => return Err(InstallError::NotAllowed),
        None => {
            fetch(&peer.install, &venv)?;
            find(program, peer, &venv).ok_or_else(|| InstallError::NoProgram(program.clone()))?
        }
    };
    // It knows what is there already, and needs the network for nothing else.
    let testbed = match &peer.install {
        Install::Testbed { tools, .. } => built(tools, may_install)?,
        _ => PathBuf::new(),
    };
    let version = version(&program, peer);
    Ok(Installed { program, venv, testbed, version })
}

fn fetch(install: &Install, venv: &Path) -> Result<(), InstallError> {
    match install {
        Install::None {} | Install::Manual(_) | Install::Cargo {} => Ok(()),
        Install::Apt(packages) => {
            let mut command = if is_root() {
                Command::new("apt-get")
            } else {
                let mut sudo = Command::new("sudo");
                sudo.args(["-n", "apt-get"]);
                sudo
            };
            command.args(["install", "-y", "-qq", "--no-install-recommends"]).args(packages);
            run(command.env("DEBIAN_FRONTEND", "noninteractive"))
        }
        Install::Pip(packages) | Install::Testbed { pip: packages, .. } => {
            run(Command::new("python3").args(["-m", "venv"]).arg(venv))?;
            run(Command::new(venv.join("bin/pip")).args(["install", "--quiet"]).args(packages))
        }
    }
}

/// Where its installation puts it: the environment, the build, or the path.
fn find(program: &str, peer: &Peer, venv: &Path) -> Option<PathBuf> {
    let directories = match peer.install {
        Install::Pip(_) | Install::Testbed { .. } => vec![venv.join("bin")],
        // Beside this program, which is built in the same way.
        Install::Cargo {} => vec![env::current_exe().ok()?.parent()?.to_owned()],
        Install::Apt(_) | Install::Manual(_) | Install::None {} => {
            let path = env::var_os("PATH").unwrap_or_default();
            // Debian keeps servers where a user's path may not lead.
            env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]).collect()
        }
    };
    directories.into_iter().map(|directory| directory.join(program)).find(|path| path.is_file())
}

fn version(program: &Path, peer: &Peer) -> String {
    if peer.version.is_empty() {
        return env!("CARGO_PKG_VERSION").to_owned();
    }
    // nginx tells it on standard error.
    let output = Command::new(program).args(&peer.version).stdin(Stdio::null()).output();
    let text = output.map(|output| [output.stdout, output.stderr].concat()).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("unknown");
    // Envoy begins with the path that it was started by, which says nothing to others.
    line.strip_prefix(&*program.to_string_lossy()).unwrap_or(line).trim_start().to_owned()
}

/// The folder with the programs of the test clusters. Building them takes minutes, and the script says what it does.
fn built(tools: &[String], may_install: bool) -> Result<PathBuf, InstallError> {
    const SCRIPT: &str = "testbed/tools.sh";
    let mut command = Command::new(SCRIPT);
    let command = command.args(tools).stdin(Stdio::null()).stderr(Stdio::inherit());
    let command = if may_install { command } else { command.env("TESTBED_AS_IT_IS", "1") };
    let output = command.output().map_err(|error| InstallError::Run(SCRIPT.to_owned(), error))?;
    let out = String::from_utf8_lossy(&output.stdout);
    match out.split_ascii_whitespace().next() {
        Some(folder) if output.status.success() => Ok(PathBuf::from(folder)),
        _ if may_install => Err(InstallError::Failed(SCRIPT.to_owned(), "see above".to_owned())),
        _ => Err(InstallError::NotAllowed),
    }
}

fn run(command: &mut Command) -> Result<(), InstallError> {
    let shown = format!("{command:?}").replace('"', "");
    eprintln!("compare: {shown}");
    let Output { status, stderr, .. } =
        command.stdin(Stdio::null()).output().map_err(|error| InstallError::Run(shown.clone(), error))?;
    if status.success() {
        return Ok(());
    }
    let stderr = String::from_utf8_lossy(&stderr);
    let reason =
        stderr.lines().rev().map(str::trim).find(|line| !line.is_empty()).unwrap_or("no reason given");
    Err(InstallError::Failed(shown, reason.to_owned()))
}

fn is_root() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let uids = status.lines().find_map(|line| line.strip_prefix("Uid:")).unwrap_or_default();
    uids.split_ascii_whitespace().nth(1) == Some("0")
}

fn cache() -> PathBuf {
    let home = env::var_os("HOME").map_or_else(env::temp_dir, PathBuf::from);
    env::var_os("XDG_CACHE_HOME").map_or(home.join(".cache"), PathBuf::from).join("penstock/peers")
}
