use proptest::prelude::*;

use super::{Adapters, MAX_IDLE_BYTES, MAX_LINE_BYTES, PageScanner, Reading};
use crate::engine::{EngineSeries, SGLANG, TRITON, TRITON_TENSORRT_LLM, TRTLLM_SERVE, VLLM};
use reference::read_plainly;
use vllm_page::VllmPage;

mod reference;
#[path = "../../../tests/metrics/vllm_page.rs"]
mod vllm_page;

const SIMULATOR_PAGE: &str = include_str!("../../../tests/metrics/llm-d-inference-sim-0.10.2.txt");

fn read(series: &'static EngineSeries, page: &[u8]) -> Reading {
    let mut scanner = PageScanner::new(series);
    scanner.feed(page);
    scanner.finish()
}

fn vllm(page: &str) -> Reading {
    read(&VLLM, page.as_bytes())
}

fn names(names: &[&str]) -> Vec<Box<str>> {
    names.iter().map(|name| Box::from(*name)).collect()
}

#[test]
fn reads_a_whole_vllm_page() {
    let page = VllmPage::default().render();
    assert!((56 << 10..68 << 10).contains(&page.len()), "{} bytes", page.len());
    let expected = Reading {
        engines: 1,
        waiting: Some(3),
        running: Some(17),
        kv_usage: Some(0.4375),
        block_tokens: Some(16),
        blocks: Some(27_440),
        adapters: Some(Adapters {
            max: 4,
            active: names(&["cad-fabricator", "food-review-1"]),
            waiting: names(&["legal"]),
        }),
        malformed: 0,
    };
    assert_eq!(vllm(&page), expected);
}

#[test]
fn reads_the_recorded_page_of_the_simulator() {
    let reading = vllm(SIMULATOR_PAGE);
    assert_eq!((reading.waiting, reading.running, reading.kv_usage), (Some(0), Some(0), Some(0.0)));
    assert_eq!((reading.block_tokens, reading.blocks), (Some(16), Some(1024)));
    // Its three series carry the same second: none of them is the newest.
    let adapters = reading.adapters.expect("the simulator had adapters");
    assert_eq!(adapters.active, names(&["cad-fabricator", "food-review-1"]));
    assert_eq!(adapters.max, 2);
    assert_eq!(reading.malformed, 0);
}

#[test]
fn several_engines_behind_one_port_become_one() {
    let page = VllmPage { engines: vec![(1, 10, 0.2), (2, 20, 0.4)], ..VllmPage::default() };
    let reading = vllm(&page.render());
    assert_eq!((reading.engines, reading.waiting, reading.running), (2, Some(3), Some(30)));
    assert!((reading.kv_usage.unwrap() - 0.3).abs() < 1e-9);
    assert_eq!((reading.block_tokens, reading.blocks), (Some(16), Some(54_880)));
}

#[test]
fn eight_engines_of_vllm_are_eight() {
    let page = VllmPage { engines: vec![(1, 4, 0.85); 8], ..VllmPage::default() };
    let reading = vllm(&page.render());
    assert_eq!((reading.engines, reading.waiting, reading.running), (8, Some(8), Some(32)));
    assert!((reading.kv_usage.unwrap() - 0.85).abs() < 1e-9);
    // vLLM adds the blocks up by itself, and writes the sum into the sample of each engine.
    assert_eq!(reading.blocks, Some(8 * 27_440));
}

#[test]
fn engines_count_by_their_labels_wherever_they_begin() {
    // A node of a deployment over several, whose load balancer serves engines 4 and 5 only.
    let page = "vllm:num_requests_waiting{engine=\"4\",model_name=\"m\"} 1\n\
                vllm:num_requests_waiting{engine=\"5\",model_name=\"m\"} 2\n\
                vllm:num_requests_running{model_name=\"m\",engine=\"5\"} 3\n\
                vllm:num_requests_running{model_name=\"m\",engine=\"4\"} nan\n";
    let reading = vllm(page);
    assert_eq!((reading.engines, reading.waiting, reading.running), (2, Some(3), Some(3)));
    assert_eq!(reading.malformed, 1);
}

#[test]
fn models_behind_one_port_are_engines_of_their_own() {
    let page = "vllm:num_requests_waiting{engine=\"0\",model_name=\"a\"} 1\n\
                vllm:num_requests_waiting{engine=\"0\",model_name=\"b\"} 2\n\
                vllm:kv_cache_usage_perc{engine=\"0\",model_name=\"a\"} 0.2\n\
                vllm:kv_cache_usage_perc{engine=\"0\",model_name=\"b\"} 0.6\n";
    let reading = vllm(page);
    assert_eq!((reading.engines, reading.waiting, reading.kv_usage), (2, Some(3), Some(0.4)));

    let page = "nv_trt_llm_request_metrics{model=\"a\",request_type=\"waiting\",version=\"1\"} 7\n\
                nv_trt_llm_request_metrics{model=\"b\",request_type=\"waiting\",version=\"1\"} 1\n\
                nv_trt_llm_request_metrics{model=\"b\",request_type=\"scheduled\",version=\"1\"} 3\n";
    let reading = read(&TRITON_TENSORRT_LLM, page.as_bytes());
    assert_eq!((reading.engines, reading.waiting, reading.running), (2, Some(8), Some(3)));
}

/// A sample of SGLang for each rank, with the labels that its schedulers have.
fn sglang(name: &str, ranks: &[(Option<u32>, u32, u32)], value: f64) -> String {
    let line = |(dp, tp, pp): &(Option<u32>, u32, u32)| {
        let dp = dp.map(|dp| format!("dp_rank=\"{dp}\",")).unwrap_or_default();
        format!(
            "sglang:{name}{{{dp}engine_type=\"unified\",model_name=\"m\",moe_ep_rank=\"0\",\
             pp_rank=\"{pp}\",tp_rank=\"{tp}\"}} {value:?}\n"
        )
    };
    ranks.iter().map(line).collect()
}

#[test]
fn ranks_of_one_engine_of_sglang_are_counted_once() {
    // All schedulers write metrics: eight tensor parallel ranks, or two in each of four pipeline stages.
    let tensor: Vec<_> = (0..8).map(|tp| (None, tp, 0)).collect();
    let pipeline: Vec<_> = (0..8).map(|rank| (None, rank % 2, rank / 2)).collect();
    for ranks in [tensor, pipeline] {
        let page = [
            sglang("num_queue_reqs", &ranks, 2.0),
            sglang("num_running_reqs", &ranks, 5.0),
            sglang("token_usage", &ranks, 0.5),
            sglang("page_size", &ranks, 64.0),
            sglang("num_pages", &ranks, 1000.0),
        ]
        .concat();
        let reading = read(&SGLANG, page.as_bytes());
        assert_eq!((reading.engines, reading.waiting, reading.running), (1, Some(2), Some(5)));
        assert_eq!((reading.kv_usage, reading.blocks), (Some(0.5), Some(1000)));
    }
}

#[test]
fn a_rank_that_is_behind_the_others_does_not_hide_a_queue() {
    let page = [
        sglang("num_queue_reqs", &[(None, 0, 0)], 3.0),
        sglang("num_queue_reqs", &[(None, 1, 0)], 2.0),
        sglang("num_queue_reqs", &[(None, 2, 0)], 0.0),
    ];
    assert_eq!(read(&SGLANG, page.concat().as_bytes()).waiting, Some(3));
}

#[test]
fn data_parallel_ranks_of_sglang_are_engines() {
    // Data parallel attention: eight tensor parallel ranks, two for each of four data parallel ones.
    let ranks: Vec<_> = (0..8).map(|tp| (Some(tp / 2), tp, 0)).collect();
    let (busy, idle) = ranks.split_at(4);
    let page = [
        sglang("num_queue_reqs", busy, 3.0),
        sglang("num_queue_reqs", idle, 0.0),
        sglang("num_running_reqs", &ranks, 2.0),
        sglang("token_usage", busy, 0.75),
        sglang("token_usage", idle, 0.25),
        // Only one rank of each writes these.
        sglang("page_size", &[(Some(0), 0, 0), (Some(1), 2, 0), (Some(2), 4, 0), (Some(3), 6, 0)], 1.0),
        sglang("num_pages", &[(Some(0), 0, 0), (Some(1), 2, 0), (Some(2), 4, 0), (Some(3), 6, 0)], 500.0),
    ];
    let reading = read(&SGLANG, page.concat().as_bytes());
    assert_eq!((reading.engines, reading.waiting, reading.running), (4, Some(6), Some(8)));
    assert_eq!((reading.kv_usage, reading.blocks), (Some(0.5), Some(2000)));
}

#[test]
fn engines_without_end_take_no_memory_without_end() {
    let page: String =
        (0..2000).map(|n| format!("vllm:num_requests_waiting{{engine=\"{n}\"}} 1\n")).collect();
    let reading = vllm(&page);
    assert_eq!((reading.engines, reading.waiting, reading.malformed), (512, Some(512), 1488));
}

#[test]
fn newer_name_of_kv_usage_wins_over_older() {
    assert_eq!(vllm("vllm:gpu_cache_usage_perc 0.25\n").kv_usage, Some(0.25));
    let both = "vllm:gpu_cache_usage_perc{a=\"b\"} 0.25\nvllm:kv_cache_usage_perc 0.5\n";
    assert_eq!(vllm(both).kv_usage, Some(0.5));
}

#[test]
fn reads_the_other_engines() {
    let sglang = "sglang:num_queue_reqs{priority=\"\",tp_rank=\"0\"} 4.0\n\
                  sglang:num_queue_reqs{priority=\"1\",tp_rank=\"0\"} 3.0\n\
                  sglang:num_running_reqs{tp_rank=\"0\"} 5\nsglang:token_usage 0.11\n\
                  sglang:page_size 1\nsglang:num_pages 59902\n";
    let reading = read(&SGLANG, sglang.as_bytes());
    assert_eq!((reading.waiting, reading.running, reading.kv_usage), (Some(4), Some(5), Some(0.11)));
    assert_eq!((reading.block_tokens, reading.blocks), (Some(1), Some(59_902)));
    let labels = b"sglang:cache_config_info{num_pages=\"77\",page_size=\"64\"} 1.0\n";
    let reading = read(&SGLANG, labels);
    assert_eq!((reading.block_tokens, reading.blocks), (Some(64), Some(77)));

    let trtllm = "trtllm_num_requests_waiting 1\ntrtllm_num_requests_running 2\n\
                  trtllm_kv_cache_utilization{model_name=\"m\"} 0.62\n\
                  trtllm_kv_cache_tokens_per_block 32\ntrtllm_kv_cache_max_blocks 6239\n";
    let reading = read(&TRTLLM_SERVE, trtllm.as_bytes());
    assert_eq!((reading.waiting, reading.running, reading.kv_usage), (Some(1), Some(2), Some(0.62)));
    assert_eq!((reading.block_tokens, reading.blocks), (Some(32), Some(6239)));

    let triton_llm = "nv_trt_llm_request_metrics{model=\"m\",request_type=\"waiting\",version=\"1\"} 7\n\
                      nv_trt_llm_request_metrics{model=\"m\",request_type=\"scheduled\",version=\"1\"} 8\n\
                      nv_trt_llm_request_metrics{model=\"m\",request_type=\"max\",version=\"1\"} 512\n\
                      nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type=\"fraction\"} 0.75\n\
                      nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type=\"tokens_per\"} 64\n\
                      nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type=\"max\"} 6239\n";
    let reading = read(&TRITON_TENSORRT_LLM, triton_llm.as_bytes());
    assert_eq!((reading.waiting, reading.running, reading.kv_usage), (Some(7), Some(8), Some(0.75)));
    assert_eq!((reading.block_tokens, reading.blocks), (Some(64), Some(6239)));

    let triton = "nv_inference_exec_count{model=\"a\"} 100000\n\
                  nv_inference_pending_request_count{model=\"a\",version=\"1\"} 3\n\
                  nv_inference_pending_request_count{model=\"b\",version=\"2\"} 11\n";
    let reading = read(&TRITON, triton.as_bytes());
    assert_eq!((reading.engines, reading.waiting, reading.running), (1, Some(14), None));
}

#[test]
fn a_longer_name_is_another_series() {
    let page = "vllm:num_requests_waiting_by_reason{reason=\"capacity\"} 9\nvllm:num_requests_waitin 8\n\
                xvllm:num_requests_waiting 7\n# vllm:num_requests_waiting 6\n";
    assert!(vllm(page).is_empty());
}

#[test]
fn takes_every_spelling_of_a_line() {
    let spellings = [
        "vllm:num_requests_waiting 5",
        "vllm:num_requests_waiting 5.0\r\n",
        "  vllm:num_requests_waiting\t5e0 1795399099000\n",
        "vllm:num_requests_waiting{} 0.5e1\n# EOF\n",
        "vllm:num_requests_waiting { a = \"}\" , b=\"\\\"}{\\\\\" , } 5 # {trace_id=\"x\"} 1\n",
        "vllm:num_requests_waiting{a=\"x\"}5\n",
        "vllm:num_requests_waiting{a=\"\u{1F600}\\n\"} +5\n",
    ];
    for line in spellings {
        let reading = vllm(line);
        assert_eq!((reading.waiting, reading.malformed), (Some(5), 0), "{line:?}");
    }
}

#[test]
fn what_is_no_load_is_counted_and_left_out() {
    let broken = [
        "vllm:num_requests_waiting NaN\n",
        "vllm:num_requests_waiting +Inf\n",
        "vllm:num_requests_waiting -1\n",
        "vllm:num_requests_waiting five\n",
        "vllm:num_requests_waiting{a=\"b\"}\n",
        "vllm:num_requests_waiting{a=\"b\" 5\n",
        "vllm:num_requests_waiting{a=b} 5\n",
        "vllm:num_requests_waiting{a=\"b\\\"} 5\n",
        "vllm:num_requests_waiting{=\"b\"} 5\n",
    ];
    for line in broken {
        let reading = vllm(line);
        assert_eq!((reading.waiting, reading.malformed), (None, 1), "{line:?}");
    }
    let both =
        vllm("vllm:num_requests_waiting{engine=\"0\"} nan\nvllm:num_requests_waiting{engine=\"1\"} 2\n");
    assert_eq!((both.waiting, both.malformed), (Some(2), 1));
    assert_eq!(vllm("vllm:kv_cache_usage_perc 3\n").kv_usage, Some(1.0));
    assert_eq!(vllm("vllm:num_requests_running 1e300\n").running, Some(u32::MAX));
    let unknown = vllm("vllm:cache_config_info{block_size=\"16\",num_gpu_blocks=\"None\"} 1\n");
    assert_eq!((unknown.block_tokens, unknown.blocks, unknown.malformed), (Some(16), None, 0));
}

#[test]
fn the_newest_adapters_count() {
    let page = "vllm:lora_requests_info{max_lora=\"2\",running_lora_adapters=\"old\"} 1.0\n\
                vllm:lora_requests_info{max_lora=\"2\",running_lora_adapters=\"b, a\",\
                waiting_lora_adapters=\"c\"} 1.795399127e+09\n\
                vllm:lora_requests_info{max_lora=\"2\",running_lora_adapters=\"older\"} 0.5\n";
    let adapters = vllm(page).adapters.unwrap();
    assert_eq!(adapters, Adapters { max: 2, active: names(&["a", "b"]), waiting: names(&["c"]) });
}

#[test]
fn an_overlong_line_does_not_stay_in_memory() {
    let mut scanner = PageScanner::new(&VLLM);
    scanner.feed(b"vllm:num_requests_waiting{a=\"");
    for _ in 0..1000 {
        scanner.feed(&[b'x'; 1000]);
        assert!(scanner.cut_line.len() <= MAX_LINE_BYTES);
    }
    scanner.feed(b"\"} 5\nvllm:num_requests_running 2");
    let reading = scanner.finish();
    assert_eq!((reading.waiting, reading.running, reading.malformed), (None, Some(2), 1));
    assert!(scanner.cut_line.capacity() <= MAX_IDLE_BYTES);
    assert_eq!(scanner.finish(), Reading::default());
}

#[test]
fn a_page_given_up_leaves_nothing_behind() {
    let mut scanner = PageScanner::new(&VLLM);
    scanner.feed(b"vllm:num_requests_waiting 5\nvllm:num_requests_run");
    scanner.reset();
    scanner.feed(b"ning 7\nvllm:num_requests_running 3\n");
    assert_eq!(scanner.finish(), Reading { engines: 1, running: Some(3), ..Reading::default() });
}

/// Pieces that pages are made of, so that random pages come close to real ones.
fn fragment() -> impl Strategy<Value = String> {
    let names = [
        "vllm:num_requests_waiting",
        "vllm:num_requests_running",
        "vllm:kv_cache_usage_perc",
        "vllm:gpu_cache_usage_perc",
        "vllm:lora_requests_info",
        "vllm:cache_config_info",
        "vllm:num_requests_waiting_by_reason",
        "vllm:num_preemptions_total",
        "# HELP vllm:num_requests_waiting",
        "vllm:",
        "process_open_fds",
    ];
    let labels = [
        "engine=\"0\"",
        "engine=\"1\",",
        "model_name=\"m\"",
        "max_lora=\"3\"",
        "running_lora_adapters=\"b,a\"",
        "waiting_lora_adapters=\"c\"",
        "block_size=\"16\"",
        "num_gpu_blocks=\"100\"",
        "num_gpu_blocks=\"None\"",
        "a=\"\\\"}\\n\"",
        "broken",
        "x=\"}\"",
    ];
    let values =
        ["0", "1.0", "2.5e1", "NaN", "+Inf", "-3", "0.5", "1e400", "x", "", "7 1795399099", "1.795e9"];
    let label_set = proptest::collection::vec(prop::sample::select(labels.to_vec()), 0..4);
    let end = prop::sample::select(vec!["\n", "\n", "\r\n", "", "\n\n", "} 3\n"]);
    (prop::sample::select(names.to_vec()), label_set, prop::sample::select(values.to_vec()), end).prop_map(
        |(name, labels, value, end)| match labels.is_empty() {
            true => format!("{name} {value}{end}"),
            false => format!("{name}{{{}}} {value}{end}", labels.join(",")),
        },
    )
}

/// A page, and where it is cut.
fn page_and_cuts() -> impl Strategy<Value = (Vec<u8>, Vec<prop::sample::Index>)> {
    let page = prop_oneof![
        9 => proptest::collection::vec(fragment(), 0..30).prop_map(|parts| parts.concat().into_bytes()),
        1 => proptest::collection::vec(any::<u8>(), 0..400),
    ];
    (page, proptest::collection::vec(any::<prop::sample::Index>(), 0..12))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn agrees_with_the_plain_reader_however_a_page_is_cut((page, cuts) in page_and_cuts()) {
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(page.len() + 1)).collect();
        cuts.extend([0, page.len()]);
        cuts.sort_unstable();
        let mut scanner = PageScanner::new(&VLLM);
        for cut in cuts.windows(2) {
            scanner.feed(&page[cut[0]..cut[1]]);
        }
        let reading = scanner.finish();
        prop_assert_eq!(&reading, &read(&VLLM, &page));
        prop_assert_eq!(&reading, &read_plainly(&page));
    }

    #[test]
    fn never_panics(page in proptest::collection::vec(any::<u8>(), 0..2000)) {
        for series in [&VLLM, &SGLANG, &TRTLLM_SERVE, &TRITON_TENSORRT_LLM, &TRITON] {
            let mut cut = series.prefix.as_bytes().to_vec();
            cut.extend_from_slice(series.wanted[0].suffix.as_bytes());
            cut.extend_from_slice(&page);
            read(series, &page);
            read(series, &cut);
        }
    }
}

#[test]
fn cut_at_every_byte() {
    let page = VllmPage { max_model_len: 1, ..VllmPage::default() }.render();
    let page = page.as_bytes();
    let whole = read(&VLLM, page);
    for cut in 0..=page.len() {
        let mut scanner = PageScanner::new(&VLLM);
        scanner.feed(&page[..cut]);
        scanner.feed(&page[cut..]);
        assert_eq!(scanner.finish(), whole, "cut at {cut}");
    }
}
