use super::*;
use crate::{
    compare::scenario,
    report::schema::{Generator, Latency, Process, Results, Settings, Slo},
};

/// A comparison of these measurements: peer, repeat, CPU a request, median latency.
pub(in crate::compare) fn comparison(runs: &[(&str, usize, f64, f64)]) -> Comparison {
    let run = |(peer, repeat, cpu, p50): &(&str, usize, f64, f64)| Run {
        scenario: "latency".to_owned(),
        peer: (*peer).to_owned(),
        repeat: *repeat,
        report: Report {
            schema: String::new(),
            version: String::new(),
            started_at_unix_s: 0,
            settings: Settings {
                url: String::new(),
                protocol: String::new(),
                new_connections: false,
                workload: String::new(),
                arrival: String::new(),
                rate: None,
                max_concurrency: None,
                is_stream: false,
                seed: 0,
                warmup_s: 0.0,
                duration_s: None,
                requests: None,
                slo: Slo::default(),
            },
            results: Results {
                completed: 10,
                e2e: Latency { count: 10, p50: *p50, p99: 3.0 * p50, ..Latency::default() },
                ..Results::default()
            },
            process: (*peer != "direct").then(|| Process {
                cpu_us_per_request: Some(*cpu),
                rss_peak_bytes: 5_000_000,
                ..Process::default()
            }),
            generator: Generator::default(),
            series: Vec::new(),
        },
    };
    let names: std::collections::BTreeSet<&str> = runs.iter().map(|run| run.0).collect();
    let version =
        |peer: &&str| PeerVersion { peer: (*peer).to_owned(), about: String::new(), version: "1".to_owned() };
    Comparison {
        schema: COMPARE_SCHEMA.to_owned(),
        machine: Machine::default(),
        repeats: 3,
        duration_s: 1.0,
        rate: 100.0,
        scenarios: scenario::headline(),
        versions: names.iter().map(version).collect(),
        missing: vec![MissingPeer { peer: "absent".to_owned(), reason: "no such package".to_owned() }],
        runs: runs.iter().map(run).collect(),
    }
}

#[test]
fn repeats_become_a_median_with_its_spread() {
    let comparison = comparison(&[
        ("direct", 1, 0.0, 1.0),
        ("nginx", 1, 20.0, 1.5),
        ("direct", 2, 0.0, 3.0),
        ("nginx", 2, 50.0, 3.4),
        ("direct", 3, 0.0, 1.0),
        ("nginx", 3, 25.0, 1.2),
    ]);
    let figures = comparison.figures("latency", "nginx").unwrap();
    assert_eq!(figures.cpu_us_per_request, Some(Spread { median: 25.0, min: 20.0, max: 50.0 }));
    assert_eq!(figures.requests_per_core_s.unwrap().median, 40_000.0);
    // Each repeat is compared with its own: a slow one does not count against the gateway.
    let added = figures.added_p50_ms.unwrap();
    assert!((added.median - 0.4).abs() < 1e-9 && (added.max - 0.5).abs() < 1e-9, "{added:?}");
    assert_eq!((figures.completed, figures.failed), (30, 0));
    assert!(comparison.figures("latency", "direct").unwrap().added_p50_ms.is_none());
    assert!(comparison.figures("1.2 KB", "nginx").is_none());
}

#[test]
fn the_headline_names_who_is_missing() {
    let comparison = comparison(&[("direct", 1, 0.0, 1.0), ("nginx", 1, 20.0, 1.5)]);
    let headline = headline(&comparison);
    assert_eq!(headline["peers"]["nginx"]["cpu_us_per_request_at_fixed_rate"], 20.0);
    assert_eq!(headline["peers"]["nginx"]["added_p50_ms"], 0.5);
    assert_eq!(headline["missing"]["absent"], "no such package");
    let text = serde_json::to_string(&comparison).unwrap();
    let read: Comparison = serde_json::from_str(&text).unwrap();
    assert_eq!(read.figures("latency", "nginx"), comparison.figures("latency", "nginx"));
}

#[test]
fn an_even_number_of_values_has_its_median_in_the_middle() {
    assert_eq!(Spread::of(vec![4.0, 1.0]), Some(Spread { median: 2.5, min: 1.0, max: 4.0 }));
    assert_eq!(Spread::of(Vec::new()), None);
}
