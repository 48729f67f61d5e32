//! No load report makes its parser panic, and what it reads is a load.

#![no_main]

use libfuzzer_sys::fuzz_target;
use penstock_picker::orca::parse;

fuzz_target!(|value: &[u8]| {
    let Ok(report) = parse(value) else { return };
    if let Some(usage) = report.kv_usage {
        assert!((0.0..=1.0).contains(&usage), "{usage}");
    }
    // White space around a header's value means nothing.
    assert_eq!(parse(&[b" ", value, b"\t"].concat()).ok(), Some(report));
});
