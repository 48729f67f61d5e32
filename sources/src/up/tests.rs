use std::collections::HashMap;

use futures::FutureExt as _;
use futures::channel::mpsc;
use futures::future::BoxFuture;
use http::StatusCode;
use parking_lot::Mutex;
use penstock_config::{
    Action, Credential, CredentialSource, Lookup, ModelEntry, NoProfileCheck, RequestModel, RouteRequest,
    Shown,
};
use proptest::prelude::*;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::*;

mod hosted;
mod polling;

/// Model servers by their addresses. Where there is none, nothing listens.
#[derive(Default)]
struct Servers {
    plain: Mutex<HashMap<SocketAddr, (u16, String)>>,
    /// Those that speak TLS, and whether their certificate is trusted.
    tls: Mutex<HashMap<SocketAddr, (bool, String)>>,
    /// What each request showed, and over what.
    shown: Mutex<Vec<(ProbeTransport, Option<String>)>>,
    /// The paths that were asked for.
    asked: Mutex<Vec<String>>,
}

impl Servers {
    /// A server that answers every request alike. Returns its URL.
    fn add(&self, address: &str, status: u16, body: impl Into<String>) -> String {
        self.plain.lock().insert(address.parse().unwrap(), (status, body.into()));
        format!("http://{address}")
    }

    /// A server of `models`; `child<parent` is an adapter.
    fn serve(&self, address: &str, models: &[&str]) -> String {
        self.add(address, 200, listing(models))
    }

    fn remove(&self, url: &str) {
        self.plain.lock().remove(&url.strip_prefix("http://").unwrap().parse().unwrap());
    }

    fn source(self: &Arc<Self>, urls: &[&str], models: &[&str], key: Option<&str>) -> UpSource {
        let named = |text: &&str| {
            let (model, url) = text.split_once('=').unwrap();
            (model.to_owned(), url.parse().unwrap())
        };
        let options = UpOptions {
            urls: urls.iter().map(|url| url.parse().unwrap()).collect(),
            models: models.iter().map(named).collect(),
            hosted: Vec::new(),
            listen: "127.0.0.1:0".parse().unwrap(),
            admin_listen: "127.0.0.1:0".parse().unwrap(),
            timeout: Duration::from_secs(30),
            key: key.map(|key| ApiKey::from_text(key).unwrap()),
        };
        UpSource::new(options, self.clone(), Arc::new(NoProfileCheck))
    }

    /// What is served, and what is wrong with servers.
    async fn start(self: &Arc<Self>, urls: &[&str]) -> (Arc<Snapshot>, Vec<String>) {
        let (snapshot, problems) = self.source(urls, &[], None).start().await.unwrap();
        (snapshot.expect("something to serve"), problems)
    }
}

impl Probe for Servers {
    fn get<'a>(&'a self, request: ProbeRequest<'a>) -> BoxFuture<'a, Result<ProbeAnswer, ProbeError>> {
        let shown = request.headers.first().map(|(_, value)| value.to_str().unwrap().to_owned());
        self.asked.lock().push(request.path.to_owned());
        self.shown.lock().push((request.transport, shown));
        let (plain, tls) = (self.plain.lock(), self.tls.lock());
        let answer = match (request.transport, plain.get(&request.address), tls.get(&request.address)) {
            (_, None, None) => Err(ProbeError::Refused),
            (ProbeTransport::Plain, Some((status, body)), _) if body.len() <= request.limit_bytes => {
                Ok((*status, body.clone()))
            }
            (ProbeTransport::UnverifiedTls, _, Some((_, body)))
            | (ProbeTransport::Tls, _, Some((true, body))) => Ok((200, body.clone())),
            _ => Err(ProbeError::Failed("broke off".to_owned())),
        };
        let answer = answer.map(|(status, body)| ProbeAnswer {
            status: StatusCode::from_u16(status).unwrap(),
            body: body.into_bytes(),
        });
        std::future::ready(answer).boxed()
    }
}

fn listing(models: &[&str]) -> String {
    let entry = |model: &&str| match model.split_once('<') {
        Some((id, parent)) => json!({ "id": id, "parent": parent, "owned_by": "vllm" }),
        None => json!({ "id": model, "parent": null, "owned_by": "vllm" }),
    };
    json!({ "object": "list", "data": models.iter().map(entry).collect::<Vec<_>>() }).to_string()
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// The endpoints of each pool.
fn pools(snapshot: &Snapshot) -> HashMap<String, Vec<SocketAddr>> {
    let addresses = |pool: &penstock_config::PoolSpec| pool.endpoints.iter().map(|of| of.address).collect();
    snapshot.pools.iter().map(|pool| (pool.name.to_string(), addresses(pool))).collect()
}

fn models(snapshot: &Snapshot) -> Vec<&ModelEntry> {
    snapshot.models(penstock_config::ListenerIndex(0), "any.test")
}

fn ids(snapshot: &Snapshot) -> Vec<&str> {
    let mut ids: Vec<&str> = models(snapshot).iter().map(|model| &*model.id).collect();
    ids.sort_unstable();
    ids
}

/// Whether a request without a model is forwarded.
fn serves_without_model(snapshot: &Snapshot, path: &str) -> bool {
    let request = RouteRequest {
        host: "any.test",
        path,
        query: None,
        method: &http::Method::GET,
        headers: &http::HeaderMap::new(),
        model: RequestModel::Absent,
    };
    match snapshot.route(penstock_config::ListenerIndex(0), &request) {
        Lookup::Rule(matched) => matches!(matched.rule.action, Action::Forward(_)),
        _ => false,
    }
}

#[tokio::test]
async fn models_of_the_same_servers_share_a_pool() {
    let servers = Arc::new(Servers::default());
    let llama = ["meta-llama/Llama-3.1-8B-Instruct", "a-lora<meta-llama/Llama-3.1-8B-Instruct"];
    let a = servers.serve("10.0.0.1:8000", &llama);
    let b = servers.serve("10.0.0.2:8000", &llama);
    let c = servers.serve("10.0.0.3:8000", &["mistral:latest"]);
    let (snapshot, problems) = servers.start(&[&a, &b, &c]).await;
    assert!(problems.is_empty(), "{problems:?}");
    let expected = [
        ("meta-llama-llama-3.1-8b-instruct", vec![address("10.0.0.1:8000"), address("10.0.0.2:8000")]),
        ("mistral-latest", vec![address("10.0.0.3:8000")]),
    ];
    assert_eq!(pools(&snapshot), expected.map(|(name, endpoints)| (name.to_owned(), endpoints)).into());
    assert_eq!(ids(&snapshot), ["a-lora", "meta-llama/Llama-3.1-8B-Instruct", "mistral:latest"]);
}

#[tokio::test]
async fn an_adapter_that_only_some_servers_have_is_a_pool_of_its_own() {
    let servers = Arc::new(Servers::default());
    let a = servers.serve("10.0.0.1:8000", &["base", "lora<base"]);
    let b = servers.serve("10.0.0.2:8000", &["base"]);
    let (snapshot, _) = servers.start(&[&a, &b]).await;
    let pools = pools(&snapshot);
    assert_eq!(pools["base"], [address("10.0.0.1:8000"), address("10.0.0.2:8000")]);
    assert_eq!(pools["lora"], [address("10.0.0.1:8000")]);
}

#[tokio::test]
async fn pools_whose_models_differ_in_other_letters_are_told_apart() {
    let servers = Arc::new(Servers::default());
    let of = ["a/b", "a:b", "A b", "//", "a-b-2"];
    let urls: Vec<String> =
        of.iter().zip(1..).map(|(model, n)| servers.serve(&format!("10.0.0.{n}:80"), &[model])).collect();
    let urls: Vec<&str> = urls.iter().map(String::as_str).collect();
    let (snapshot, _) = servers.start(&urls).await;
    let names: Vec<String> = pools(&snapshot).into_keys().collect();
    assert_eq!(names.len(), 5, "{names:?}");
    assert!(names.iter().all(|name| name == "model" || name.starts_with("a-b")), "{names:?}");
    assert_eq!(ids(&snapshot).len(), 5);
}

#[tokio::test]
async fn servers_of_one_set_of_models_get_what_names_none_too() {
    let servers = Arc::new(Servers::default());
    let a = servers.serve("10.0.0.1:8000", &["base", "lora<base"]);
    let b = servers.serve("10.0.0.2:8000", &["base", "lora<base"]);
    let c = servers.serve("10.0.0.3:8000", &["other"]);
    let (one, _) = servers.start(&[&a, &b]).await;
    for path in ["/health", "/docs", "/v1/files", "/v1/batches"] {
        assert!(serves_without_model(&one, path), "{path}");
    }
    let (several, _) = servers.start(&[&a, &b, &c]).await;
    assert!(!serves_without_model(&several, "/health"), "nobody knows for which of them it is meant");
}

#[tokio::test]
async fn what_servers_say_of_a_model_is_kept() {
    let servers = Arc::new(Servers::default());
    let entry = |created: Value, max_model_len: Value| {
        json!({ "data": [
            { "id": "base", "created": created, "owned_by": "vllm", "root": "/weights", "parent": null, "max_model_len": max_model_len },
            { "id": "lora", "owned_by": "x".repeat(2000), "root": 7, "parent": "base", "max_model_len": -1 },
        ]})
        .to_string()
    };
    let a = servers.add("10.0.0.1:8000", 200, entry(json!(1_700_000_100), json!(8192)));
    let b = servers.add("10.0.0.2:8000", 200, entry(json!(1_700_000_000), json!(4096)));
    let (snapshot, _) = servers.start(&[&a, &b]).await;
    let models: Vec<Value> = models(&snapshot).iter().map(|model| model.to_json()).collect();
    assert_eq!(
        models,
        [
            json!({
                "id": "base", "object": "model", "created": 1_700_000_000, "owned_by": "vllm",
                "root": "/weights", "max_model_len": 4096,
            }),
            json!({ "id": "lora", "object": "model", "created": 0, "owned_by": "penstock", "parent": "base" }),
        ]
    );
}

#[tokio::test]
async fn a_server_that_cannot_be_used_is_reported_and_left_out() {
    let servers = Arc::new(Servers::default());
    servers.tls.lock().insert(address("10.0.0.8:8000"), (true, listing(&["m"])));
    servers.tls.lock().insert(address("10.0.0.9:8000"), (false, listing(&["m"])));
    servers.serve("10.0.0.10:8000", &["m"]);
    let bad = [
        (servers.add("10.0.0.1:8000", 500, ""), "answered 500"),
        (servers.add("10.0.0.2:8000", 401, ""), "--api-key-file"),
        (servers.add("10.0.0.3:8000", 200, "<html>"), "something other than OpenAI's list"),
        (servers.add("10.0.0.4:8000", 200, r#"{"data":[]}"#), "lists no model"),
        (servers.add("10.0.0.5:8000", 200, "x".repeat(5 << 20)), "broke off"),
        ("http://10.0.0.6:8000".to_owned(), "nothing listens on port 8000"),
        ("http://10.0.0.8:8000".to_owned(), "it speaks TLS on this port: write https://10.0.0.8:8000"),
        ("https://10.0.0.9:8000".to_owned(), "SSL_CERT_FILE"),
        ("https://10.0.0.10:8000".to_owned(), "does not speak TLS on this port: write http://10.0.0.10:8000"),
    ];
    let good = servers.serve("10.0.0.7:8000", &["m"]);
    let urls: Vec<&str> = bad.iter().map(|(url, _)| url.as_str()).chain([good.as_str()]).collect();
    let (snapshot, problems) = servers.start(&urls).await;
    assert_eq!(pools(&snapshot), HashMap::from([("m".to_owned(), vec![address("10.0.0.7:8000")])]));
    assert_eq!(problems.len(), bad.len(), "{problems:?}");
    for ((url, words), problem) in bad.iter().zip(&problems) {
        assert!(problem.starts_with(&format!("{url}: ")) && problem.contains(words), "{problem}");
    }
}

#[tokio::test]
async fn a_name_that_no_document_can_have_is_left_out_alone() {
    let servers = Arc::new(Servers::default());
    let url = servers.serve("10.0.0.1:8000", &["good", "bad\nname", ""]);
    let (snapshot, problems) = servers.start(&[&url]).await;
    assert_eq!(ids(&snapshot), ["good"]);
    assert_eq!(problems.len(), 2, "{problems:?}");
    assert!(problems[0].starts_with(&url) && problems[0].contains(r#""bad\nname""#), "{problems:?}");
}

#[tokio::test]
async fn without_a_server_that_waiting_could_bring_there_is_nothing_to_serve() {
    let servers = Arc::new(Servers::default());
    let protected = servers.add("10.0.0.1:8000", 401, "");
    let error = servers.source(&[&protected], &[], None).start().await.unwrap_err();
    let UpError::NoServer(reasons) = &error else { panic!("{error:?}") };
    assert!(reasons[0].starts_with(&protected), "{reasons:?}");

    let urls = [&*protected, "http://10.0.0.2:8000", "http://does.not.exist.invalid"];
    let mut source = servers.source(&urls, &[], None);
    let (snapshot, problems) = source.start().await.unwrap();
    assert!(snapshot.is_none() && problems.len() == 3, "{problems:?}");
    assert!(problems[2].contains("cannot resolve the name"), "{problems:?}");
    let waits_for = source.status().get().waits_for.unwrap();
    assert!(urls.iter().all(|url| waits_for.contains(url)), "{waits_for}");
}

#[tokio::test]
async fn a_server_whose_model_is_given_is_not_asked() {
    let given = ["m=http://127.0.0.1:9", "m=https://127.0.0.2", "m=https://localhost:9443"];
    let servers = Arc::new(Servers::default());
    let (document, problems) = servers.source(&[], &given, None).discover().await.unwrap();
    let document = document.unwrap();
    assert!(problems.is_empty() && servers.shown.lock().is_empty(), "{problems:?}");
    let snapshot = Snapshot::compile(&document, &NoProfileCheck).unwrap();
    assert_eq!(ids(&snapshot), ["m"]);
    let pools = pools(&snapshot);
    assert_eq!(pools["m"], [address("127.0.0.1:9")]);
    assert_eq!(pools["m-2"], [address("127.0.0.2:443")], "TLS takes a pool of its own");
    assert!(pools["m-3"].iter().all(|address| address.port() == 9443), "a name of its own another");
    assert!(document.contains("sni: localhost"), "{document}");
    let error = servers.source(&[], &["m=http://does.not.exist.invalid"], None).start().await.unwrap_err();
    assert!(matches!(error, UpError::Unresolved(_)), "{error:?}");
}

#[tokio::test]
async fn a_key_is_shown_to_servers_and_requests_get_it_from_a_file() {
    let servers = Arc::new(Servers::default());
    let url = servers.serve("10.0.0.1:8000", &["m"]);
    let mut source = servers.source(&[&url], &[], Some("sk-1"));
    let (document, _) = source.discover().await.unwrap();
    let document = document.unwrap();
    assert_eq!(*servers.shown.lock(), [(ProbeTransport::Plain, Some("Bearer sk-1".to_owned()))]);
    assert!(!document.contains("sk-1"), "{document}");
    let snapshot = Snapshot::compile(&document, &NoProfileCheck).unwrap();
    let Credential { shown, source, .. } = snapshot.pools[0].credential.as_ref().unwrap();
    let CredentialSource::Key(file) = source else { panic!("{source:?}") };
    assert_eq!(*shown, Shown::Header { name: http::header::AUTHORIZATION, prefix: "Bearer ".into() });
    assert_eq!(std::fs::read_to_string(file).unwrap(), "sk-1");
}

#[tokio::test]
async fn finding_out_what_is_wrong_shows_nobody_the_key() {
    let servers = Arc::new(Servers::default());
    servers.serve("10.0.0.1:8000", &["m"]);
    servers.tls.lock().insert(address("10.0.0.2:8000"), (false, listing(&["m"])));
    let urls = ["https://10.0.0.1:8000", "https://10.0.0.2:8000"];
    let error = servers.source(&urls, &[], Some("sk-1")).start().await.unwrap_err();
    assert!(matches!(error, UpError::NoServer(_)), "{error:?}");
    for (transport, shown) in &*servers.shown.lock() {
        assert_eq!(shown.is_some(), *transport == ProbeTransport::Tls, "{transport:?}");
    }
}

/// What took minutes when each model was compared with each other.
#[tokio::test]
async fn twenty_thousand_models_are_one_document() {
    let servers = Arc::new(Servers::default());
    let names: Vec<String> = (0..20_000).map(|n| format!("model-{n}<model-0")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let a = servers.serve("10.0.0.1:8000", &names);
    let b = servers.serve("10.0.0.2:8000", &names[..10_000]);
    let (snapshot, problems) = servers.start(&[&a, &b]).await;
    assert!(problems.is_empty(), "{problems:?}");
    assert_eq!((snapshot.pools.len(), ids(&snapshot).len()), (2, 20_000));
    assert!(snapshot.rules().iter().all(|rule| rule.models.len() <= 1024));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever servers answer, the document is sound and has all models with a sound name.
    #[test]
    fn every_list_makes_a_sound_document(lists in prop::collection::vec(prop::collection::vec("\\PC{0,12}|[a-c/.-]{0,4}|\\x00", 1..6), 1..4)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let servers = Arc::new(Servers::default());
            let serve = |(index, models): (usize, &Vec<String>)| {
                let entries: Vec<Value> = models.iter().map(|id| json!({ "id": id, "parent": models[0] })).collect();
                servers.add(&format!("10.0.0.{index}:80"), 200, json!({ "data": entries }).to_string())
            };
            let urls: Vec<String> = lists.iter().enumerate().map(serve).collect();
            let urls: Vec<&str> = urls.iter().map(String::as_str).collect();
            let (snapshot, _) = servers.source(&urls, &[], None).start().await.unwrap();
            let mut sound: Vec<&str> = lists.iter().flatten().map(String::as_str).filter(|id| penstock_config::check_model_name(id).is_ok()).collect();
            sound.sort_unstable();
            sound.dedup();
            assert_eq!(snapshot.as_ref().map(|snapshot| ids(snapshot)).unwrap_or_default(), sound);
        });
    }
}
