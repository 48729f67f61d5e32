use super::*;
use crate::limits::testing::{Request, usage};

fn estimate(estimator: &Estimator, consumer: &str, prompt_bytes: u64, allowed_output: Option<u64>) -> Usage {
    let request = Request { target_model: Some("llama"), ..Request::by(consumer) };
    let estimate = request.with(|ask| estimator.estimate(&Ask { prompt_bytes, allowed_output, ..*ask }));
    Usage { reasoning: 0, ..estimate }
}

fn reasoning(estimator: &Estimator, allowed_output: Option<u64>) -> u64 {
    let request = Request { target_model: Some("llama"), ..Request::by("a") };
    request.with(|ask| estimator.estimate(&Ask { allowed_output, ..*ask }).reasoning)
}

#[test]
fn all_of_an_answer_may_be_reasoning_until_something_is_known_then_what_it_was_at_most_of_late() {
    let estimator = Estimator::new();
    assert_eq!((reasoning(&estimator, None), reasoning(&estimator, Some(10))), (1024, 10));
    let learn = |reasoning: u64, times: usize| {
        let took = Usage { reasoning, ..usage(10, 1000) };
        (0..times).for_each(|_| estimator.learn("llama", "a", 40, None, &took));
    };
    learn(0, 1);
    assert_eq!(reasoning(&estimator, Some(100)), 0);
    learn(600, 1);
    assert_eq!(reasoning(&estimator, Some(100)), 60);
    learn(0, 10);
    assert!((45..60).contains(&reasoning(&estimator, Some(100))));
    learn(0, 1000);
    assert_eq!(reasoning(&estimator, Some(100)), 0);
    // What nobody would believe.
    learn(u64::MAX, 1);
    assert_eq!(reasoning(&estimator, Some(100)), 100);
}

#[test]
fn before_anything_is_known_four_bytes_are_a_token_and_an_answer_has_1024() {
    let estimator = Estimator::new();
    assert_eq!(estimate(&estimator, "a", 401, None), usage(101, 1024));
    assert_eq!(estimate(&estimator, "a", 0, Some(10)), usage(0, 10));
    assert_eq!(estimate(&estimator, "a", u64::MAX, Some(100_000)).output, 1024);
}

#[test]
fn what_19_of_20_requests_take_is_expected_whatever_they_allow() {
    let estimator = Estimator::new();
    for n in 0..200 {
        let output = if n % 20 == 0 { 8000 } else { 100 };
        estimator.learn("llama", "a", 400, None, &usage(100, output));
    }
    assert_eq!(estimate(&estimator, "a", 400, Some(100_000)), usage(100, 128));
    assert_eq!(estimate(&estimator, "a", 400, Some(50)), usage(100, 50));
    // Of a consumer about whom nothing is known, what is known of the model.
    assert_eq!(estimate(&estimator, "b", 400, None), usage(100, 128));
}

#[test]
fn a_consumer_is_told_from_others_once_enough_is_known_of_it() {
    let estimator = Estimator::new();
    for n in 0..40 {
        estimator.learn("llama", "long", 400, None, &usage(100, 6000));
        if n < 10 {
            estimator.learn("llama", "short", 400, None, &usage(100, 10));
        }
    }
    assert_eq!(estimate(&estimator, "long", 0, None).output, 6144);
    assert_eq!(estimate(&estimator, "short", 0, None).output, 6144);
    for _ in 0..10 {
        estimator.learn("llama", "short", 400, None, &usage(100, 10));
    }
    assert_eq!(estimate(&estimator, "short", 0, None).output, 12);
}

#[test]
fn bytes_to_a_token_are_learned_of_the_model_and_stay_within_what_can_be() {
    let estimator = Estimator::new();
    for _ in 0..50 {
        estimator.learn("llama", "a", 200, None, &usage(100, 1));
    }
    let learned = estimate(&estimator, "b", 1000, None).input;
    assert!((495..=505).contains(&learned), "{learned}");
    for _ in 0..100 {
        estimator.learn("llama", "a", 1, None, &usage(1_000_000, 1));
        estimator.learn("llama", "a", 100, None, &usage(0, 1));
    }
    assert!(estimate(&estimator, "b", 1000, None).input <= 2010);
}

#[test]
fn what_requests_took_long_ago_counts_less_and_less() {
    let estimator = Estimator::new();
    for _ in 0..600 {
        estimator.learn("llama", "a", 0, None, &usage(0, 5000));
    }
    for _ in 0..2500 {
        estimator.learn("llama", "a", 0, None, &usage(0, 10));
    }
    assert_eq!(estimate(&estimator, "a", 0, None).output, 12);
}

#[test]
fn what_is_learned_is_bounded() {
    let estimator = Estimator::new();
    for n in 0..20_000 {
        estimator.learn(&format!("model-{n}"), "a", 4, None, &usage(1, 1));
    }
    let entries: usize = estimator.shards.iter().map(|shard| shard.lock().len()).sum();
    assert!(entries <= MAX_ENTRIES, "{entries}");
}

#[test]
fn the_bounds_of_the_parts_grow_to_beyond_any_answer() {
    let bounds: Vec<_> = (0..12).map(bound).collect();
    assert_eq!(bounds, [1, 2, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48]);
    assert_eq!((bucket(0), bucket(1), bucket(5), bucket(u64::MAX)), (0, 0, 5, BUCKETS - 1));
}
