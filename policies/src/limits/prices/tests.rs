use penstock_config::ModelNames;
use proptest::prelude::*;

use super::*;

fn tier(above_input_tokens: u64, input: u64, output: u64) -> PriceTier {
    PriceTier {
        above_input_tokens,
        input,
        cached_input: input / 2,
        cache_write: input * 2,
        output,
        reasoning: output * 3,
    }
}

fn price(models: &[&str], upstream: Option<&str>, request: u64, tiers: &[PriceTier]) -> Price {
    Price {
        models: ModelNames::new(models.iter().copied()),
        upstream: upstream.map(Into::into),
        request,
        tiers: tiers.into(),
    }
}

#[test]
fn the_most_specific_price_counts() {
    let of = |models: &[&str], upstream, request| price(models, upstream, request, &[]);
    let prices = Prices::new(&[
        of(&["gpt-*"], None, 1),
        of(&["gpt-4o"], None, 2),
        of(&["gpt-4o*"], None, 3),
        of(&["*"], Some("azure"), 4),
        of(&["gpt-4o-m*"], Some("azure"), 5),
        of(&["gpt-4o-mini"], Some("azure"), 6),
        of(&["gpt-4o"], None, 7),
    ]);
    for (upstream, model, expected) in [
        ("openai", "gpt-4o", Some(2)),
        ("openai", "gpt-4o-mini", Some(3)),
        ("openai", "gpt-3", Some(1)),
        ("openai", "llama", None),
        ("openai", "gp", None),
        ("azure", "gpt-4o-mini", Some(6)),
        ("azure", "gpt-4o-minute", Some(5)),
        ("azure", "gpt-4o", Some(4)),
        ("azure", "", Some(4)),
        ("openai", "gpt-4é", Some(1)),
    ] {
        let found = prices.of(upstream, model).map(|price| price.cost(&Usage::default()));
        assert_eq!(found, expected, "{upstream} {model}");
    }
}

#[test]
fn each_kind_of_token_has_its_price_and_none_is_paid_twice() {
    let prices = Prices::new(&[price(&["m"], None, 7, &[tier(0, 2_000_000, 10_000_000)])]);
    let usage = Usage { input: 100, cached_input: 40, cache_write: 10, output: 30, reasoning: 20 };
    // 50 plain at 2, 40 at 1, 10 at 4, 10 at 10, 20 at 30, and the request.
    let expected = 50 * 2 + 40 + 10 * 4 + 10 * 10 + 20 * 30 + 7;
    assert_eq!(prices.of("any", "m").unwrap().cost(&usage), expected);
}

#[test]
fn tiers_go_by_the_tokens_of_the_prompt() {
    let tiers = [tier(0, 1_000_000, 0), tier(200, 3_000_000, 0)];
    let prices = Prices::new(&[price(&["m"], None, 0, &tiers)]);
    let cost = |input| prices.of("any", "m").unwrap().cost(&Usage { input, ..Usage::default() });
    assert_eq!((cost(0), cost(200), cost(201)), (0, 200, 603));
}

#[test]
fn what_is_less_than_a_nano_dollar_is_one() {
    let prices = Prices::new(&[price(&["m"], None, 0, &[tier(0, 1, 0)])]);
    let cost = |input| prices.of("any", "m").unwrap().cost(&Usage { input, ..Usage::default() });
    assert_eq!((cost(0), cost(1), cost(1_000_000), cost(1_000_001)), (0, 1, 1, 2));
}

proptest! {
    #[test]
    fn no_usage_overflows_and_more_of_it_costs_no_less(
        input: u64, cached_input: u64, cache_write: u64, output: u64, reasoning: u64, rate: u64, more in 0..1000_u64,
    ) {
        let rates = PriceTier {
            above_input_tokens: 0, input: rate, cached_input: rate, cache_write: rate, output: rate, reasoning: rate,
        };
        let prices = Prices::new(&[price(&["m"], None, rate, &[rates])]);
        let price = prices.of("any", "m").unwrap();
        let usage = Usage { input, cached_input, cache_write, output, reasoning };
        let grown = Usage { output: output.saturating_add(more), ..usage };
        prop_assert!(price.cost(&grown) >= price.cost(&usage));
    }
}
