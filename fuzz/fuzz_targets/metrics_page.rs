//! No metrics page makes the scanner panic, and its reading does not depend on how the page arrives.
//!
//! The first byte chooses the engine and where the page is cut.

#![no_main]

use libfuzzer_sys::fuzz_target;
use penstock_config::Engine;
use penstock_picker::{
    engine::EngineSeries,
    scrape::page::{PageScanner, Reading},
};

const ENGINES: [Engine; 5] =
    [Engine::Vllm, Engine::Sglang, Engine::TrtllmServe, Engine::Triton, Engine::TritonTensorrtLlm];

fuzz_target!(|data: &[u8]| {
    let Some((&choice, page)) = data.split_first() else { return };
    let choice = usize::from(choice);
    let mut scanner = PageScanner::new(EngineSeries::of(ENGINES[choice % ENGINES.len()]));
    let whole = read(&mut scanner, [page]);
    if let Some(usage) = whole.kv_usage {
        assert!((0.0..=1.0).contains(&usage), "{usage}");
    }
    // The same scanner again: the page before leaves nothing behind.
    assert_eq!(read(&mut scanner, page.chunks(1)), whole, "bytewise");
    assert_eq!(read(&mut scanner, page.chunks(choice + 1)), whole, "in pieces of {} bytes", choice + 1);
});

fn read<'a>(scanner: &mut PageScanner, chunks: impl IntoIterator<Item = &'a [u8]>) -> Reading {
    chunks.into_iter().for_each(|chunk| scanner.feed(chunk));
    scanner.finish()
}
