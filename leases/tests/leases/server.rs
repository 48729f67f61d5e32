//! A real Redis, for as long as a test holds it.

use std::io::Read as _;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::time::{Duration, Instant, sleep};

/// How long a server may take to be ready.
const READY_WITHIN: Duration = Duration::from_secs(20);

/// A server of its own, with a folder of its own.
pub(crate) struct Redis {
    child: Child,
    port: u16,
    folder: TempDir,
    arguments: Vec<String>,
}

impl Redis {
    /// Starts one that keeps nothing.
    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// Starts one with more arguments; `{folder}` in them is the server's folder, `{port}` its port.
    pub(crate) async fn start_with(arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        Self::start_in(folder, arguments).await
    }

    /// Starts one in a folder where there may be files for it already.
    pub(crate) async fn start_in(folder: TempDir, arguments: &[&str]) -> Self {
        let arguments: Vec<_> = arguments.iter().map(|&argument| argument.to_owned()).collect();
        // Between the look for a free port and its use, somebody else may take it.
        for _ in 0..5 {
            let port = free_port();
            let mut child = spawn(port, folder.path(), &arguments);
            if is_ready(&mut child, port).await {
                return Self { child, port, folder, arguments };
            }
        }
        panic!("redis-server does not start: {}", log(folder.path()));
    }

    /// Its address.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Its port.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Stops it in its tracks: connections stay, and nothing is answered.
    pub(crate) fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// Has it go on.
    pub(crate) fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// Kills it.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("killing redis-server");
        self.child.wait().expect("its end");
    }

    /// Starts it again at the same port, with what its folder has.
    pub(crate) async fn start_again(&mut self) {
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            self.child = spawn(self.port, self.folder.path(), &self.arguments);
            if is_ready(&mut self.child, self.port).await {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "redis-server does not start again: {}",
                log(self.folder.path())
            );
        }
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().cast_signed()).expect("a process");
        kill_process(pid, signal).expect("a signal to redis-server");
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn spawn(port: u16, folder: &Path, arguments: &[String]) -> Child {
    let fill = |text: &String| {
        text.replace("{folder}", &folder.display().to_string()).replace("{port}", &port.to_string())
    };
    let log = std::fs::File::create(folder.join("log")).expect("a log");
    let mut command = Command::new("redis-server");
    // A file that is its first argument is its configuration, which a sentinel needs.
    let (files, options): (Vec<_>, Vec<_>) =
        arguments.iter().map(fill).partition(|text| text.ends_with(".conf"));
    command.args(files);
    command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--dir"]).arg(folder);
    command.args(options).stdin(Stdio::null()).stdout(log).stderr(Stdio::null());
    command.spawn().unwrap_or_else(|error| {
        panic!("cannot start redis-server ({error}): install it with scripts/setup.sh, or apt-get install redis-server")
    })
}

/// Whether it listens; `false` if it has ended before.
async fn is_ready(child: &mut Child, port: u16) -> bool {
    let deadline = Instant::now() + READY_WITHIN;
    while child.try_wait().expect("its state").is_none() && Instant::now() < deadline {
        if TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.is_ok() {
            return true;
        }
        sleep(Duration::from_millis(10)).await;
    }
    child.kill().ok();
    child.wait().ok();
    false
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("its address").port()
}

fn log(folder: &Path) -> String {
    let mut text = String::new();
    std::fs::File::open(folder.join("log")).and_then(|mut file| file.read_to_string(&mut text)).ok();
    text
}
