use std::time::Duration;

use penstock_config::{
    Count, Dimension, LimitMatch, LimitSpec, Missing, ModelNames, Period, Price, PriceTier, Window,
};

use super::*;
use crate::limits::testing::{
    MINUTE, Request, at, consumer, identity, limit, limiter, policy, refusal, remaining, requests, reserve,
    tokens, usage,
};
use crate::limits::{CountKind, Prices, Spent};

#[test]
fn a_policy_without_limits_has_no_limiter() {
    assert!(Limiter::new(&policy([]), &Counters::new(1), 1, false).is_none());
}

#[test]
fn what_a_limiter_has_to_be_told_is_what_its_limits_ask_for() {
    let counters = Counters::new(10);
    let wants = |limit| limiter(&counters, [limit]).wants();
    let by_model = LimitSpec { per: [Dimension::Model].into(), ..requests(1) };
    let when = LimitMatch { models: Some(ModelNames::new(["gpt"])), ..LimitMatch::default() };
    let none = Wants::default();
    assert_eq!(wants(requests(1)), none);
    assert_eq!(wants(by_model), Wants { model: true, ..none });
    assert_eq!(wants(LimitSpec { when, ..requests(1) }), Wants { model: true, ..none });
    assert_eq!(wants(tokens(1)), Wants { tokens: true, ..none });
    let cost = limit("cost", Count::Cost, 1, Window::Fixed(MINUTE));
    assert_eq!(wants(cost), Wants { tokens: true, cost: true, ..none });
}

#[test]
fn as_many_requests_pass_as_the_limit_says_and_each_consumer_has_its_own() {
    let limiter = limiter(&Counters::new(10), [requests(3)]);
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(reserve(&limiter, &Request::by("a"), usage(0, 0), at(20.0)).unwrap());
    }
    let denied = refusal(&limiter, &Request::by("a"), usage(0, 0), at(20.0));
    // All is held by requests that may take long: it is worth another try soon.
    assert_eq!(denied.retry_after, Some(Duration::from_secs(1)));
    assert_eq!((&*denied.policy, &*denied.limit, denied.amount), ("tenants", "requests", 3));
    assert!(!denied.is_never && !denied.is_budget && denied.missing.is_none());
    assert!(reserve(&limiter, &Request::by("b"), usage(0, 0), at(20.0)).is_ok());
    for mut holds in held {
        holds.settle(Spent::Failed, at(21.0));
    }
    let denied = refusal(&limiter, &Request::by("a"), usage(0, 0), at(22.0));
    assert_eq!(denied.retry_after, Some(Duration::from_secs(38)));
    assert!(reserve(&limiter, &Request::by("a"), usage(0, 0), at(60.0)).is_ok());
}

#[test]
fn without_a_store_each_gateway_has_its_share_of_what_is_shared() {
    for (amount, replicas, share) in [(10, 3, 3), (10, 1, 10), (2, 5, 1), (0, 5, 0)] {
        let policy = policy([LimitSpec { is_shared: true, ..requests(amount) }]);
        let limiter = Limiter::new(&policy, &Counters::new(10), replicas, false).unwrap();
        let passes = (0..20).map_while(|_| {
            let mut holds = reserve(&limiter, &Request::by("a"), usage(0, 0), at(0.0)).ok()?;
            holds.settle(Spent::Failed, at(0.0));
            Some(())
        });
        assert_eq!(passes.count(), share, "{amount} by {replicas}");
    }
}

#[test]
fn the_limit_that_refuses_is_named_and_those_before_it_count_nothing() {
    let limiter = limiter(&Counters::new(10), [requests(10), tokens(100)]);
    let request = Request::by("a");
    let mut holds = reserve(&limiter, &request, usage(30, 0), at(0.0)).unwrap();
    holds.settle(Spent::Used { usage: &usage(30, 65), price: None }, at(0.0));
    let denied = refusal(&limiter, &request, usage(10, 0), at(0.0));
    assert_eq!((&*denied.limit, denied.count), ("tokens", CountKind::TotalTokens));
    assert_eq!(remaining(&limiter, &request, at(0.0)), [9, 5]);
}

#[test]
fn what_another_policy_holds_stays_held_when_a_limit_refuses() {
    let counters = Counters::new(10);
    let (first, second) = (limiter(&counters, [requests(5)]), limiter(&counters, [tokens(10)]));
    let request = Request::by("a");
    let mut holds = reserve(&first, &request, usage(0, 0), at(0.0)).unwrap();
    let mut taken = reserve(&second, &request, usage(5, 0), at(0.0)).unwrap();
    taken.settle(Spent::Used { usage: &usage(10, 0), price: None }, at(0.0));
    let result = request.with(|ask| second.reserve(ask, &usage(5, 0), None, at(0.0), &mut holds));
    assert!(matches!(result, Err(Stop::Denied(_))));
    assert_eq!(holds.standing(at(0.0)).count(), 1);
    assert_eq!(remaining(&first, &request, at(0.0)), [4]);
    holds.settle(Spent::Nothing, at(0.0));
    assert_eq!(remaining(&first, &request, at(0.0)), [5]);
}

#[test]
fn a_request_that_may_take_much_holds_half_of_the_amount_at_most() {
    let limiter = limiter(&Counters::new(10), [tokens(1000)]);
    let request = Request::by("a");
    let first = reserve(&limiter, &request, usage(10, 1_000_000), at(0.0)).unwrap();
    let second = reserve(&limiter, &request, usage(10, 1_000_000), at(0.0)).unwrap();
    assert_eq!(first.standing(at(0.0)).next().unwrap().held, 500);
    assert_eq!(remaining(&limiter, &request, at(0.0)), [0]);
    drop((first, second));
    assert_eq!(remaining(&limiter, &request, at(0.0)), [1000]);
}

#[test]
fn a_request_that_is_more_than_the_whole_amount_never_passes() {
    let input = limit("input", Count::InputTokens, 100, Window::Fixed(MINUTE));
    let limiter = limiter(&Counters::new(10), [input]);
    assert!(reserve(&limiter, &Request::by("a"), usage(400, 500), at(0.0)).is_ok());
    let denied = refusal(&limiter, &Request::by("a"), usage(404, 0), at(0.0));
    assert!(denied.is_never && denied.retry_after.is_none());
}

#[test]
fn a_limit_of_nothing_refuses_everything_and_blames_no_request() {
    let limiter = limiter(&Counters::new(10), [requests(0)]);
    let denied = refusal(&limiter, &Request::by("a"), usage(0, 0), at(0.0));
    assert!(!denied.is_never && !denied.is_budget && denied.retry_after.is_none());
    let budget = Window::Calendar { period: penstock_config::Period::Month, zone: "UTC".into() };
    let budget = LimitSpec { each: 1, ..limit("budget", Count::Cost, 0, budget) };
    let limiter = super::super::testing::limiter(&Counters::new(10), [budget]);
    assert!(refusal(&limiter, &Request::by("a"), usage(0, 0), at(0.0)).is_budget);
}

#[test]
fn a_request_that_holds_nothing_needs_something_to_be_left() {
    let limiter = limiter(&Counters::new(10), [tokens(10)]);
    let request = Request::by("a");
    let mut holds = reserve(&limiter, &request, usage(0, 0), at(0.0)).unwrap();
    holds.settle(Spent::Used { usage: &usage(4, 6), price: None }, at(0.0));
    assert_eq!(&*refusal(&limiter, &request, usage(0, 0), at(0.0)).limit, "tokens");
}

#[test]
fn a_consumer_has_its_own_amount_where_it_has_one() {
    let limiter = limiter(&Counters::new(10), [requests(3)]);
    let mut rich = consumer("rich");
    rich.limits.insert("requests".into(), 7);
    rich.limits.insert("others".into(), 1);
    let rich = Request { identities: vec![identity(rich)], ..Request::new() };
    assert_eq!(remaining(&limiter, &rich, at(0.0)), [7]);
    assert_eq!(remaining(&limiter, &Request::by("poor"), at(0.0)), [3]);
    let held: Vec<_> = (0..7).map(|_| reserve(&limiter, &rich, usage(0, 0), at(0.0)).unwrap()).collect();
    assert_eq!(refusal(&limiter, &rich, usage(0, 0), at(0.0)).amount, 7);
    assert_eq!(held.len(), 7);
}

#[test]
fn requests_that_lack_a_value_are_counted_together_or_not_or_refused() {
    let with = |missing| limiter(&Counters::new(10), [LimitSpec { missing, ..requests(1) }]);
    let (together, unlimited, deny) =
        (with(Missing::Together), with(Missing::Unlimited), with(Missing::Deny));
    let nobody = Request::new();
    let _held = reserve(&together, &nobody, usage(0, 0), at(0.0)).unwrap();
    assert!(refusal(&together, &nobody, usage(0, 0), at(0.0)).missing.is_none());
    for _ in 0..3 {
        assert!(reserve(&unlimited, &nobody, usage(0, 0), at(0.0)).unwrap().is_empty());
    }
    let denied = refusal(&deny, &nobody, usage(0, 0), at(0.0));
    assert_eq!(denied.missing.as_deref(), Some("consumer"));
    assert!(reserve(&deny, &Request::by("a"), usage(0, 0), at(0.0)).is_ok());
}

#[test]
fn a_limit_that_only_counts_lets_all_pass_and_says_which_it_would_not() {
    let limiter = limiter(&Counters::new(10), [LimitSpec { is_shadow: true, ..requests(1) }]);
    let exceeded: Vec<bool> = (0..3)
        .map(|_| {
            let mut holds = reserve(&limiter, &Request::by("a"), usage(0, 0), at(0.0)).unwrap();
            let standing = holds.standing(at(0.0)).next().unwrap();
            holds.settle(Spent::Failed, at(0.0));
            assert!(standing.is_shadow);
            standing.is_exceeded
        })
        .collect();
    assert_eq!(exceeded, [false, true, true]);
}

#[test]
fn requests_in_flight_are_let_go_when_they_end_however_they_end() {
    let limiter = limiter(&Counters::new(10), [limit("flights", Count::Concurrency, 2, Window::Now)]);
    let request = Request::by("a");
    let mut first = reserve(&limiter, &request, usage(5, 5), at(0.0)).unwrap();
    let second = reserve(&limiter, &request, usage(5, 5), at(0.0)).unwrap();
    assert_eq!(refusal(&limiter, &request, usage(0, 0), at(0.0)).count, CountKind::Concurrency);
    first.settle(Spent::Used { usage: &usage(5, 500), price: None }, at(0.0));
    drop(second);
    assert_eq!(remaining(&limiter, &request, at(0.0)), [2]);
}

fn price(input: u64, output: u64) -> Price {
    let tier = PriceTier {
        above_input_tokens: 0,
        input,
        cached_input: input,
        cache_write: input,
        output,
        reasoning: output,
    };
    Price { models: ModelNames::new(["gpt"]), upstream: None, request: 0, tiers: [tier].into() }
}

#[test]
fn money_of_a_calendar_that_is_used_up_is_no_matter_of_waiting() {
    let window = Window::Calendar { period: Period::Month, zone: "UTC".into() };
    let limiter = limiter(&Counters::new(10), [limit("budget", Count::Cost, 1_000_000, window)]);
    // 2.50 and 10 dollars a million tokens.
    let prices = Prices::new(&[price(2_500_000_000, 10_000_000_000)]);
    let price = prices.of("openai", "gpt");
    let request = Request::by("a");
    let mut holds = Holds::default();
    request.with(|ask| limiter.reserve(ask, &usage(100, 10), price, at(0.0), &mut holds)).unwrap();
    assert_eq!(holds.standing(at(0.0)).next().unwrap().held, 350_000);
    holds.settle(Spent::Used { usage: &usage(100, 75), price }, at(0.0));
    assert_eq!(remaining(&limiter, &request, at(0.0)), [0]);
    let denied = refusal(&limiter, &request, usage(1, 1), at(0.0));
    assert!(denied.is_budget && denied.retry_after.is_none());
}

#[test]
fn an_expression_counts_and_one_that_fails_counts_all_tokens() {
    let counters = Counters::new(10);
    let expression = |text: &str| limit(text, Count::Expression(text.into()), 1000, Window::Fixed(MINUTE));
    let limiter =
        limiter(&counters, [expression("input_tokens + 3u * output_tokens"), expression("1u - 2u")]);
    let request = Request::by("a");
    let mut holds = reserve(&limiter, &request, usage(10, 10), at(0.0)).unwrap();
    let held: Vec<_> = holds.standing(at(0.0)).map(|standing| standing.held).collect();
    assert_eq!(held, [40, 20]);
    holds.settle(Spent::Used { usage: &usage(20, 20), price: None }, at(0.0));
    assert_eq!(remaining(&limiter, &request, at(0.0)), [920, 960]);
    assert!(counters.failed_expressions() >= 2);
}

#[test]
fn a_flood_of_values_shares_a_counter_and_neither_passes_nor_resets_others() {
    let counters = Counters::new(50);
    let limiter = limiter(&counters, [requests(2)]);
    let ask = |name: &str| {
        let mut holds = reserve(&limiter, &Request::by(name), usage(0, 0), at(1.0))?;
        holds.settle(Spent::Failed, at(1.0));
        Ok::<_, Stop>(())
    };
    ask("first").unwrap();
    ask("first").unwrap();
    let passed = (0..1000).filter(|n| ask(&format!("flood-{n}")).is_ok()).count();
    // One each while there is room, then two of all others together.
    assert_eq!(passed, 49 + 2);
    assert_eq!(counters.len(), 51);
    assert_eq!(counters.overflowed(), 1000 - 49);
    assert!(ask("first").is_err());
    // When the window is over there is room again.
    counters.sweep(at(61.0), usize::MAX);
    assert!(counters.is_empty());
}

#[test]
fn looking_makes_no_counter() {
    let counters = Counters::new(10);
    let limiter = limiter(&counters, [requests(2)]);
    assert_eq!(remaining(&limiter, &Request::by("a"), at(0.0)), [2]);
    assert!(counters.is_empty());
}
