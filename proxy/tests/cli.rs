//! The `penstock` binary as a user sees it: output, exit codes, and what goes where.

#![expect(clippy::unwrap_used, reason = "a test that panics is a test that fails")]

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

const SOUND: &str = "apiVersion: penstock.dev/v1alpha1\nkind: RoutingConfig\n\
                     listeners: [{name: http, address: \"127.0.0.1:0\", protocol: HTTP}]\n";

/// Two faults, in different parts of the document.
const FAULTY: &str = "apiVersion: penstock.dev/v1alpha1\nkind: RoutingConfig\n\
                      listeners: [{name: http, address: nowhere, protocol: HTTP}]\n\
                      routes: [{name: r, rules: [{targets: [{pool: p, weight: heavy}]}]}]\n";

fn penstock(arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_penstock"))
        .args(arguments)
        .env_remove("RUST_LOG")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that does not read its input may be gone by now.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn validate_reads_standard_input() {
    let output = penstock(&["validate", "-"], SOUND);
    assert_eq!((output.status.code(), &*out(&output)), (Some(0), "-: ok\n"), "{}", err(&output));
    let output = penstock(&["validate", "--quiet", "-"], SOUND);
    assert_eq!((output.status.code(), &*out(&output)), (Some(0), ""));
}

#[test]
fn validate_prints_all_faults_with_file_and_path() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("faulty.yaml");
    std::fs::write(&path, FAULTY).unwrap();
    let file = path.to_str().unwrap();
    let output = penstock(&["validate", file, "does-not-exist.yaml"], "");
    assert_eq!(output.status.code(), Some(64));
    let lines = err(&output);
    for expected in [
        format!("{file}: listeners[0].address: "),
        format!("{file}: routes[0].rules[0].targets[0].weight: "),
        "does-not-exist.yaml: cannot open the file".to_owned(),
    ] {
        assert!(lines.lines().any(|line| line.starts_with(&expected)), "{expected} is not in:\n{lines}");
    }
}

#[test]
fn serve_ends_with_64_before_it_binds_anything() {
    let output = penstock(&["serve", "--config", "does-not-exist.yaml"], "");
    assert_eq!(output.status.code(), Some(64));
    assert!(err(&output).contains("does-not-exist.yaml: cannot open the file"), "{}", err(&output));
}

#[test]
fn up_tells_which_server_does_not_answer() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let output = penstock(&["up", &url, "--print"], "");
    assert_eq!(output.status.code(), Some(69));
    assert!(
        err(&output).contains(&format!("{url}: connection refused: nothing listens")),
        "{}",
        err(&output)
    );
}

#[test]
fn explain_says_that_nobody_answers_and_what_no_header_is() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let admin = listener.local_addr().unwrap().to_string();
    drop(listener);
    let output = penstock(&["explain", "--model", "m", "--admin", &admin], "");
    assert_eq!(output.status.code(), Some(69));
    assert!(err(&output).contains(&format!("no gateway answers at {admin}")), "{}", err(&output));
    let output = penstock(&["explain", "--admin", &admin, "--header", "sk-hush"], "");
    assert_eq!(output.status.code(), Some(64));
    assert!(err(&output).contains("one header") && !err(&output).contains("hush"), "{}", err(&output));
}

#[test]
fn up_prints_a_document_that_validates() {
    let output = penstock(&["up", "--model", "m=http://127.0.0.1:9", "--print"], "");
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    let output = penstock(&["validate", "-"], &out(&output));
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
}

#[test]
fn up_prints_no_document_that_does_not_validate() {
    let output = penstock(&["up", "--model", "two\nlines=http://127.0.0.1:9", "--print"], "");
    assert_eq!((output.status.code(), &*out(&output)), (Some(64), ""));
    assert!(err(&output).contains("routes[0].rules[0].models[0]: "), "{}", err(&output));
}

#[test]
fn a_new_key_goes_out_alone_and_its_digest_is_said_beside_it() {
    let output = penstock(&["keys", "new", "--consumer", "search", "--prefix", "acme-"], "");
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    let printed = out(&output);
    let key = printed.strip_suffix('\n').unwrap();
    let random = key.strip_prefix("acme-").unwrap();
    assert_eq!(random.len(), 43);
    assert!(random.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{key}");

    let digest = out(&penstock(&["keys", "digest"], &printed));
    let digest = digest.trim_end();
    let said = err(&output);
    let document = format!("consumers:\n- name: \"search\"\n  keys: [\"{digest}\"]\n");
    assert!(said.contains(&document) && said.ends_with(&format!("\nsearch {digest}\n")), "{said}");
    assert!(!said.contains(key), "what is for people may end in a build's log");

    let line = out(&penstock(&["keys", "digest", "--consumer", "search"], key));
    assert_eq!(line, format!("search {digest}\n"));
    let other = out(&penstock(&["keys", "new"], ""));
    assert!(other.starts_with("sk-ps-") && other != out(&penstock(&["keys", "new"], "")));
}

#[test]
fn a_new_key_and_its_digest_are_one_object_for_those_who_ask_for_it() {
    let output = penstock(&["keys", "new", "--quiet", "--consumer", "search", "--format", "json"], "");
    assert_eq!((output.status.code(), &*err(&output)), (Some(0), ""));
    assert_eq!(out(&output).lines().count(), 1);
    let made: serde_json::Value = serde_json::from_str(&out(&output)).unwrap();
    assert_eq!(made["consumer"], "search");
    let digest = out(&penstock(&["keys", "digest"], made["key"].as_str().unwrap()));
    assert_eq!(made["digest"], digest.trim_end());
}

#[test]
fn what_is_no_key_has_no_digest() {
    for (input, said) in [
        ("", "penstock: standard input has no key\n"),
        ("\n", "penstock: standard input has no key\n"),
        ("two\nlines\n", "penstock: standard input: a key is one line of visible ASCII characters"),
    ] {
        let output = penstock(&["keys", "digest"], input);
        assert_eq!((output.status.code(), &*out(&output)), (Some(64), ""));
        assert!(err(&output).starts_with(said), "{}", err(&output));
    }
    let output = penstock(&["keys", "digest"], "short\n");
    assert_eq!(output.status.code(), Some(0));
    assert!(err(&output).starts_with("warning: the key is shorter than 20 characters"), "{}", err(&output));
}

#[test]
fn help_is_a_command_too() {
    for arguments in [&["help"][..], &["help", "serve"]] {
        let output = penstock(arguments, "");
        assert_eq!(output.status.code(), Some(0), "{}", err(&output));
        assert!(out(&output).contains("Usage: penstock"), "{}", out(&output));
    }
}

#[test]
fn what_is_probably_not_meant_is_a_warning() {
    let document = format!("{SOUND}pools: [{{name: p}}]\n");
    let output = penstock(&["validate", "-"], &document);
    assert_eq!((output.status.code(), &*out(&output)), (Some(0), "-: ok\n"));
    assert!(err(&output).starts_with("-: warning: pools[0].endpoints: "), "{}", err(&output));
    let output = penstock(&["validate", "--quiet", "-"], &document);
    assert_eq!((output.status.code(), &*err(&output)), (Some(0), ""));
}

#[test]
fn what_is_generated_is_what_it_says() {
    assert!(out(&penstock(&["schema", "--format", "markdown"], "")).starts_with("# Configuration\n"));
    let schema: serde_json::Value = serde_json::from_str(&out(&penstock(&["schema"], ""))).unwrap();
    assert!(schema["properties"]["listeners"].is_object());
    assert!(out(&penstock(&["completions", "bash"], "")).contains("_penstock"));
    assert!(out(&penstock(&["man"], "")).starts_with(".ie"));
    let version = out(&penstock(&["--version"], ""));
    assert!(version.starts_with(&format!("penstock {}", env!("CARGO_PKG_VERSION"))), "{version}");
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_penstock"))
        .arg("schema")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), &*err(&output)), (Some(0), ""));
}

#[test]
fn every_example_validates() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let Ok(entries) = std::fs::read_dir(examples) else { return };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            let output = penstock(&["validate", path.to_str().unwrap()], "");
            assert_eq!(output.status.code(), Some(0), "{}", err(&output));
        }
    }
}
