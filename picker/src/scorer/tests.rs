use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};

use http::{HeaderMap, HeaderValue};
use penstock_config::Engine;
use proptest::prelude::*;

use super::{Candidate, Context, ExpectedTtft, Scorer};
use crate::{
    clock::Clock,
    endpoint::{Attributes, Endpoint, Shared},
    load::{EngineCount, Load, LoraState, ReportedLoad},
    session,
};

/// Every scorer, with its default parameters and, where it has some, with others.
fn all() -> Vec<Scorer> {
    vec![
        Scorer::Queue,
        Scorer::RunningRequests,
        Scorer::KvCacheUtilization,
        Scorer::LoraAffinity,
        Scorer::LoadAware { threshold: 128.0 },
        Scorer::ActiveRequest { idle_threshold: 0, max_busy_score: 1.0 },
        Scorer::ActiveRequest { idle_threshold: 3, max_busy_score: 0.5 },
        Scorer::TokenLoad { threshold: 4_194_304.0 },
        Scorer::PrefixCache { length_weight: 0.0, max_tokens: 8192.0 },
        Scorer::PrefixCache { length_weight: 0.5, max_tokens: 1.0 },
        Scorer::ExpectedTtft(ExpectedTtft::default()),
        Scorer::NoHitLru { remembered: 1024 },
        Scorer::NoHitLru { remembered: 1 },
        Scorer::SessionAffinity { header: session::DEFAULT_HEADER },
        Scorer::SessionId { header: session::DEFAULT_ID_HEADER },
    ]
}

/// What a scorer sees of an endpoint.
#[derive(Debug, Clone, Default)]
struct Seen {
    load: Load,
    matched: u32,
    last_cold_pick: u64,
    lora: Option<LoraState>,
    name: String,
    port: u16,
}

fn endpoint(seen: &Seen) -> Arc<Endpoint> {
    let address: SocketAddr = ([127, 0, 0, 1], seen.port).into();
    let attributes = Attributes { metrics_address: address, engine: Engine::Vllm, labels: BTreeMap::new() };
    let shared = Arc::new(Shared::new(Clock::running()));
    let endpoint = Endpoint::new(address, seen.name.as_str().into(), attributes, 0, shared);
    endpoint.last_cold_pick.store(seen.last_cold_pick, std::sync::atomic::Ordering::Relaxed);
    endpoint.lora.store(seen.lora.clone().map(Arc::new));
    endpoint
}

fn scores(scorer: &Scorer, seen: &[Seen], headers: &HeaderMap) -> Vec<f64> {
    let endpoints: Vec<_> = seen.iter().map(endpoint).collect();
    let candidates: Vec<_> = seen
        .iter()
        .enumerate()
        .map(|(index, seen)| Candidate { index, load: seen.load, matched: seen.matched })
        .collect();
    let hashes: Vec<u64> = (0..128).collect();
    let homes: Vec<_> = endpoints.iter().map(|endpoint| endpoint.home_hash()).collect();
    let context = Context {
        hashes: &hashes,
        stride: 1,
        endpoints: &endpoints,
        homes: &homes,
        model: "m",
        headers,
        prompt_tokens: 8192,
        typical_prefill: 100,
        session: None,
        blocks: 128,
        block_tokens: 64,
    };
    let mut scores = vec![f64::NAN; seen.len()];
    scorer.score(&context, &candidates, &mut scores, &mut Vec::new());
    scores
}

fn check(scorer: &Scorer, seen: &[Seen], expected: &[f64]) {
    let scores = scores(scorer, seen, &HeaderMap::new());
    for (score, expected) in scores.iter().zip(expected) {
        assert!((score - expected).abs() < 1e-9, "{scorer:?}: {scores:?}");
    }
    assert_eq!(scores.len(), expected.len());
}

fn loads(loads: impl IntoIterator<Item = Load>) -> Vec<Seen> {
    loads.into_iter().map(|load| Seen { load, ..Seen::default() }).collect()
}

fn arbitrary_seen() -> impl Strategy<Value = Seen> {
    let count = prop_oneof![0..5_u32, Just(u32::MAX), any::<u32>()];
    let usage = proptest::option::of(0.0..=1.0_f64);
    let sent = (count.clone(), any::<u64>(), any::<u64>());
    let load = (count.clone(), count.clone(), usage, sent, count.clone(), count);
    let load =
        (load, 0..9_u32).prop_map(|((waiting, running, kv_usage, sent, others, others_waiting), engines)| {
            Load {
                engines: EngineCount::new(engines),
                waiting,
                running,
                kv_usage,
                in_flight: sent.0,
                tokens: sent.1,
                prefill: sent.2,
                others,
                others_waiting,
                reported: ReportedLoad::default(),
            }
        });
    let names = || proptest::collection::vec(prop_oneof![Just("m".into()), Just("n".into())], 0..3);
    let lora = proptest::option::of(
        (names(), names(), 0..5_u32).prop_map(|(active, waiting, max_lora)| LoraState {
            active,
            waiting,
            max_lora,
        }),
    );
    (load, 0..=200_u32, lora, "[ab]").prop_map(|(load, matched, lora, name)| Seen {
        load,
        matched,
        last_cold_pick: 0,
        lora,
        name,
        port: 0,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn scores_are_between_0_and_1_whatever_the_load_and_order(
        mut seen in proptest::collection::vec(arbitrary_seen(), 0..12),
        rotation in 0..12_usize,
        is_cold in any::<bool>(),
    ) {
        // Turns are unique but for "never", as a counter gives them out.
        for (turn, seen) in seen.iter_mut().enumerate() {
            seen.last_cold_pick = turn as u64 / 2 * (turn as u64 % 2);
            seen.port = turn as u16;
            if is_cold {
                seen.matched = 0;
            }
        }
        let mut headers = HeaderMap::new();
        headers.insert(session::DEFAULT_HEADER, session::token("a"));
        for scorer in all() {
            let straight = scores(&scorer, &seen, &headers);
            prop_assert!(straight.iter().all(|score| (0.0..=1.0).contains(score)), "{scorer:?}: {straight:?}");

            let places = |len: usize| rotation.checked_rem(len).unwrap_or(0);
            let mut turned = seen.clone();
            turned.rotate_left(places(seen.len()));
            turned.reverse();
            let mut expected = straight.clone();
            expected.rotate_left(places(seen.len()));
            expected.reverse();
            let turned = scores(&scorer, &turned, &headers);
            // A sum of floats depends on the order in its last bit.
            let is_same = turned.iter().zip(&expected).all(|(one, other)| (one - other).abs() < 1e-12);
            prop_assert!(is_same, "{scorer:?}: {turned:?}, not {expected:?}");
        }
    }
}

#[test]
fn queue_and_running_scores_are_relative_to_the_extremes() {
    let waiting = |waiting| Load { waiting, ..Load::default() };
    check(&Scorer::Queue, &loads([10, 4, 2].map(waiting)), &[0.0, 0.75, 1.0]);
    check(&Scorer::Queue, &loads([7, 7].map(waiting)), &[1.0, 1.0]);
    let running = |running| Load { running, ..Load::default() };
    check(&Scorer::RunningRequests, &loads([0, 5].map(running)), &[1.0, 0.0]);
}

#[test]
fn cache_score_is_what_is_free_and_unknown_is_average() {
    let usage = |kv_usage| Load { kv_usage, ..Load::default() };
    check(&Scorer::KvCacheUtilization, &loads([Some(0.2), None, Some(0.6)].map(usage)), &[0.8, 0.6, 0.4]);
    check(&Scorer::KvCacheUtilization, &loads([None, None].map(usage)), &[1.0, 1.0]);
}

#[test]
fn adapters_score_by_how_near_they_are() {
    let names = |names: &[&str]| names.iter().map(|name| Box::from(*name)).collect();
    let lora = |active: &[&str], waiting: &[&str], max_lora| Seen {
        lora: Some(LoraState { active: names(active), waiting: names(waiting), max_lora }),
        ..Seen::default()
    };
    let seen = [
        lora(&["m"], &[], 1),
        lora(&["a"], &[], 2),
        lora(&["a"], &["m"], 2),
        lora(&["a", "b"], &["c"], 2),
        Seen::default(),
    ];
    check(&Scorer::LoraAffinity, &seen, &[1.0, 0.8, 0.6, 0.0, 0.0]);
}

#[test]
fn load_aware_score_falls_from_a_half() {
    let waiting = |waiting| Load { waiting, ..Load::default() };
    check(
        &Scorer::LoadAware { threshold: 128.0 },
        &loads([0, 64, 128, 500].map(waiting)),
        &[0.5, 0.25, 0.0, 0.0],
    );
}

#[test]
fn active_requests_score_relative_to_the_busiest() {
    let in_flight = |in_flight| Load { in_flight, ..Load::default() };
    let plain = Scorer::ActiveRequest { idle_threshold: 0, max_busy_score: 1.0 };
    check(&plain, &loads([0, 1, 4].map(in_flight)), &[1.0, 0.75, 0.0]);
    let gap = Scorer::ActiveRequest { idle_threshold: 1, max_busy_score: 0.5 };
    check(&gap, &loads([0, 1, 2, 4].map(in_flight)), &[1.0, 1.0, 0.25, 0.0]);
}

#[test]
fn token_load_falls_linearly_to_the_threshold() {
    let tokens = |tokens| Load { tokens, ..Load::default() };
    check(
        &Scorer::TokenLoad { threshold: 1000.0 },
        &loads([0, 250, 1000, 9999].map(tokens)),
        &[1.0, 0.75, 0.0, 0.0],
    );
}

#[test]
fn prefix_score_mixes_share_and_length() {
    let seen: Vec<_> = [0, 64, 128].map(|matched| Seen { matched, ..Seen::default() }).into();
    check(&Scorer::PrefixCache { length_weight: 0.0, max_tokens: 8192.0 }, &seen, &[0.0, 0.5, 1.0]);
    check(&Scorer::PrefixCache { length_weight: 1.0, max_tokens: 8192.0 }, &seen, &[0.0, 0.25, 1.0]);
    check(&Scorer::PrefixCache { length_weight: 0.5, max_tokens: 8192.0 }, &seen, &[0.0, 0.375, 1.0]);
}

#[test]
fn a_prompt_that_nobody_holds_goes_round() {
    let scorer = Scorer::NoHitLru { remembered: 1024 };
    let turns = |turns: [u64; 5]| turns.map(|last_cold_pick| Seen { last_cold_pick, ..Seen::default() });
    check(&scorer, &turns([0, 0, 0, 0, 0]), &[1.0; 5]);
    check(&scorer, &turns([0, 7, 9, 8, 0]), &[1.0, 0.5, 0.0, 0.25, 1.0]);
    check(&Scorer::NoHitLru { remembered: 2 }, &turns([5, 7, 9, 8, 6]), &[1.0, 1.0, 0.0, 0.25, 1.0]);
    check(&scorer, &turns([5, 6, 7, 8, 9])[..1], &[1.0]);
    let mut hit = turns([0, 7, 9, 8, 0]);
    hit[2].matched = 1;
    check(&scorer, &hit, &[0.5; 5]);
}

#[test]
fn a_session_goes_where_it_was() {
    let seen = ["default/a", "default/b"].map(|name| Seen { name: name.into(), ..Seen::default() });
    let scorer = Scorer::SessionAffinity { header: session::DEFAULT_HEADER };
    let mut headers = HeaderMap::new();
    assert_eq!(scores(&scorer, &seen, &headers), [0.0, 0.0]);
    headers.insert(session::DEFAULT_HEADER, HeaderValue::from_static("ZGVmYXVsdC9i"));
    assert_eq!(scores(&scorer, &seen, &headers), [0.0, 1.0]);
}

/// What a request costs, by the scores: the first endpoint's is taken for 1.
fn costs(scorer: ExpectedTtft, seen: &[Seen]) -> Vec<f64> {
    let scores = scores(&Scorer::ExpectedTtft(scorer), seen, &HeaderMap::new());
    scores.iter().map(|score| scores[0] / score).collect()
}

fn same(costs: &[f64], expected: &[f64]) {
    let is_same = costs.iter().zip(expected).all(|(cost, expected)| (cost / expected - 1.0).abs() < 1e-9);
    assert!(is_same && costs.len() == expected.len(), "{costs:?}, not {expected:?}");
}

#[test]
fn what_is_expected_is_the_queue_the_prompt_and_the_batch() {
    // Of a prompt of 8192 tokens in 128 blocks; the idle endpoint that holds nothing is the measure.
    let load = |prefill, in_flight, matched| Seen {
        load: Load { prefill, in_flight, ..Load::default() },
        matched,
        ..Seen::default()
    };
    let scorer = ExpectedTtft { batch_delay_weight: 0.1, request_tokens: 50.0, ..ExpectedTtft::default() };
    let seen = [
        load(0, 0, 0),
        load(0, 0, 64),
        load(0, 0, 128),
        load(1000, 0, 0),
        // Each of four stands for 50 tokens, and for a tenth of those to be computed.
        load(0, 4, 64),
    ];
    let expected = [8192.0, 4096.0, 1.0, 9192.0, 4096.0 + 4.0 * (409.6 + 50.0)];
    same(&costs(scorer, &seen), &expected.map(|cost| cost / 8192.0));
}

#[test]
fn what_others_have_there_counts_as_well() {
    let load = |others, others_waiting| Seen {
        load: Load { others, others_waiting, ..Load::default() },
        ..Seen::default()
    };
    // Nobody's home, to have the rest alone. A request of late had 100 tokens to be computed.
    let scorer = ExpectedTtft { batch_delay_weight: 0.0, home_share: 0.0, ..ExpectedTtft::default() };
    let seen = [load(0, 0), load(2, 0), load(2, 1)];
    same(&costs(scorer, &seen), &[8192.0, 8292.0, 8392.0].map(|cost| cost / 8192.0));
}

#[test]
fn what_is_known_ends_where_the_index_can_tell() {
    let hashes: Vec<u64> = (0..100).collect();
    let headers = HeaderMap::new();
    let context = |stride| Context {
        endpoints: &[],
        homes: &[],
        model: "m",
        headers: &headers,
        prompt_tokens: 0,
        typical_prefill: 0,
        session: None,
        hashes: &hashes,
        stride,
        blocks: hashes.len() / stride,
        block_tokens: 64,
    };
    // Past the 32nd block two are remembered as one, past the 64th four; blocks before the end of such a group carry the
    // hash of what lies before it, which all continuations have in common.
    let next = |stride, known| context(stride).next_hash(known);
    assert_eq!([0, 31, 32, 64, 92].map(|known| next(1, known)), [0, 31, 33, 67, 95].map(Some));
    assert_eq!([96, 100].map(|known| next(1, known)), [Some(99), None]);
    assert_eq!([0, 32, 48, 50].map(|known| next(2, known)), [Some(1), Some(67), Some(99), None]);
}

#[test]
fn gateways_agree_on_a_home_for_what_they_do_not_know() {
    let seen = |others, matched: [u32; 4]| -> Vec<Seen> {
        let one = |(place, matched)| Seen {
            load: Load { others, in_flight: 1, ..Load::default() },
            matched,
            port: place as u16,
            ..Seen::default()
        };
        matched.into_iter().enumerate().map(one).collect()
    };
    let best = |seen: &[Seen]| -> Vec<u16> {
        let scores = scores(&Scorer::ExpectedTtft(ExpectedTtft::default()), seen, &HeaderMap::new());
        seen.iter().zip(scores).filter(|(_, score)| *score == 1.0).map(|(seen, _)| seen.port).collect()
    };
    let home = best(&seen(3, [0; 4]));
    assert_eq!(home.len(), 1, "one of them is cheapest");
    let mut turned = seen(3, [0; 4]);
    turned.rotate_left(1);
    assert_eq!(best(&turned), home, "whatever their order");
    assert_eq!(best(&seen(0, [0; 4])).len(), 4, "alone, a gateway knows what is where");

    // What is known outweighs it, and only what holds all that is known can be a home for the rest.
    let holder = (home[0] + 1) % 4;
    let mut matched = [0; 4];
    matched[usize::from(holder)] = 96;
    assert_eq!(best(&seen(3, matched)), [holder]);
}

#[test]
fn several_engines_behind_one_address_are_scored_by_what_each_has() {
    let one = Load {
        waiting: 3,
        running: 5,
        kv_usage: Some(0.5),
        in_flight: 6,
        tokens: 9000,
        prefill: 700,
        ..Load::default()
    };
    let eight = Load {
        engines: EngineCount::new(8),
        waiting: 8 * one.waiting,
        running: 8 * one.running,
        in_flight: 8 * one.in_flight,
        tokens: 8 * one.tokens,
        prefill: 8 * one.prefill,
        ..one
    };
    let idle = Load { kv_usage: Some(0.0), ..Load::default() };
    for scorer in all() {
        let scores = scores(&scorer, &loads([one, eight, idle]), &HeaderMap::new());
        assert!((scores[0] - scores[1]).abs() < 1e-9, "{scorer:?}: {scores:?}");
        assert!(scores[2] >= scores[1], "{scorer:?}: {scores:?}");
    }
}
