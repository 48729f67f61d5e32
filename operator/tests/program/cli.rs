//! The command line: what goes where, and with which exit code.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use penstock_config::Snapshot;
use penstock_picker::EpcCheck;

use crate::{documents, path};

fn operator(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_penstock-operator")).args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn the_walkthrough_becomes_a_document_that_can_be_served() {
    let walkthrough = path("../examples/walkthrough");
    let file = |name: &str| walkthrough.join(name).display().to_string();
    let files = ["gateway.yaml", "llama.yaml", "mistral.yaml", "testupstream.yaml"].map(file);
    let mut arguments = vec!["translate", "--endpoint", "vllm-llama3-8b-instruct=10.0.0.7:8000"];
    arguments.extend(files.iter().map(String::as_str));
    let output = operator(&arguments);
    let (document, notes) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{notes}");
    let snapshot = Snapshot::compile(document, &EpcCheck).expect("a sound document");
    assert_eq!(snapshot.pools.len(), 2);
    assert!(document.contains("10.0.0.7:8000"), "{document}");
    assert!(document.contains("envoy-ai-gateway-basic-testupstream.default.svc.cluster.local"), "{document}");
    assert!(notes.contains("AIGatewayRoute default/inference-pool-with-aigwroute: Accepted=True"), "{notes}");
    assert!(notes.contains("left out: ServiceAccount"), "{notes}");
}

#[test]
fn manifests_come_from_standard_input_too() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_penstock-operator"))
        .args(["translate", "-", "--gateway", "default/inference-pool-with-aigwroute"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let manifest = std::fs::read(path("../examples/walkthrough/gateway.yaml")).unwrap();
    child.stdin.take().unwrap().write_all(&manifest).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    // Nothing that the routes lead to is there.
    assert!(text(&output.stdout).contains("status: 500"));
}

#[test]
fn what_cannot_be_translated_ends_with_64_and_says_why() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let route = "{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: r}}";
    for (arguments, expected) in [
        (vec![file("broken.yaml", "a: [b")], "not YAML"),
        (vec!["/nowhere/at/all.yaml".to_owned()], "/nowhere/at/all.yaml"),
        (vec![file("no-gateway.yaml", route)], "no Gateway that can be served"),
        (vec![file("empty.yaml", "")], "no Gateway that can be served"),
        (vec!["--gateway".to_owned(), "name".to_owned(), file("x.yaml", route)], "NAMESPACE/NAME"),
        (vec!["--endpoint".to_owned(), "pool".to_owned(), file("y.yaml", route)], "IP:PORT"),
        (vec![], "required"),
    ] {
        let mut all = vec!["translate"];
        all.extend(arguments.iter().map(String::as_str));
        let output = operator(&all);
        assert_eq!(output.status.code(), Some(64), "{arguments:?}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
        let notes = text(&output.stderr);
        assert!(notes.contains(expected), "{arguments:?}: {notes}");
    }
}

#[test]
fn definitions_are_printed_by_group() {
    let all = documents(text(&operator(&["crds"]).stdout));
    assert_eq!(all.len(), 11);
    let ours = operator(&["crds", "--group", "llm-d.ai"]);
    let names: Vec<_> =
        documents(text(&ours.stdout)).iter().map(|it| it["metadata"]["name"].clone()).collect();
    assert_eq!(names, ["inferencemodelrewrites.llm-d.ai", "inferenceobjectives.llm-d.ai"]);
    let unknown = operator(&["crds", "--group", "example.com"]);
    assert_eq!(unknown.status.code(), Some(64));
    assert!(text(&unknown.stderr).contains("llm-d.ai"));
}

#[test]
fn a_misspelt_level_of_the_log_is_explained() {
    let output = operator(&["run", "--log-level", "eror"]);
    let explanation = text(&output.stderr);
    assert_eq!(output.status.code(), Some(64), "{explanation}");
    assert!(explanation.contains("eror is no level: write error, warn"), "{explanation}");
}
