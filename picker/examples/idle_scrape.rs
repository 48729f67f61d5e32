//! What scraping costs: the CPU time of this process while it does nothing but scrape 100 endpoints with
//! vLLM pages of 60 KB. The target is 1 % of a core while they are idle.
//!
//! ```text
//! cargo run --release -p penstock-picker --example idle_scrape [ENDPOINTS [SECONDS]]
//! ```
//!
//! The endpoints run in a child process, so that their time is not counted. Linux only: CPU time is read
//! from `/proc`.

use std::{
    env,
    fmt::Write as _,
    fs,
    net::SocketAddr,
    process::{ExitCode, Stdio},
    sync::Arc,
    time::Duration,
};

use penstock_config::{NoProfileCheck, Snapshot};
use penstock_picker::{PickRequest, Picker, Pool};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    process::Command,
    time::{Instant, sleep},
};

use vllm_page::VllmPage;

#[path = "../tests/metrics/vllm_page.rs"]
mod vllm_page;

/// Time for the pauses to grow to their longest.
const SETTLE: Duration = Duration::from_secs(12);

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let number = |index: usize, default| arguments.get(index).and_then(|a| a.parse().ok()).unwrap_or(default);
    let done = match arguments.first().map(String::as_str) {
        Some("serve") => serve(number(1, 100)).await,
        _ => measure(number(0, 100), Duration::from_secs(number(1, 20) as u64)).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn measure(endpoints: usize, time: Duration) -> Result<()> {
    let mut server = Command::new(env::current_exe()?)
        .args(["serve", &endpoints.to_string()])
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let mut lines = BufReader::new(server.stdout.take().expect("stdout is piped")).lines();
    let mut document = DOCUMENT.to_owned();
    for _ in 0..endpoints {
        let address = lines.next_line().await?.ok_or("the server ended")?;
        writeln!(document, "    - address: {address}")?;
    }
    let snapshot = Snapshot::compile(&document, &NoProfileCheck).map_err(|faults| faults.to_string())?;
    let picker = Picker::new();
    picker.apply(&snapshot.pools)?;
    let pool = picker.pool("pool").ok_or("no pool")?;

    sleep(SETTLE).await;
    report("idle", &pool, endpoints, time).await?;

    let headers = http::HeaderMap::new();
    let request = PickRequest {
        model: "m",
        blocks: &[],
        prompt_bytes: 100,
        max_tokens: Some(1),
        priority: 0,
        consumer: "",
        headers: &headers,
        exclude: &[],
    };
    // The load correction spreads them: one request each and then some.
    let in_flight: Vec<_> = (0..2 * endpoints).filter_map(|_| pool.pick(&request).ok()).collect();
    sleep(Duration::from_secs(1)).await;
    report("busy", &pool, endpoints, time).await?;
    drop(in_flight);
    Ok(())
}

const DOCUMENT: &str = "\
apiVersion: penstock.dev/v1alpha1
kind: RoutingConfig
listeners:
- {name: http, address: '127.0.0.1:0'}
routes:
- name: all
  rules:
  - targets: [{pool: pool}]
pools:
- name: pool
  endpoints:
";

async fn report(what: &str, pool: &Arc<Pool>, endpoints: usize, time: Duration) -> Result<()> {
    let counters = pool.scrape_counters();
    let (cpu, scrapes, bytes) = (cpu_time()?, counters.successes(), counters.bytes());
    let started = Instant::now();
    sleep(time).await;
    let elapsed = started.elapsed().as_secs_f64();
    let cpu = (cpu_time()? - cpu).as_secs_f64();
    let scrapes = (counters.successes() - scrapes) as f64;
    let failed: u64 = counters.errors().map(|(_, count)| count).sum();
    println!(
        "{what}: {endpoints} endpoints, {:.1} scrapes/s of {:.0} bytes, {:.2} % of a core, {:.0} us a scrape, \
         {failed} failed",
        scrapes / elapsed,
        (counters.bytes() - bytes) as f64 / scrapes,
        100.0 * cpu / elapsed,
        1e6 * cpu / scrapes,
    );
    Ok(())
}

/// CPU time of all threads of this process.
fn cpu_time() -> Result<Duration> {
    let mut nanos = 0;
    for thread in fs::read_dir("/proc/self/task")? {
        let times = fs::read_to_string(thread?.path().join("schedstat"))?;
        nanos += times.split_whitespace().next().ok_or("no schedstat")?.parse::<u64>()?;
    }
    Ok(Duration::from_nanos(nanos))
}

/// Serves the page on as many ports, and prints their addresses.
async fn serve(endpoints: usize) -> Result<()> {
    let page = VllmPage { engines: vec![(0, 0, 0.0)], ..VllmPage::default() }.render();
    let head =
        format!("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {}\r\n\r\n", page.len());
    let response: Arc<str> = (head + &page).into();
    for _ in 0..endpoints {
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
        println!("{}", listener.local_addr()?);
        let response = Arc::clone(&response);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, Arc::clone(&response)));
            }
        });
    }
    std::future::pending().await
}

async fn answer(mut stream: TcpStream, response: Arc<str>) {
    let mut head = [0; 1024];
    // A request fits into one segment.
    while stream.read(&mut head).await.is_ok_and(|length| length > 0) {
        if stream.write_all(response.as_bytes()).await.is_err() {
            return;
        }
    }
}
