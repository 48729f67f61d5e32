use clap::Parser;

use super::{
    Flags,
    show::{Report, Skipped, html},
    workload::Workload,
};

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    flags: Flags,
}

fn flags(line: &str) -> Flags {
    Cli::parse_from(line.split_whitespace()).flags
}

#[test]
fn a_workload_without_its_trace_is_skipped_unless_it_was_asked_for() {
    let error = |flags: &Flags, name| Workload::named(name, &flags.workload_config()).unwrap_err();
    let (all, named) = (flags("simulate"), flags("simulate --workload mooncake"));
    for name in ["mooncake", "azure-code"] {
        assert!(all.skips(&error(&all, name)), "{name}");
    }
    assert!(!named.skips(&error(&named, "mooncake")));
    // A file that was named and is not there is a mistake.
    let lost = flags("simulate --azure /nowhere/azure.csv");
    assert!(!lost.skips(&error(&lost, "azure-code")));
    assert!(!all.skips(&error(&all, "teapot")));
}

#[test]
fn every_report_says_what_was_skipped_and_why() {
    let flags = flags("simulate");
    let mut report = Report::new(&flags.model().unwrap(), &flags.slo(), &flags);
    let error = Workload::named("mooncake", &flags.workload_config()).unwrap_err();
    report.skipped.push(Skipped { name: "mooncake".to_owned(), reason: error.to_string() });
    let wanted = "mooncake replays a trace: name its file with --mooncake FILE";
    assert!(report.skipped[0].to_string().starts_with(&format!("skipped: {wanted}")));
    assert!(html::html(&report).contains(wanted));
    assert!(serde_json::to_string(&report).unwrap().contains(wanted));
}
