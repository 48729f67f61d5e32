use std::time::{Duration, UNIX_EPOCH};

use penstock_tap::Usage;
use smallvec::SmallVec;

use super::*;
use crate::access_log::{self, Entry, Formatter, Texts, Told, tests::entry as whole};

fn entry(at_secs: u64, consumer: &str, model: &str, cost: Option<Option<u64>>) -> Entry {
    Entry {
        time: UNIX_EPOCH + Duration::from_secs(at_secs),
        texts: Texts::new(&Told {
            model: Some(model.as_bytes()),
            consumer: Some(consumer.as_bytes()),
            ..Told::default()
        }),
        usage: Usage { input: Some(10), cached_input: Some(4), output: Some(3), ..Usage::default() },
        bill: Some(Box::new(access_log::Bill { cost, charged: SmallVec::new() })),
        ..whole()
    }
}

/// Lines as the gateway writes them.
fn log(entries: &[Entry]) -> String {
    let (mut formatter, mut lines) = (Formatter::default(), Vec::new());
    entries.iter().for_each(|entry| formatter.write(entry, &mut lines));
    String::from_utf8(lines).unwrap()
}

fn options(arguments: &[&str]) -> CostOptions {
    #[derive(clap::Parser)]
    struct Alone {
        #[command(flatten)]
        options: CostOptions,
    }
    <Alone as clap::Parser>::parse_from(["cost", "log"].iter().chain(arguments)).options
}

fn printed(log: &str, arguments: &[&str]) -> String {
    let (options, mut read) = (options(arguments), Read::default());
    assert!(lines(Path::new("log"), log.as_bytes(), &options, &mut read).unwrap());
    print::print(&read.bill, &options.by, options.format)
}

const DAY: u64 = 86_400;

#[test]
fn requests_are_summed_by_day_consumer_and_model() {
    let log = log(&[
        entry(0, "search", "m", Some(Some(1_500_000))),
        entry(1, "search", "m", Some(Some(1))),
        entry(2, "chat", "m", Some(None)),
        entry(DAY, "search", "n", None),
    ]);
    assert_eq!(
        printed(&log, &[]),
        "\
day         consumer  model  requests  input  cached  output  without price      dollars
1970-01-01  chat      m             1     10       4       3              1         0.00
1970-01-01  search    m             2     20       8       6              0  0.001500001
1970-01-02  search    n             1     10       4       3              0         0.00
total                               4     40      16      12              1  0.001500001
"
    );
    assert_eq!(
        printed(&log, &["--by", "consumer", "--since", "1970-01-02", "--format", "csv"]),
        "consumer,requests,input,cached,output,without price,dollars\r\nsearch,1,10,4,3,0,0.00\r\n"
    );
    let json: serde_json::Value =
        serde_json::from_str(&printed(&log, &["--by", "month", "--until", "1970-01-01", "--format", "json"]))
            .unwrap();
    assert_eq!(
        json,
        serde_json::json!({
            "rows": [{"month": "1970-01", "requests": 3, "input_tokens": 30, "cached_input_tokens": 12,
                "output_tokens": 9, "requests_without_price": 1, "dollars": "0.001500001"}],
            "total": {"requests": 3, "input_tokens": 30, "cached_input_tokens": 12, "output_tokens": 9,
                "requests_without_price": 1, "dollars": "0.001500001"},
        })
    );
}

#[test]
fn costs_are_summed_exactly() {
    for nano in [1, 999_999_999, 1_000_000_001, 123_456_789_012_345, 2_000_000_000_000_000 - 1] {
        let (options, mut read) = (options(&[]), Read::default());
        let log = log(&vec![entry(0, "c", "m", Some(Some(nano))); 3]);
        lines(Path::new("log"), log.as_bytes(), &options, &mut read).unwrap();
        assert_eq!(read.bill.total().nano, u128::from(nano) * 3);
    }
}

#[test]
fn what_is_no_requests_line_is_passed_over_and_told() {
    let request = log(&[entry(0, "c", "m", None)]);
    let mixed = format!("plain text\n{{\"level\":\"INFO\"}}\n\n{request}{}", &request[..40]);
    let (options, mut read) = (options(&[]), Read::default());
    assert!(lines(Path::new("log"), mixed.as_bytes(), &options, &mut read).unwrap());
    assert_eq!((read.bill.total().requests, read.passed_over, read.first.as_deref()), (1, 3, Some("log:1")));
    let mut read = Read::default();
    assert!(!lines(Path::new("log"), &b"plain text\n"[..], &options, &mut read).unwrap());
    assert!(lines(Path::new("log"), &b""[..], &options, &mut read).unwrap(), "a log without requests");
}

#[test]
fn names_of_clients_reach_neither_terminal_nor_spreadsheet_as_commands() {
    let log = log(&[entry(0, "c", "\u{1b}[2J\"a,b", None), entry(0, "c", "=1+1", None)]);
    let text = printed(&log, &["--by", "model"]);
    assert!(text.contains("\u{fffd}[2J\"a,b") && !text.contains('\u{1b}'), "{text}");
    let csv = printed(&log, &["--by", "model", "--format", "csv"]);
    assert!(csv.contains("\n'=1+1,1,") && csv.contains("\"\u{fffd}[2J\"\"a,b\",1,"), "{csv}");
}

#[test]
fn sums_are_bounded() {
    let (options, mut read) = (options(&["--by", "model"]), Read::default());
    let log: Vec<Entry> = (0..=MAX_ROWS).map(|at| entry(0, "c", &at.to_string(), None)).collect();
    let error = lines(Path::new("log"), self::log(&log).as_bytes(), &options, &mut read).unwrap_err();
    assert!(matches!(error, CostError::TooMany), "{error}");
    assert_eq!(read.bill.rows().count(), MAX_ROWS);
}
