//! `penstock up` as a user sees it, over real model servers (simulated ones) and real TLS.

#![expect(clippy::unwrap_used, reason = "a test that panics is a test that fails")]

mod harness;

use std::net::SocketAddr;
use std::process::Stdio;

use harness::{Client, Protocol, get, post_json, sim_with, within};
use penstock_sim::options::{LoraModule, Options, TlsOptions};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStderr, Command};

/// The program, while it runs.
struct Up {
    child: Child,
    log: Lines<BufReader<ChildStderr>>,
}

impl Up {
    fn start(arguments: &[&str]) -> Self {
        Self::start_with(arguments, &[])
    }

    /// With these variables in its environment.
    fn start_with(arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let anywhere = ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--log-format", "json"];
        let mut child = command(arguments)
            .args(anywhere)
            .envs(variables.iter().copied())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let log = BufReader::new(child.stderr.take().unwrap()).lines();
        Self { child, log }
    }

    /// Waits for a line with these words.
    async fn line(&mut self, words: &str) -> String {
        let mut seen = Vec::new();
        let found = within("a line", async {
            while let Some(line) = self.log.next_line().await.unwrap() {
                if line.contains(words) {
                    return Some(line);
                }
                seen.push(line);
            }
            None
        });
        found.await.unwrap_or_else(|| panic!("{words} was not said"))
    }

    /// Waits until clients are served, and connects.
    async fn client(&mut self) -> Client {
        let line: Value = serde_json::from_str(&self.line(r#""listener":"http""#).await).unwrap();
        let address: SocketAddr = line["address"].as_str().unwrap().parse().unwrap();
        Client::connect(address, Protocol::H1).await
    }

    async fn signal(&self, name: &str) {
        let id = self.child.id().unwrap().to_string();
        assert!(Command::new("kill").args(["-s", name, &id]).status().await.unwrap().success());
    }
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_penstock"));
    command.arg("up").args(arguments).env_remove("RUST_LOG").env_remove("PENSTOCK_API_KEY");
    for provider in ["OPENAI", "ANTHROPIC"] {
        command.env_remove(format!("{provider}_API_KEY")).env_remove(format!("{provider}_BASE_URL"));
    }
    command
        .env_remove("AWS_BEARER_TOKEN_BEDROCK")
        .env_remove("AWS_SESSION_TOKEN")
        .env_remove("BEDROCK_MODELS");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs it to its end: the exit code, and what it said of what went wrong.
async fn run(arguments: &[&str]) -> (Option<i32>, String) {
    let output = within("the end", command(arguments).output()).await.unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

fn models(text: &str) -> Vec<String> {
    let list: Value = serde_json::from_str(text).unwrap();
    let mut ids: Vec<String> = list["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|model| model["id"].as_str().unwrap().to_owned())
        .collect();
    ids.sort();
    ids
}

#[tokio::test]
async fn a_server_that_comes_later_is_served_as_it_would_serve_itself() {
    let before = sim_with(Options::default()).await;
    let address = before.addr();
    before.kill();
    before.join().await;
    let url = format!("http://{address}");
    let mut up = Up::start(&[&url]);
    up.line("nothing listens on port").await;
    // As early as this it must not end the program either.
    up.signal("HUP").await;
    up.line("no model server can be used yet").await;

    let options = Options {
        listen: address,
        model: "base".to_owned(),
        loras: vec![LoraModule {
            name: "lora".to_owned(),
            path: "/lora".to_owned(),
            base_model_name: String::new(),
        }],
        max_model_len: 4321,
        ..Options::default()
    };
    let server = sim_with(options).await;
    up.signal("HUP").await;
    let mut client = up.client().await;
    let reply = client.send(get("/v1/models")).await;
    let own = Client::connect(address, Protocol::H1).await.send(get("/v1/models")).await;
    let entries = |text: &str| {
        let list: Value = serde_json::from_str(text).unwrap();
        let kept = ["id", "owned_by", "root", "max_model_len"];
        let entry = |model: &Value| kept.map(|field| model[field].clone());
        list["data"].as_array().unwrap().iter().map(entry).collect::<Vec<_>>()
    };
    assert_eq!(entries(&reply.text()), entries(&own.text()));
    assert_eq!(entries(&reply.text())[0][3], 4321);
    // What names no model.
    assert_eq!(client.send(get("/health")).await.status, 200);
    let version = client.send(get("/version")).await;
    assert!(version.status == 200 && version.text().contains("version"), "{}", version.text());
    server.kill();
}

#[tokio::test]
async fn an_adapter_that_is_loaded_later_is_served_after_a_hangup() {
    let server = sim_with(Options { model: "base".to_owned(), ..Options::default() }).await;
    let mut up = Up::start(&[&format!("http://{}", server.addr())]);
    let mut client = up.client().await;
    assert_eq!(models(&client.send(get("/v1/models")).await.text()), ["base"]);
    let load = post_json("/v1/load_lora_adapter", &json!({ "lora_name": "lora", "lora_path": "/lora" }));
    assert_eq!(Client::connect(server.addr(), Protocol::H1).await.send(load).await.status, 200);
    up.signal("HUP").await;
    up.line("what the model servers have is served").await;
    assert_eq!(models(&client.send(get("/v1/models")).await.text()), ["base", "lora"]);
}

#[tokio::test]
async fn a_key_is_shown_to_the_server_whatever_the_client_shows() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("key");
    std::fs::write(&file, "sk-1\n").unwrap();
    let options = Options { model: "base".to_owned(), record_requests: 100, ..Options::default() };
    let server = sim_with(options).await;
    let mut up = Up::start(&[&format!("http://{}", server.addr()), "--api-key-file", file.to_str().unwrap()]);
    let mut client = up.client().await;
    let mut chat = post_json("/v1/chat/completions", &harness::chat("base", false));
    chat.headers_mut().insert("authorization", "Bearer client".parse().unwrap());
    assert_eq!(client.send(chat).await.status, 200);
    let shown: Vec<_> = server
        .requests()
        .iter()
        .filter(|request| request.path.starts_with("/v1/"))
        .map(|request| (request.path.clone(), request.header("authorization").map(str::to_owned)))
        .collect();
    assert!(shown.iter().any(|(path, _)| path == "/v1/models"), "{shown:?}");
    assert!(shown.iter().any(|(path, _)| path == "/v1/chat/completions"), "{shown:?}");
    assert!(shown.iter().all(|(_, key)| key.as_deref() == Some("Bearer sk-1")), "{shown:?}");
}

#[tokio::test]
async fn the_wrong_scheme_is_told_with_the_right_one() {
    let directory = tempfile::tempdir().unwrap();
    let (certificate_file, key_file) = (directory.path().join("c.pem"), directory.path().join("k.pem"));
    let own = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    std::fs::write(&certificate_file, own.cert.pem()).unwrap();
    std::fs::write(&key_file, own.signing_key.serialize_pem()).unwrap();
    let tls = Some(TlsOptions { certificate_file, key_file, client_ca_file: None });
    let (plain, secret) =
        (sim_with(Options::default()).await, sim_with(Options { tls, ..Options::default() }).await);
    for (url, words) in [
        (format!("https://{}", plain.addr()), format!("write http://{}", plain.addr())),
        (format!("http://{}", secret.addr()), format!("write https://{}", secret.addr())),
        (format!("https://{}", secret.addr()), "SSL_CERT_FILE".to_owned()),
    ] {
        let (code, said) = run(&[&url]).await;
        assert!(code == Some(69) && said.contains(&words), "{url}: {code:?}: {said}");
    }
}

#[tokio::test]
async fn an_address_that_is_taken_is_told_with_its_option() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().map(|address| (address.to_string(), taken)).unwrap();
    for (given, option) in
        [(["--listen", &*taken.0], "--listen"), (["--admin-listen", &*taken.0], "--admin-listen")]
    {
        let other = if option == "--listen" { "--admin-listen" } else { "--listen" };
        for model in ["--model=m=http://127.0.0.1:9", "127.0.0.1:9"] {
            let (code, said) = run(&[model, given[0], given[1], other, "127.0.0.1:0"]).await;
            assert_eq!(code, Some(1), "{said}");
            assert!(said.contains(&format!("penstock: {option}: cannot listen on {}", taken.0)), "{said}");
            assert!(said.contains("choose another port"), "{said}");
        }
    }
}

#[tokio::test]
async fn hosted_apis_are_served_by_name_beside_a_server_of_ones_own() {
    let options =
        |model: &str| Options { model: model.to_owned(), record_requests: 100, ..Options::default() };
    let own = sim_with(options("base")).await;
    let openai = sim_with(options("gpt-x")).await;
    let anthropic = sim_with(options("claude-x")).await;
    let bedrock = sim_with(options("amazon.nova-x-v1:0")).await;
    let variables = [
        ("OPENAI_API_KEY", "sk-openai".to_owned()),
        ("OPENAI_BASE_URL", format!("http://{}/v1", openai.addr())),
        ("ANTHROPIC_API_KEY", "sk-ant".to_owned()),
        ("ANTHROPIC_BASE_URL", format!("http://{}", anthropic.addr())),
        ("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", format!("http://{}", bedrock.addr())),
        ("AWS_REGION", "eu-west-1".to_owned()),
        ("AWS_ACCESS_KEY_ID", "AKIA1".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "secret".to_owned()),
    ];
    let variables = variables.each_ref().map(|(name, value)| (*name, value.as_str()));
    let url = format!("http://{}", own.addr());
    let mut up = Up::start_with(&["openai", "anthropic", "bedrock", &url], &variables);
    let mut client = up.client().await;
    let listed = models(&client.send(get("/v1/models")).await.text());
    assert_eq!(listed, ["anthropic/claude-x", "base", "claude-x", "gpt-x", "openai/gpt-x"]);
    for (model, server, path, header, value) in [
        ("base", &own, "/v1/chat/completions", "x-api-key", None),
        ("openai/gpt-x", &openai, "/v1/chat/completions", "authorization", Some("Bearer sk-openai")),
        ("gpt-x", &openai, "/v1/chat/completions", "authorization", Some("Bearer sk-openai")),
        ("anthropic/claude-x", &anthropic, "/v1/messages", "x-api-key", Some("sk-ant")),
        ("claude-x", &anthropic, "/v1/messages", "x-api-key", Some("sk-ant")),
    ] {
        let mut chat = post_json("/v1/chat/completions", &harness::chat(model, false));
        chat.headers_mut().insert(http::header::AUTHORIZATION, "Bearer client".parse().unwrap());
        let reply = client.send(chat).await;
        assert_eq!(reply.status, 200, "{model}: {}", reply.text());
        let seen = server.requests().pop().unwrap();
        assert_eq!((&*seen.path, seen.header(header)), (path, value), "{model}");
    }
    // In the provider's own API too, which passes as it is.
    let mut native = post_json(
        "/v1/messages",
        &json!({"model": "claude-x", "max_tokens": 5, "messages": [{"role": "user", "content": "Hello"}]}),
    );
    native.headers_mut().insert(http::header::AUTHORIZATION, "Bearer client".parse().unwrap());
    assert_eq!(client.send(native).await.status, 200);
    let seen = anthropic.requests().pop().unwrap();
    assert_eq!((seen.header("x-api-key"), seen.header("authorization")), (Some("sk-ant"), None));
    let reply =
        client.send(post_json("/v1/chat/completions", &harness::chat("amazon.nova-x-v1:0", false))).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let seen = bedrock.requests().pop().unwrap();
    let signature = seen.header("authorization").unwrap();
    assert!(
        signature.contains("Credential=AKIA1/") && signature.contains("/eu-west-1/bedrock/"),
        "{signature}"
    );
}

#[tokio::test]
async fn a_variable_that_is_missing_is_told_before_anything_is_asked() {
    let (code, said) = run(&["openai", "anthropic", "127.0.0.1:9"]).await;
    assert_eq!(code, Some(64), "{said}");
    for variable in ["OPENAI_API_KEY", "ANTHROPIC_API_KEY"] {
        assert!(said.contains(&format!("{variable} is not set: export {variable}=KEY")), "{said}");
    }
    assert!(!said.contains("127.0.0.1:9"), "{said}");
}

#[tokio::test]
async fn a_printed_document_names_the_file_that_its_key_is_expected_in() {
    let server = sim_with(Options { model: "gpt-x".to_owned(), ..Options::default() }).await;
    let mut command = command(&["openai", "--print"]);
    command.env("OPENAI_API_KEY", "sk-geheim").env("OPENAI_BASE_URL", format!("http://{}", server.addr()));
    let output = within("the end", command.output()).await.unwrap();
    let (document, said) =
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(output.status.success(), "{said}");
    assert!(said.contains("in the file openai.key: write what is in OPENAI_API_KEY into it"), "{said}");
    assert!(document.contains("file: openai.key") && document.contains("provider: openai"), "{document}");
    assert!(!document.contains("geheim") && !said.contains("geheim"), "{document}");
    penstock_config::Snapshot::compile(&document, &penstock_config::NoProfileCheck).unwrap();
}
