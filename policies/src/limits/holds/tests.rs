use std::time::Duration;

use penstock_config::{Count, LimitSpec, ModelNames, Price, PriceTier, Window};

use super::*;
use crate::limits::Prices;
use crate::limits::testing::{
    MINUTE, Request, at, limit, limiter, remaining, requests, reserve, tokens, usage,
};

#[test]
fn each_way_a_request_ends_counts_what_it_took_and_lets_go_of_what_it_held() {
    let cases: [(Spent<'_>, Option<u64>, [u64; 2]); 7] = [
        (Spent::Nothing, Some(30), [10, 1000]),
        (Spent::Failed, None, [9, 1000]),
        // Something was seen: an answer began, whoever says what.
        (Spent::Failed, Some(30), [9, 870]),
        (Spent::Seen, Some(30), [9, 870]),
        (Spent::Seen, None, [9, 900]),
        (Spent::Used { usage: &usage(90, 10), price: None }, Some(300), [9, 900]),
        (Spent::Used { usage: &usage(0, 0), price: None }, None, [9, 1000]),
    ];
    for (spent, seen, left) in cases {
        let limiter = limiter(&Counters::new(10), [requests(10), tokens(1000)]);
        let request = Request::by("a");
        let mut holds = reserve(&limiter, &request, usage(100, 200), at(0.0)).unwrap();
        assert_eq!(remaining(&limiter, &request, at(0.0)), [9, 700]);
        if let Some(seen) = seen {
            assert_eq!(holds.seen(seen, at(0.0)), Seen::Go);
        }
        holds.settle(spent, at(0.0));
        assert_eq!(remaining(&limiter, &request, at(0.0)), left, "{spent:?} {seen:?}");
        // Once, and no more.
        assert!(holds.is_empty());
        holds.settle(Spent::Used { usage: &usage(500, 0), price: None }, at(0.0));
        drop(holds);
        assert_eq!(remaining(&limiter, &request, at(0.0)), left, "{spent:?} {seen:?}");
    }
}

#[test]
fn what_is_dropped_counts_what_was_seen() {
    let limiter = limiter(&Counters::new(10), [requests(10), tokens(1000)]);
    let request = Request::by("a");
    let mut holds = reserve(&limiter, &request, usage(100, 200), at(0.0)).unwrap();
    holds.seen(7, at(0.0));
    holds.seen(5, at(0.0));
    drop(holds);
    assert_eq!(remaining(&limiter, &request, at(0.0)), [9, 893]);
    drop(reserve(&limiter, &request, usage(100, 200), at(0.0)).unwrap());
    assert_eq!(remaining(&limiter, &request, at(0.0)), [8, 893]);
}

#[test]
fn a_panic_leaves_nothing_held() {
    let limiter = limiter(&Counters::new(10), [requests(10), tokens(1000)]);
    let request = Request::by("a");
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let mut holds = reserve(&limiter, &request, usage(100, 200), at(0.0)).unwrap();
        holds.seen(1, at(0.0));
        std::panic::resume_unwind(Box::new("a fault"));
    }));
    assert!(panicked.is_err());
    assert_eq!(remaining(&limiter, &request, at(0.0)), [9, 899]);
}

#[test]
fn debt_is_not_forgiven() {
    let bucket = limit("tokens", Count::TotalTokens, 60, Window::TokenBucket(MINUTE));
    let limiter = limiter(&Counters::new(10), [bucket]);
    let request = Request::by("a");
    let mut holds = reserve(&limiter, &request, usage(10, 10), at(0.0)).unwrap();
    holds.settle(Spent::Used { usage: &usage(10, 170), price: None }, at(0.0));
    for (second, left) in [(0.0, 0), (60.0, 0), (120.0, 0), (121.0, 1), (180.0, 60)] {
        assert_eq!(remaining(&limiter, &request, at(second)), [left], "{second}");
    }
}

#[test]
fn what_is_settled_is_told() {
    let limiter = limiter(&Counters::new(10), [requests(10), tokens(1000)]);
    let mut holds = reserve(&limiter, &Request::by("a"), usage(100, 200), at(0.0)).unwrap();
    let mut told = Vec::new();
    holds.settle_each(Spent::Used { usage: &usage(100, 7), price: None }, at(0.0), |settled| {
        told.push(settled)
    });
    let told: Vec<_> =
        told.iter().map(|settled| (&*settled.limit.limit, settled.held, settled.used)).collect();
    assert_eq!(told, [("requests", 1, 1), ("tokens", 300, 107)]);
}

#[test]
fn a_standing_says_what_is_left_and_when_all_of_it_is_there_again() {
    let bucket = limit("tokens", Count::TotalTokens, 600, Window::TokenBucket(MINUTE));
    let limiter = limiter(&Counters::new(10), [requests(10), bucket]);
    let request = Request::by("a");
    let mut holds = reserve(&limiter, &request, usage(100, 0), at(10.0)).unwrap();
    holds.settle(Spent::Used { usage: &usage(100, 0), price: None }, at(10.0));
    let holds = reserve(&limiter, &request, usage(50, 0), at(15.0)).unwrap();
    let standing: Vec<_> = holds.standing(at(15.0)).collect();
    assert_eq!((standing[0].remaining, standing[0].reset), (8, Duration::from_secs(45)));
    assert_eq!((standing[1].remaining, standing[1].reset), (500, Duration::from_secs(5)));
    assert_eq!((standing[1].held, standing[1].amount, standing[1].is_exceeded), (50, 600, false));
}

fn cutting(limit: LimitSpec) -> LimitSpec {
    LimitSpec { cuts_streams: true, ..limit }
}

#[test]
fn a_stream_that_goes_beyond_its_hold_holds_more_and_is_cut_when_there_is_no_more() {
    let limiter = limiter(&Counters::new(10), [cutting(tokens(100))]);
    let request = Request::by("a");
    let mut holds = reserve(&limiter, &request, usage(10, 20), at(0.0)).unwrap();
    let mut other = reserve(&limiter, &request, usage(10, 20), at(0.0)).unwrap();
    for (seen, left) in [(1, 40), (20, 40), (21, 20), (40, 20), (41, 0), (60, 0)] {
        assert_eq!(holds.seen(seen, at(0.0)), Seen::Go, "{seen}");
        assert_eq!(remaining(&limiter, &request, at(0.0)), [left], "{seen}");
    }
    let cut = Seen::Cut { policy: "tenants".into(), limit: "tokens".into() };
    assert_eq!(holds.seen(61, at(0.0)), cut);
    // What another lets go of is there for it.
    other.settle(Spent::Nothing, at(0.0));
    assert_eq!(holds.seen(62, at(0.0)), Seen::Go);
    holds.settle(Spent::Seen, at(0.0));
    assert_eq!(remaining(&limiter, &request, at(0.0)), [28]);
}

#[test]
fn streams_go_on_beyond_their_holds_where_no_limit_cuts() {
    let shadow = LimitSpec { is_shadow: true, ..cutting(tokens(10)) };
    for limit in [tokens(10), shadow] {
        let limiter = limiter(&Counters::new(10), [limit]);
        let mut holds = reserve(&limiter, &Request::by("a"), usage(1, 1), at(0.0)).unwrap();
        assert_eq!(holds.seen(10_000, at(0.0)), Seen::Go);
    }
}

/// What 1000 tokens cost: of the prompt as many, and generated twice as many.
fn prices(factor: u64) -> Prices {
    let tier = PriceTier {
        above_input_tokens: 0,
        input: 1_000_000 * factor,
        cached_input: 0,
        cache_write: 0,
        output: 2_000_000 * factor,
        reasoning: 2_000_000 * factor,
    };
    let price = Price { models: ModelNames::new(["*"]), upstream: None, request: 0, tiers: [tier].into() };
    Prices::new(&[price])
}

#[test]
fn what_was_seen_is_charged_at_the_price_of_who_served_it_and_not_at_the_dearest() {
    let limiter = limiter(&Counters::new(10), [limit("cost", Count::Cost, 10_000, Window::Fixed(MINUTE))]);
    let request = Request::by("a");
    let (dear, cheap) = (prices(10), prices(1));
    for (served_at, left) in [(cheap.of("any", "gpt"), 9880), (dear.of("any", "gpt"), 8800), (None, 10_000)] {
        let mut holds = Holds::default();
        let dearest = dear.of("any", "gpt");
        request
            .with(|ask| limiter.reserve(ask, &usage(100, 50), dearest, at(0.0), &mut holds))
            .expect("there is enough");
        holds.seen(10, at(0.0));
        holds.served_by("cheap", None, served_at);
        let mut used = 0;
        holds.settle_each(Spent::Seen, at(0.0), |settled| used = settled.used);
        assert_eq!(10_000 - used, left);
    }
}

#[test]
fn reasoning_is_held_cut_and_counted_where_nobody_says_what_was_taken() {
    let reasoning = cutting(limit("reasoning", Count::ReasoningTokens, 100, Window::Fixed(MINUTE)));
    let limiter = limiter(&Counters::new(10), [reasoning]);
    let request = Request::by("a");
    let expected = Usage { reasoning: 20, ..usage(10, 40) };
    let mut holds = reserve(&limiter, &request, expected, at(0.0)).unwrap();
    assert_eq!(remaining(&limiter, &request, at(0.0)), [80]);
    assert_eq!(holds.seen(40, at(0.0)), Seen::Go);
    assert_eq!(holds.seen(200, at(0.0)), Seen::Go);
    assert_ne!(holds.seen(202, at(0.0)), Seen::Go);
    holds.settle(Spent::Seen, at(0.0));
    assert_eq!(remaining(&limiter, &request, at(0.0)), [0]);
    // The client left early.
    let mut holds = reserve(&limiter, &Request::by("b"), expected, at(0.0)).unwrap();
    holds.seen(5, at(0.0));
    drop(holds);
    assert_eq!(remaining(&limiter, &Request::by("b"), at(0.0)), [97]);
}

#[test]
fn a_stream_is_cut_by_what_it_costs_as_well() {
    let prices = prices(1);
    let cost = cutting(limit("cost", Count::Cost, 1000, Window::Fixed(MINUTE)));
    let limiter = limiter(&Counters::new(10), [cost]);
    let mut holds = Holds::default();
    let price = prices.of("any", "gpt");
    Request::by("a").with(|ask| limiter.reserve(ask, &usage(100, 50), price, at(0.0), &mut holds)).unwrap();
    let cut_at = (1..1000).find(|seen| holds.seen(*seen, at(0.0)) != Seen::Go).unwrap();
    // 450 would be all of it; it is reckoned every 32 tokens.
    assert!((451..=482).contains(&cut_at), "{cut_at}");
}
