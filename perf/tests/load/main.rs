//! The load generator against simulated servers, over real sockets.

#![expect(clippy::unwrap_used, reason = "a test that panics is a test that fails")]

use std::time::Duration;

use clap::Parser;
use penstock_perf::{
    load::{self, Flags},
    report::{self, schema::Report},
};
use penstock_sim::{
    Handle, Sim,
    faults::{Action, Fault},
    options::{KvOptions, Options, TlsOptions},
};

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    flags: Flags,
}

async fn start(options: Options) -> Handle {
    let kv = KvOptions { blocks: 1 << 20, ..options.kv };
    Sim::start(Options { max_model_len: 1 << 20, max_num_seqs: 1000, kv, ..options }).await.unwrap()
}

/// Runs the generator, which blocks, beside the servers of this runtime.
async fn measure(line: String) -> Report {
    let args = format!("load {line} --quiet --threads 2");
    let flags = Cli::parse_from(args.split_whitespace()).flags;
    tokio::task::spawn_blocking(move || load::measure(&flags).unwrap()).await.unwrap()
}

fn is_clean(report: &Report, requests: u64) {
    assert_eq!(report.results.errors, []);
    assert_eq!((report.results.completed, report.results.failed), (requests, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_protocol_and_api_is_spoken() {
    let server = start(Options::default()).await;
    let url = format!("http://{}", server.addr());
    for line in [
        "--concurrency 4",
        "--concurrency 4 --stream",
        "--concurrency 4 --stream --api completions",
        "--concurrency 4 --http2 --stream",
        "--concurrency 4 --http2",
        "--concurrency 4 --new-connections",
        "--rate 500 --stream",
        "--rate 500 --arrival constant --concurrency 3",
    ] {
        let report = measure(format!("{url} {line} --requests 20 --output-tokens 7 --warmup 0s")).await;
        is_clean(&report, 20);
        assert_eq!(report.results.output_tokens, 140, "{line}");
        assert_eq!(report.results.e2e.count, 20, "{line}");
        if line.contains("stream") {
            assert_eq!((report.results.ttft.count, report.results.itl.count), (20, 120), "{line}");
            assert_eq!(report.results.tpot.count, 20, "{line}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_is_spoken() {
    let directory = tempfile::tempdir().unwrap();
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (certificate_file, key_file) = (directory.path().join("crt.pem"), directory.path().join("key.pem"));
    std::fs::write(&certificate_file, certified.cert.pem()).unwrap();
    std::fs::write(&key_file, certified.signing_key.serialize_pem()).unwrap();
    let trusted = certificate_file.display().to_string();
    let tls = TlsOptions { certificate_file, key_file, client_ca_file: None };
    let server = start(Options { tls: Some(tls), ..Options::default() }).await;
    let port = server.addr().port();
    for line in ["", "--http2 --stream", "--new-connections"] {
        let common = "--requests 6 --concurrency 2 --warmup 0s --output-tokens 3";
        is_clean(&measure(format!("https://127.0.0.1:{port} {line} {common}")).await, 6);
        let named = format!("https://localhost:{port} --ca-file {trusted} {line} {common}");
        is_clean(&measure(named).await, 6);
    }
    let report =
        measure(format!("https://127.0.0.1:{port} --ca-file {trusted} --requests 1 --warmup 0s")).await;
    assert_eq!(report.results.errors[0].kind, "tls");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_server_shows_in_the_latency_of_all_who_would_have_asked() {
    let server = start(Options::default()).await;
    server.faults().push(Fault::new(Action::Delay { ms: 1000 }).times(1));
    // All forty are to be sent in the 400 ms after the first, which takes a second, and one is in flight at a time.
    let line = "--rate 100 --arrival constant --concurrency 1 --requests 40 --warmup 0s --output-tokens 1";
    let report = measure(format!("http://{} {line}", server.addr())).await;
    is_clean(&report, 40);
    assert!(report.results.e2e.min > 550.0, "{}", report.results.e2e.min);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_answer_is_counted_by_its_kind() {
    let server = start(Options::default()).await;
    let line = "--requests 4 --concurrency 1 --warmup 0s --stream --output-tokens 5 --timeout 300ms";
    for (action, kind) in [
        (Action::Status { code: 503, retry_after_s: None }, "status 503"),
        (Action::Reset, "io"),
        (Action::CloseAfter { chunks: 3 }, "truncated"),
        (Action::Hang, "timeout"),
        (Action::Garbage { bytes: 100 }, "shape"),
    ] {
        server.faults().push(Fault::new(action).times(1));
        let report = measure(format!("http://{} {line}", server.addr())).await;
        assert_eq!((report.results.completed, report.results.failed), (3, 1), "{:?}", report.results.errors);
        assert_eq!(report.results.errors[0].kind, kind);
    }
    let report = measure("http://127.0.0.1:1 --requests 2 --concurrency 1 --warmup 0s".to_owned()).await;
    assert_eq!((report.results.completed, report.results.errors[0].kind.as_str()), (0, "connect"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_was_closed_while_idle_is_replaced() {
    let server = start(Options::default()).await;
    let address = server.addr();
    let line = "--workload sessions --turns 2 --think-time 300ms --prefix-tokens 5 --input-tokens 5";
    let run = tokio::spawn(measure(format!(
        "http://{address} {line} --requests 1 --concurrency 1 --warmup 0s --output-tokens 2"
    )));
    // It dies while the user thinks, and another takes its place.
    server.until(|stats| stats.completed == 1).await;
    server.shutdown();
    server.join().await;
    let _successor = start(Options { listen: address, ..Options::default() }).await;
    let report = run.await.unwrap();
    is_clean(&report, 2);
    assert_eq!(report.results.resent, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_hits_the_prefix_cache_that_it_filled() {
    let server = start(Options { record_requests: 100, ..Options::default() }).await;
    let line = "--workload sessions --turns 3 --think-time 1ms --prefix-tokens 64 --input-tokens 32";
    let report = measure(format!(
        "http://{} {line} --requests 4 --concurrency 2 --warmup 0s --stream --output-tokens 16",
        server.addr()
    ))
    .await;
    is_clean(&report, 12);
    assert!(report.results.input_tokens > 12 * 96, "{}", report.results.input_tokens);
}

#[tokio::test(flavor = "multi_thread")]
async fn traces_are_replayed_to_their_end_and_leave_their_files() {
    let server = start(Options::default()).await;
    let data = format!("{}/tests/data", env!("CARGO_MANIFEST_DIR"));
    let out = tempfile::tempdir().unwrap();
    let out = out.path().display();
    for trace in [
        "mooncake --trace DATA/mooncake_conversation_excerpt.jsonl",
        "azure --trace DATA/azure_code_excerpt.csv",
    ] {
        let trace = trace.replace("DATA", &data);
        let files = format!("--json {out}/r.json --csv {out}/r.csv --html {out}/r.html");
        let report =
            measure(format!("http://{} --workload {trace} --time-scale 1000 {files}", server.addr())).await;
        is_clean(&report, 40);
        let read: Report =
            serde_json::from_str(&std::fs::read_to_string(format!("{out}/r.json")).unwrap()).unwrap();
        assert_eq!(read.schema, report::schema::LOAD_SCHEMA);
        assert_eq!(read.results.output_tokens, report.results.output_tokens);
        assert_eq!(std::fs::read_to_string(format!("{out}/r.csv")).unwrap().lines().count(), 41);
        assert!(report::block(&read).starts_with("============ Serving Benchmark Result ============\n"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_can_be_cut_at_the_end_and_the_process_accounted_for() {
    let mut options = Options::default();
    options.latency.inter_token_latency = Duration::from_millis(5);
    let server = start(options).await;
    let line = "--stream --output-tokens 100000 --concurrency 3 --duration 500ms --warmup 100ms --cut";
    let report = measure(format!("http://{} {line} --account {}", server.addr(), std::process::id())).await;
    assert_eq!((report.results.completed, report.results.failed), (0, 0));
    let process = report.process.unwrap();
    assert!(process.window_tokens > 0 && process.rss_peak_bytes > 0);
    assert!(process.cpu_us_per_request.is_none());
}
