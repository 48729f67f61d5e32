//! Processes of a measurement: the upstream and a gateway, each in a process group of its own on cores of its own.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use thiserror::Error;
use tokio::time::Instant;

use super::{
    install::Installed,
    peer::Peer,
    scenario::Topology,
    template::{Context, Endpoint, TemplateError, Tls},
};

/// The address on which everything listens.
pub(super) const HOST: &str = "127.0.0.1";
/// Ports in a row that a gateway gets: as many as the neediest peer takes.
const PORTS: u16 = 4;
/// Between two looks at whether a gateway is ready.
const POLL_INTERVAL: Duration = Duration::from_millis(50);
/// Milliseconds between the tokens of a stream: a batch of an engine under load.
const STEP_MS: &str = "5";

/// Why something does not run.
#[derive(Debug, Error)]
pub(super) enum StackError {
    #[error("cannot start {0}")]
    Spawn(String, #[source] io::Error),
    #[error("the upstream did not say where it listens")]
    Upstream(#[source] io::Error),
    #[error(transparent)]
    Template(#[from] TemplateError),
    #[error("no free port")]
    Port(#[source] io::Error),
    #[error("not ready within {0} s; its output ends in: {1}")]
    NotReady(u64, String),
    #[error("it ended at once; its output ends in: {0}")]
    Ended(String),
}

/// The cores of a comparison, as `taskset` takes them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cores {
    pub(super) gateway: String,
    pub(super) load: String,
}

/// A process group that ends with this value.
#[derive(Debug)]
pub(super) struct ProcessGroup(Child);

impl ProcessGroup {
    pub(super) fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        // Children of the child too, at once: what they had to say has been read from /proc.
        let group = format!("-{}", self.0.id());
        let _ = Command::new("kill").args(["-KILL", "--", &group]).stderr(Stdio::null()).status();
        let _ = self.0.wait();
    }
}

/// A command on these cores, with as many file descriptors as the system allows.
pub(super) fn pinned(cores: &str, program: &Path) -> Command {
    let mut command = Command::new("sh");
    command
        .args(["-c", "ulimit -n $(ulimit -Hn); exec taskset -c \"$0\" \"$@\"", cores])
        .arg(program)
        .stdin(Stdio::null())
        .process_group(0);
    command
}

/// The upstream, and where its servers listen.
#[derive(Debug)]
pub(super) struct Upstream {
    pub(super) _group: ProcessGroup,
    pub(super) endpoints: Vec<Endpoint>,
}

impl Upstream {
    /// Starts it with so many servers.
    pub(super) fn start(cores: &Cores, count: u16, this: &Path) -> Result<Self, StackError> {
        let mut command = pinned(&cores.load, this);
        command.args(["upstream", "--own-addresses", "--step-ms", STEP_MS, "--count", &count.to_string()]);
        let mut child = command
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| StackError::Spawn("the upstream".to_owned(), error))?;
        let out = child.stdout.take();
        let group = ProcessGroup(child);
        let lines = out.into_iter().flat_map(|out| BufReader::new(out).lines()).take(count.into());
        let endpoints = lines
            .map(|line| {
                let line = line?;
                let address = line.rsplit(' ').next().and_then(|text| text.parse::<SocketAddrV4>().ok());
                let address = address.ok_or(io::ErrorKind::InvalidData)?;
                Ok(Endpoint { host: *address.ip(), port: address.port() })
            })
            .collect::<io::Result<Vec<_>>>()
            .map_err(StackError::Upstream)?;
        if endpoints.len() < usize::from(count) {
            return Err(StackError::Upstream(io::ErrorKind::UnexpectedEof.into()));
        }
        Ok(Self { _group: group, endpoints })
    }
}

/// A gateway that serves, or the lack of one.
#[derive(Debug)]
pub(super) struct Gateway {
    group: Option<ProcessGroup>,
    pub(super) url: String,
}

impl Gateway {
    /// Starts the peer and waits until it serves.
    pub(super) fn start(
        peer: &Peer,
        installed: &Installed,
        topology: Topology,
        endpoints: &[Endpoint],
        tls: &Tls,
        cores: &Cores,
        directory: &Path,
    ) -> Result<Self, StackError> {
        if peer.program.is_none() {
            let server =
                endpoints.first().map(|endpoint| format!("http://{}:{}", endpoint.host, endpoint.port));
            return Ok(Self { group: None, url: server.unwrap_or_default() });
        }
        let port = free_ports().map_err(StackError::Port)?;
        let context = Context {
            host: HOST,
            port,
            endpoints: endpoints.to_vec(),
            routes: models(topology.routes),
            tls: topology.has_tls.then(|| tls.clone()),
            dir: directory.to_owned(),
            program: installed.program.clone(),
            venv: installed.venv.clone(),
            testbed: installed.testbed.clone(),
            load_cores: cores.load.clone(),
        };
        let rendered = context.render(peer)?;
        let log = directory.join("output.log");
        let output = || File::create(&log).map_err(|error| StackError::Spawn(peer.name.clone(), error));
        let started = peer.through.as_ref().map_or(installed.program.as_path(), Path::new);
        let child = pinned(&cores.gateway, started)
            .args(&rendered.arguments)
            .envs(rendered.environment)
            .current_dir(directory)
            .stdout(Stdio::null())
            .stderr(output()?)
            .spawn()
            .map_err(|error| StackError::Spawn(peer.name.clone(), error))?;
        let mut group = ProcessGroup(child);
        wait(&mut group, peer, port, topology.has_tls, &log)?;
        let scheme = if topology.has_tls { "https" } else { "http" };
        Ok(Self { group: Some(group), url: format!("{scheme}://{HOST}:{port}") })
    }

    /// The process to account for, with its descendants.
    pub(super) fn pid(&self) -> Option<u32> {
        self.group.as_ref().map(ProcessGroup::pid)
    }
}

/// The models that so many routes are for.
pub(super) fn models(routes: usize) -> Vec<String> {
    (1..=routes).map(|number| format!("model-{number}")).collect()
}

/// A certificate for the gateways, in files.
pub(super) fn certificate(directory: &Path) -> io::Result<Tls> {
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned(), HOST.to_owned()])
        .map_err(io::Error::other)?;
    let (certificate, key) = (certified.cert.pem(), certified.signing_key.serialize_pem());
    let file = |name: &str, text: &str| -> io::Result<PathBuf> {
        let path = directory.join(name);
        std::fs::write(&path, text)?;
        Ok(path)
    };
    Ok(Tls {
        pem: file("both.pem", &format!("{certificate}{key}"))?,
        certificate: file("certificate.pem", &certificate)?,
        key: file("key.pem", &key)?,
    })
}

/// A port that is free, and so are those behind it, for what gateways serve beside. Below those that the system gives to
/// clients, which might take one before the gateway does.
fn free_ports() -> io::Result<u16> {
    /// Tries before giving up.
    const TRIES: usize = 50;
    for _ in 0..TRIES {
        let first = fastrand::u16(10_000..30_000);
        let is_free = |port| TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok();
        if (first..first + PORTS).all(is_free) {
            return Ok(first);
        }
    }
    Err(io::ErrorKind::AddrInUse.into())
}

#[expect(clippy::disallowed_methods, reason = "this process has nothing else to do while it waits")]
fn wait(
    group: &mut ProcessGroup,
    peer: &Peer,
    port: u16,
    has_tls: bool,
    log: &Path,
) -> Result<(), StackError> {
    let deadline = Instant::now() + Duration::from_secs(peer.start_seconds);
    loop {
        if group.0.try_wait().is_ok_and(|status| status.is_some()) {
            return Err(StackError::Ended(tail(log)));
        }
        if is_ready(port, if has_tls { "" } else { &peer.ready }) {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(StackError::NotReady(peer.start_seconds, tail(log)));
        }
        std::thread::sleep(POLL_INTERVAL);
    }
}

/// Whether the port is open and, where a path is given, it answers 200.
fn is_ready(port: u16, path: &str) -> bool {
    let Ok(mut stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) else { return false };
    if path.is_empty() {
        return true;
    }
    let request = format!("GET {path} HTTP/1.1\r\nhost: {HOST}\r\nconnection: close\r\n\r\n");
    let mut answer = [0; 12];
    let asked = stream
        .set_read_timeout(Some(Duration::from_secs(2)))
        .and_then(|()| stream.write_all(request.as_bytes()))
        .and_then(|()| stream.read_exact(&mut answer));
    asked.is_ok() && answer.ends_with(b" 200")
}

fn tail(log: &Path) -> String {
    /// Bytes of a log that a message shows.
    const SHOWN: usize = 500;
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text[text.len().saturating_sub(SHOWN)..]).trim().replace('\n', " | ");
    if text.is_empty() { "nothing".to_owned() } else { text }
}
