//! Hosted APIs: how they are asked, and which names lead to which of them.

use penstock_config::{Destination, Provider, Upstream};

use super::polling::Polling;
use super::*;

/// A hosted API of the provider's at this address, with the key `sk-NAME`.
fn of(name: &'static str, provider: Provider, url: &str) -> Hosted {
    let key = ("NAME_API_KEY", ApiKey::from_text(&format!("sk-{name}")).unwrap());
    Hosted::new((name, HostedApi::Of(provider)), Some(url.parse().unwrap()), key, Vec::new())
}

fn bedrock(base: Option<BaseUrl>, models: &[&str]) -> Hosted {
    let key = ("AWS_ACCESS_KEY_ID", ApiKey::of_aws("AKIA1", "geheim", Some("token")).unwrap());
    let api = HostedApi::Bedrock { region: "eu-west-1".to_owned(), is_signed: true };
    Hosted::new(("bedrock", api), base, key, models.iter().map(|&model| model.to_owned()).collect())
}

fn source(servers: &Arc<Servers>, urls: &[&str], hosted: Vec<Hosted>) -> UpSource {
    let options = UpOptions {
        urls: urls.iter().map(|url| url.parse().unwrap()).collect(),
        models: Vec::new(),
        hosted,
        listen: "127.0.0.1:0".parse().unwrap(),
        admin_listen: "127.0.0.1:0".parse().unwrap(),
        timeout: Duration::from_secs(30),
        key: None,
    };
    UpSource::new(options, servers.clone(), Arc::new(NoProfileCheck))
}

async fn discover(mut source: UpSource) -> (Value, Snapshot, Vec<String>) {
    let (document, problems) = source.discover().await.unwrap();
    let document = document.expect("something to serve");
    assert!(!document.contains("sk-") && !document.contains("geheim"), "{document}");
    let snapshot = Snapshot::compile(&document, &NoProfileCheck).unwrap();
    (serde_saphyr::from_str(&document).unwrap(), snapshot, problems)
}

/// Where a request for this model goes, and the name that the model has there.
fn goes_to(snapshot: &Snapshot, model: &str) -> Option<(String, String)> {
    let request = RouteRequest {
        host: "any.test",
        path: "/v1/chat/completions",
        query: None,
        method: &http::Method::POST,
        headers: &http::HeaderMap::new(),
        model: RequestModel::Named(model),
    };
    let Lookup::Rule(matched) = snapshot.route(penstock_config::ListenerIndex(0), &request) else {
        return None;
    };
    let Action::Forward(tiers) = &matched.rule.action else { return None };
    let target = &tiers[0].targets[0];
    let name = match target.destination {
        Destination::Upstream(Upstream::Pool(pool)) => snapshot.pools[pool.0].name.to_string(),
        Destination::Upstream(Upstream::Backend(backend)) => snapshot.backends[backend.0].name.to_string(),
        Destination::Status(status) | Destination::Closed(status) => status.to_string(),
    };
    Some((name, target.model_override.as_deref().unwrap_or(model).to_owned()))
}

/// Asserts where models go: `model -> upstream as name`.
fn assert_goes(snapshot: &Snapshot, cases: &[(&str, &str, &str)]) {
    for (model, upstream, name) in cases {
        let found = goes_to(snapshot, model);
        assert_eq!(found, Some(((*upstream).to_owned(), (*name).to_owned())), "{model}");
    }
}

#[tokio::test]
async fn each_is_asked_in_its_own_way_and_serves_what_it_lists() {
    let servers = Arc::new(Servers::default());
    let openai = servers.serve("10.0.0.1:80", &["gpt-x", "whisper-1"]);
    let anthropic = servers.add(
        "10.0.0.2:80",
        200,
        r#"{"data":[{"type":"model","id":"claude-x-1","display_name":"X"}]}"#,
    );
    let gemini = servers.add("10.0.0.3:80", 200, r#"{"models":[{"name":"models/gemini-x","version":"1"}]}"#);
    let together = servers.add("10.0.0.4:80", 200, r#"[{"id":"meta-llama/L-70B","object":"model"}]"#);
    let hosted = vec![
        of("openai", Provider::OpenAI, &format!("{openai}/ours/v1")),
        of("anthropic", Provider::Anthropic, &format!("{anthropic}/ours")),
        of("gemini", Provider::Gemini, &gemini),
        of("together", Provider::Together, &together),
    ];
    let (_, snapshot, problems) = discover(source(&servers, &[], hosted)).await;
    assert!(problems.is_empty(), "{problems:?}");
    assert_eq!(
        *servers.asked.lock(),
        ["/ours/v1/models", "/ours/v1/models?limit=1000", "/v1beta/models?pageSize=1000", "/v1/models"]
    );
    let shown: Vec<_> = servers.shown.lock().iter().map(|(_, shown)| shown.clone().unwrap()).collect();
    assert_eq!(shown, ["Bearer sk-openai", "sk-anthropic", "sk-gemini", "Bearer sk-together"]);
    assert_goes(
        &snapshot,
        &[
            ("gpt-x", "openai", "gpt-x"),
            ("openai/gpt-x", "openai", "gpt-x"),
            ("anthropic/claude-x-1", "anthropic", "claude-x-1"),
            ("gemini-x", "gemini", "gemini-x"),
            ("meta-llama/L-70B", "together", "meta-llama/L-70B"),
            ("together/meta-llama/L-70B", "together", "meta-llama/L-70B"),
            // Of the providers' own forms, whether listed or not.
            ("claude-x-latest", "anthropic", "claude-x-latest"),
            ("o3", "openai", "o3"),
            ("o3-mini", "openai", "o3-mini"),
            ("gemini-y", "gemini", "gemini-y"),
        ],
    );
    assert_eq!(goes_to(&snapshot, "openai/unknown"), None);
    assert_eq!(goes_to(&snapshot, "olmo"), None);
    let listed = ids(&snapshot);
    assert!(listed.contains(&"whisper-1") && listed.contains(&"anthropic/claude-x-1"), "{listed:?}");
    let prefixes: Vec<_> = snapshot
        .backends
        .iter()
        .map(|backend| backend.api.as_ref().and_then(|api| api.prefix.as_deref()))
        .collect();
    assert_eq!(prefixes, [Some("ours/v1"), Some("ours/v1"), None, None]);
    let headers: Vec<_> = snapshot
        .backends
        .iter()
        .map(|backend| match &backend.credential.as_ref().unwrap().shown {
            Shown::Header { name, .. } => name.to_string(),
            Shown::Aws { .. } => panic!("not AWS's"),
        })
        .collect();
    assert_eq!(headers, ["authorization", "x-api-key", "x-goog-api-key", "authorization"]);
}

#[tokio::test]
async fn of_a_name_that_several_have_servers_come_first_then_prefixes_then_the_order() {
    let servers = Arc::new(Servers::default());
    let own = servers.serve("10.0.0.1:80", &["openai/gpt-oss", "gpt-own"]);
    let router = servers.serve("10.0.0.2:80", &["openai/gpt-x", "openai/gpt-oss", "gpt-own", "both"]);
    let openai = servers.serve("10.0.0.3:80", &["gpt-x", "gpt-oss", "both"]);
    let hosted = vec![
        of("openrouter", Provider::OpenRouter, &format!("{router}/api/v1")),
        of("openai", Provider::OpenAI, &openai),
    ];
    let (_, snapshot, _) = discover(source(&servers, &[&own], hosted)).await;
    assert_goes(
        &snapshot,
        &[
            ("openai/gpt-oss", "gpt-own", "openai/gpt-oss"),
            ("gpt-own", "gpt-own", "gpt-own"),
            ("openai/gpt-x", "openai", "gpt-x"),
            ("both", "openrouter", "both"),
            ("openai/both", "openai", "both"),
            ("openrouter/openai/gpt-x", "openrouter", "openai/gpt-x"),
        ],
    );
    assert!(!serves_without_model(&snapshot, "/health"), "nobody knows for which of them it is meant");
}

#[tokio::test]
async fn one_that_is_shown_the_wrong_key_is_left_out_and_one_without_a_list_has_its_own_names() {
    let servers = Arc::new(Servers::default());
    let wrong = servers.add("10.0.0.1:80", 401, "");
    let error =
        source(&servers, &[], vec![of("openai", Provider::OpenAI, &wrong)]).start().await.unwrap_err();
    let UpError::NoServer(reasons) = error else { panic!("{error:?}") };
    let expected =
        "openai (http://10.0.0.1): /v1/models answered 401 Unauthorized: is the key in NAME_API_KEY right?";
    assert_eq!(reasons, [expected]);

    let restricted = servers.add("10.0.0.2:80", 403, "");
    let nothing = servers.add("10.0.0.3:80", 403, "");
    let hosted =
        vec![of("openai", Provider::OpenAI, &restricted), of("mistral", Provider::Mistral, &nothing)];
    let (_, snapshot, problems) = discover(source(&servers, &[], hosted)).await;
    assert!(problems.len() == 2 && problems[0].contains("answered 403"), "{problems:?}");
    assert_goes(&snapshot, &[("gpt-x", "openai", "gpt-x")]);
    assert_eq!(snapshot.backends.len(), 1, "the other has no model that is known");
}

#[tokio::test]
async fn those_without_a_list_are_not_asked() {
    let servers = Arc::new(Servers::default());
    let azure =
        HostedApi::Azure { endpoint: "https://ours.openai.azure.com".parse().unwrap(), version: None };
    let key = ("AZURE_OPENAI_API_KEY", ApiKey::from_text("sk-azure").unwrap());
    let azure = Hosted::new(("azure", azure), None, key, vec!["ours".to_owned()]);
    let aws = bedrock(None, &["amazon.nova-x-v1:0"]).with_key_in("bedrock.key".into());
    let (document, snapshot, problems) = discover(source(&servers, &[], vec![azure, aws])).await;
    assert!(problems.is_empty() && servers.asked.lock().is_empty(), "{problems:?}");
    assert_goes(
        &snapshot,
        &[
            ("ours", "azure", "ours"),
            ("azure/ours", "azure", "ours"),
            ("bedrock/amazon.nova-x-v1:0", "bedrock", "amazon.nova-x-v1:0"),
            ("eu.anthropic.claude-x-v1:0", "bedrock", "eu.anthropic.claude-x-v1:0"),
        ],
    );
    assert_eq!(goes_to(&snapshot, "llama3.1"), None, "a version is no vendor");
    let backends = &document["backends"];
    assert_eq!(
        backends[0]["endpoints"],
        json!([{ "host": "ours.openai.azure.com", "port": 443 }]),
        "{backends}"
    );
    assert_eq!(
        backends[1],
        json!({
            "name": "bedrock", "provider": "bedrock",
            "api": { "schema": "AWSBedrock", "region": "eu-west-1" },
            "credential": { "file": "bedrock.key", "aws": { "region": "eu-west-1" } },
        })
    );
    let endpoint = &snapshot.backends[1].endpoints[0];
    assert!(format!("{endpoint:?}").contains("bedrock-runtime.eu-west-1.amazonaws.com"), "{endpoint:?}");
    // Where there is no key, the environment says who the gateway is.
    let azure =
        HostedApi::Azure { endpoint: "https://ours.openai.azure.com".parse().unwrap(), version: None };
    let azure = Hosted::by_identity(("azure", azure), None, vec!["ours".to_owned()]);
    let api = HostedApi::Bedrock { region: "eu-west-1".to_owned(), is_signed: true };
    let aws = Hosted::by_identity(("bedrock", api), None, Vec::new());
    let (document, snapshot, problems) = discover(source(&servers, &[], vec![azure, aws])).await;
    assert!(problems.is_empty(), "{problems:?}");
    assert_eq!(document["backends"][0]["credential"], json!({ "azure": {} }));
    assert_eq!(document["backends"][1]["credential"], json!({ "aws": { "region": "eu-west-1" } }));
    let Shown::Header { name, .. } = &snapshot.backends[0].credential.as_ref().unwrap().shown else {
        panic!()
    };
    assert_eq!(name, "authorization");
    // It may have no models by name.
    let (_, _, problems) = discover(source(&servers, &[], vec![bedrock(None, &[])])).await;
    assert!(problems.is_empty(), "{problems:?}");
}

#[tokio::test(start_paused = true)]
async fn a_hosted_api_is_asked_again_every_five_minutes_and_at_a_hangup() {
    let servers = Arc::new(Servers::default());
    let url = servers.serve("10.0.0.1:80", &["gpt-x"]);
    let source = source(&servers, &[], vec![of("openai", Provider::OpenAI, &url)]);
    let mut polling = Polling::start(source, &["gpt-x", "openai/gpt-x"]).await;
    tokio::time::sleep(Duration::from_secs(299)).await;
    assert_eq!(servers.asked.lock().len(), 1);
    servers.serve("10.0.0.1:80", &["gpt-y"]);
    assert_eq!(ids(&*polling.recorder.count(1).await), ["gpt-y", "openai/gpt-y"]);
    servers.serve("10.0.0.1:80", &["gpt-z"]);
    let asked = tokio::time::Instant::now();
    polling.hang_up.try_send(()).unwrap();
    assert_eq!(ids(&*polling.recorder.count(2).await), ["gpt-z", "openai/gpt-z"]);
    assert_eq!(asked.elapsed(), Duration::ZERO);
    // What was listed is served while it does not answer.
    servers.remove(&url);
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(polling.recorder.applied.borrow().len(), 2);
}
