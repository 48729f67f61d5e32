//! What a real Prometheus makes of the metrics: `promtool` finds nothing to mend, the queries of dashboards have answers, and
//! alerts fire when they should.

use std::io::Write as _;
use std::net::TcpListener;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{
    Gateway, Protocol, RawServer, RefusedPort, Task, backend, chat, eventually, pool, post_json, sim, spawn,
    with,
};

/// The queries of Envoy AI Gateway's dashboard, panel by panel, as they are.
const THEIRS: [(&str, &str); 16] = [
    ("Total Requests", "sum(gen_ai_server_request_duration_seconds_count)"),
    ("Total Tokens", "sum(gen_ai_client_token_usage_sum{gen_ai_token_type=~\"input|output\"})"),
    (
        "P95 Time to First Token",
        "histogram_quantile(0.95, sum(rate(gen_ai_server_time_to_first_token_seconds_bucket[15m])) by (le))",
    ),
    (
        "P95 Request Duration",
        "histogram_quantile(0.95, sum(rate(gen_ai_server_request_duration_seconds_bucket[15m])) by (le))",
    ),
    ("Token Usage by Type", "sum by (gen_ai_token_type) (gen_ai_client_token_usage_sum)"),
    (
        "Request Duration Percentiles",
        "histogram_quantile(0.50, sum(rate(gen_ai_server_request_duration_seconds_bucket[1m])) by (le))",
    ),
    (
        "Request Duration Percentiles",
        "histogram_quantile(0.99, sum(rate(gen_ai_server_request_duration_seconds_bucket[1m])) by (le))",
    ),
    (
        "Time to First Token",
        "histogram_quantile(0.95, sum(rate(gen_ai_server_time_to_first_token_seconds_bucket[1m])) by (le))",
    ),
    (
        "Time per Output Token",
        "histogram_quantile(0.95, sum(rate(gen_ai_server_time_per_output_token_seconds_bucket[1m])) by (le))",
    ),
    (
        "Requests by Original Model vs Response Model",
        "sum by (gen_ai_original_model, gen_ai_response_model, gen_ai_provider_name) \
         (gen_ai_server_request_duration_seconds_count)",
    ),
    ("Request Throughput", "sum(rate(gen_ai_server_request_duration_seconds_count[1m]))"),
    ("Token Consumption Rate", "sum by (gen_ai_token_type) (rate(gen_ai_client_token_usage_sum[1m]))"),
    (
        "Error Rate",
        "sum(gen_ai_server_request_duration_seconds_count{error_type!=\"\"}) / \
         sum(gen_ai_server_request_duration_seconds_count)",
    ),
    (
        "Success Rate by Model",
        "1 - ((sum by (gen_ai_original_model) (gen_ai_server_request_duration_seconds_count{error_type!=\"\"})) or (sum by \
         (gen_ai_original_model) (gen_ai_server_request_duration_seconds_count) * 0)) / sum by (gen_ai_original_model) \
         (gen_ai_server_request_duration_seconds_count)",
    ),
    (
        "OpenTelemetry's",
        "sum by (gen_ai_provider_name, error_type) (rate(gen_ai_client_operation_duration_seconds_count[1m]))",
    ),
    (
        "Request Duration Percentiles",
        "histogram_quantile(0.95, sum(rate(gen_ai_server_request_duration_seconds_bucket[1m])) by (le))",
    ),
];

/// Panels of the chart's dashboard that are empty while all is well.
const OF_TROUBLE: [&str; 5] = [
    "Wait for a free endpoint, p95",
    "Retries, by what had failed",
    "Ejections and failed scrapes",
    "Picks that found no endpoint",
    "Limits hit",
];

/// A Prometheus that scrapes one page each second.
struct Prometheus {
    child: Child,
    url: String,
    _folder: TempDir,
}

impl Prometheus {
    fn start(scraped: std::net::SocketAddr) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = json!({
            "global": {"scrape_interval": "1s"},
            "scrape_configs": [{"job_name": "penstock", "static_configs": [{
                "targets": [scraped.to_string()],
                "labels": {"namespace": "default", "pod": "gateway"},
            }]}],
        });
        let file = folder.path().join("prometheus.yaml");
        std::fs::write(&file, config.to_string()).unwrap();
        // Whoever takes the port meanwhile makes the test fail, and not pass.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .arg("--log.level=error")
            .stdout(Stdio::null())
            .spawn()
            .expect("prometheus is missing: scripts/setup.sh installs it");
        Self { child, url: format!("http://{address}"), _folder: folder }
    }

    /// What a query comes to, a line for each series that has a number; none before it is up.
    ///
    /// # Panics
    /// The query itself is wrong.
    async fn query(&self, query: &str) -> Vec<String> {
        let arguments = ["query", "instant", &self.url, query].map(str::to_owned);
        let output = run(move || Command::new("promtool").args(arguments).output()).await;
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() || error.contains("connection refused"), "{query}: {error}");
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines()
            .filter(|line| line.contains("=>") && !line.contains("=> NaN"))
            .map(str::to_owned)
            .collect()
    }

    /// What it comes to once there is something.
    async fn answer(&self, panel: &str, query: &str) -> Vec<String> {
        for _ in 0..240 {
            let found = self.query(query).await;
            if !found.is_empty() {
                return found;
            }
            tokio::time::sleep(std::time::Duration::from_millis(250)).await;
        }
        panic!("{panel}: there is nothing in {query}");
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ended = self.child.kill().and_then(|()| self.child.wait());
    }
}

async fn run(command: impl FnOnce() -> std::io::Result<Output> + Send + 'static) -> Output {
    let output = tokio::task::spawn_blocking(command).await.unwrap();
    output.expect("promtool is missing: scripts/setup.sh installs it")
}

/// A gateway, and those who ask it as long as the task is kept: streams, whole answers, and a backend that is gone.
async fn busy() -> (Arc<Gateway>, Task<()>) {
    let server = sim("m").await;
    let document = json!({
        "telemetry": {"genAiMetrics": ["OpenTelemetry", "EnvoyAIGateway"]},
        "prices": [{"models": ["*"], "input": "1", "output": "2"}],
        "policies": [{"name": "p", "limits": [{"name": "l", "amount": 1_000_000, "window": {"fixed": "1h"}}]}],
        "listeners": [{"name": "http", "address": "127.0.0.1:0", "policies": ["p"]}],
        "routes": [{"name": "r", "rules": [
            {"models": ["m"], "targets": [{"pool": "servers"}]},
            {"models": ["gone"], "targets": [{"backend": "nobody"}]},
        ]}],
        "pools": [with(pool("servers", &[server.addr()]), json!({"metrics": {"enabled": true}}))],
        "backends": [backend("nobody", &[RefusedPort::take().addr()])],
    });
    let gateway = Arc::new(Gateway::start(document).await);
    let asked = gateway.clone();
    let load = spawn(async move {
        let _server = server;
        let mut client = asked.client(Protocol::H1).await;
        // A prompt of several blocks, so that there are some that a server may hold.
        let long = "Why is the sky blue? ".repeat(150);
        loop {
            for (model, is_stream) in [("m", true), ("m", false), ("gone", false)] {
                let prompt = json!({"messages": [{"role": "user", "content": long}]});
                let body = with(chat(model, is_stream), prompt);
                let status = client.send(post_json("/v1/chat/completions", &body)).await.status;
                assert_eq!(status == 200, model == "m", "{model}: {status}");
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    });
    (gateway, load)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queries_of_dashboards_have_answers() {
    let (gateway, _load) = busy().await;
    let scraped = gateway.clone();
    let page = RawServer::start(move |mut connection| {
        let scraped = scraped.clone();
        async move {
            while connection.request().await.is_some() {
                let page = scraped.metrics();
                let head = "HTTP/1.1 200 OK\r\ncontent-type: text/plain; version=0.0.4\r\n";
                connection.send(format!("{head}content-length: {}\r\n\r\n{page}", page.len())).await;
            }
        }
    })
    .await;
    let prometheus = Prometheus::start(page.addr());
    for (panel, query) in THEIRS {
        prometheus.answer(panel, query).await;
    }
    let success = prometheus.answer("Success Rate by Model", THEIRS[13].1).await;
    let of =
        |model: &str| success.iter().find(|line| line.contains(&format!("\"{model}\""))).unwrap().clone();
    assert!(of("m").contains("=> 1 @") && of("gone").contains("=> 0 @"), "{success:?}");

    let chart = concat!(env!("CARGO_MANIFEST_DIR"), "/../helm/penstock/files/dashboards/gateway.json");
    let dashboard: Value = serde_json::from_str(&std::fs::read_to_string(chart).unwrap()).unwrap();
    for panel in dashboard["panels"].as_array().unwrap() {
        let title = panel["title"].as_str().unwrap();
        for target in panel["targets"].as_array().into_iter().flatten() {
            let query = target["expr"].as_str().unwrap();
            let query = query
                .replace("$__rate_interval", "1m")
                .replace("$namespace", ".*")
                .replace("$upstream", ".*");
            assert!(!query.contains('$'), "{title}: {query}");
            match OF_TROUBLE.contains(&title) {
                true => drop(prometheus.query(&query).await),
                false => drop(prometheus.answer(title, &query).await),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn promtool_has_nothing_to_mend() {
    let (gateway, _load) = busy().await;
    eventually("requests", || {
        (gateway.metric("gen_ai_client_operation_duration_seconds_count", &[]) >= 3.0).then_some(())
    })
    .await;
    let page = gateway.metrics();
    let output = run(move || {
        let mut child = Command::new("promtool")
            .args(["check", "metrics"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        child.stdin.take().unwrap().write_all(page.as_bytes())?;
        child.wait_with_output()
    })
    .await;
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success() && said.is_empty(), "{}", String::from_utf8_lossy(&said));
}

fn of_project(path: &str) -> String {
    format!("{}/../{path}", env!("CARGO_MANIFEST_DIR"))
}

/// The names in a text that begin with the project's.
fn metrics_in(text: &str) -> impl Iterator<Item = &str> {
    let words = text.split(|char: char| !char.is_ascii_alphanumeric() && char != '_');
    words.filter(|word| word.starts_with("penstock_"))
}

#[tokio::test]
async fn alerts_fire_when_they_should_and_their_metrics_exist() {
    let output = run(|| {
        Command::new("promtool").args(["test", "rules", &of_project("proxy/tests/alerts.yaml")]).output()
    })
    .await;
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&said));

    let rules = std::fs::read_to_string(of_project("helm/penstock/files/alerts/penstock.yaml")).unwrap();
    let tests = std::fs::read_to_string(of_project("proxy/tests/alerts.yaml")).unwrap();
    let runbooks = std::fs::read_to_string(of_project("docs/runbooks.md")).unwrap();
    let alerts: Vec<&str> = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(!alerts.is_empty());
    for alert in alerts {
        assert!(tests.contains(&format!("alertname=\"{alert}\"")), "{alert} was never seen to fire");
        assert!(
            runbooks.contains(&format!("\n## {alert}\n")),
            "docs/runbooks.md does not say what to do: {alert}"
        );
    }
    let made: String = ["proxy/src/metrics", "proxy/src/kubernetes", "proxy/src", "operator/src"]
        .iter()
        .filter_map(|folder| std::fs::read_dir(of_project(folder)).ok())
        .flatten()
        .map(|file| file.unwrap().path())
        .filter(|file| file.extension().is_some_and(|extension| extension == "rs"))
        .map(|file| std::fs::read_to_string(file).unwrap())
        .collect();
    for expression in rules.lines().filter(|line| line.trim().starts_with("expr: ")) {
        for metric in metrics_in(expression) {
            let name = metric.trim_end_matches("_bucket");
            assert!(made.contains(&format!("\"{name}\"")), "nobody makes {name}: {expression}");
        }
    }
}
