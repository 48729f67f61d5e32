use std::fs;

use super::*;

fn run_with(arguments: &[&str]) -> Next {
    run(std::iter::once("penstock").chain(arguments.iter().copied()).map(OsString::from))
}

fn exit_code(arguments: &[&str]) -> ExitCode {
    match run_with(arguments) {
        Next::Exit(code) => code,
        Next::Serve(..) => panic!("{arguments:?} would serve"),
    }
}

/// Exit codes can only be printed.
fn is(code: ExitCode, expected: u8) -> bool {
    format!("{code:?}") == format!("{:?}", ExitCode::from(expected))
}

const SOUND: &str = "apiVersion: penstock.dev/v1alpha1\nkind: RoutingConfig\n\
                     listeners: [{name: http, address: \"127.0.0.1:0\", protocol: HTTP}]\n";

#[test]
fn the_command_line_is_consistent() {
    command().debug_assert();
}

#[test]
fn a_sound_document_validates_and_a_faulty_one_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = dir.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let sound = write("sound.yaml", SOUND);
    let faulty = write("faulty.yaml", "kind: RoutingConfig\n");
    assert!(is(exit_code(&["validate", &sound]), 0));
    assert!(is(exit_code(&["validate", "--quiet", &sound, &sound]), 0));
    assert!(is(exit_code(&["validate", &sound, &faulty]), EXIT_USAGE));
    assert!(is(exit_code(&["validate", "does/not/exist.yaml"]), EXIT_USAGE));
    assert!(is(exit_code(&["serve", "--config", &faulty]), EXIT_USAGE));
}

#[test]
fn a_sound_document_is_ready_to_serve() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sound.yaml");
    fs::write(&path, SOUND).unwrap();
    let path = path.to_str().unwrap();
    for arguments in [&["serve", path][..], &["serve", "-c", path], &["serve", "--config", path]] {
        let Next::Serve(Launch::File(source, snapshot), None) = run_with(arguments) else {
            panic!("{arguments:?} would not serve");
        };
        assert_eq!(snapshot.listeners.len(), 1);
        assert_eq!(source.status().get().generation, 1);
    }
}

#[test]
fn a_wrong_command_line_is_a_usage_error_and_help_is_not() {
    for wrong in [
        &["serve"][..],
        &["frobnicate"],
        &["validate"],
        &["up"],
        &["serve", "-c", "x", "--log-level", "a=b=c"],
        &["serve", "-c", "x", "--log-level", "loud"],
        &["serve", "a.yaml", "-c", "b.yaml"],
        &["serve", "a.yaml", "--kubernetes", "base"],
        &["up", "127.0.0.1:8000", "--listen", "8080"],
        &["up", "127.0.0.1:8000", "--api-key", "a", "--api-key-file", "b"],
        &["up", "127.0.0.1:8000", "--api-key", "a", "--print"],
        &["keys"],
        &["keys", "new", "--prefix", "with space"],
        &["keys", "new", "--consumer", "two\nlines"],
        &["keys", "digest", "the-key-itself"],
        &["cost"],
        &["cost", "--by", "week", "-"],
        &["cost", "--since", "yesterday", "-"],
        &["cost", "--until", "2026-02-30", "-"],
    ] {
        assert!(is(exit_code(wrong), EXIT_USAGE), "{wrong:?}");
    }
    for right in [&["--help"][..], &["--version"], &["up", "--help"], &["help"], &["help", "up"]] {
        assert!(is(exit_code(right), 0), "{right:?}");
    }
}

#[test]
fn every_command_has_help_with_an_example() {
    let mut command = command();
    let help = command.render_long_help().to_string();
    for words in ["Examples:", "Exit codes:", "Environment:", "SIGHUP", "64"] {
        assert!(help.contains(words), "{words}");
    }
    for name in ["serve", "validate", "keys", "explain", "cost", "schema", "up", "completions"] {
        let command = command.find_subcommand_mut(name).unwrap();
        assert!(command.render_long_help().to_string().contains("Examples:"), "{name}");
        for below in command.get_subcommands_mut().filter(|below| below.get_name() != "help") {
            assert!(
                below.render_long_help().to_string().contains("Examples:"),
                "{name} {}",
                below.get_name()
            );
        }
    }
}

#[test]
fn manual_pages_and_completions_are_generated_for_every_command() {
    let dir = tempfile::tempdir().unwrap();
    assert!(is(exit_code(&["man", "--directory", dir.path().to_str().unwrap()]), 0));
    assert!(!dir.path().join("penstock-help.1").exists(), "it would repeat every other page");
    for page in ["penstock.1", "penstock-serve.1", "penstock-up.1", "penstock-keys-new.1"] {
        assert!(fs::read_to_string(dir.path().join(page)).unwrap().contains("penstock"), "{page}");
    }
    assert!(!dir.path().join("penstock-keys-help.1").exists());
}
