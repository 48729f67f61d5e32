//! What limits cost on the request path: counters that are there take nothing from the heap.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, UNIX_EPOCH};

use allocation_counter::measure;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use penstock_config::{Consumer, Count, Dimension, LimitMatch, LimitSpec, Missing, PolicySpec, Window};
use penstock_policies::limits::{
    Ask, Counters, Estimator, Granted, Holds, Limiter, Now, Seen, Spent, Stop, Usage,
};
use penstock_policies::{By, Facts, Identity, Model};

const USAGE: Usage = Usage { input: 100, cached_input: 0, cache_write: 0, output: 50, reasoning: 0 };

fn limit(name: &str, count: Count, window: Window, per: Dimension) -> LimitSpec {
    LimitSpec {
        name: name.into(),
        each: u64::from(count == Count::Requests),
        count,
        amount: 1_000_000_000,
        window,
        per: [per].into(),
        missing: Missing::Together,
        when: LimitMatch::default(),
        is_shadow: false,
        is_shared: true,
        shared_as: None,
        cuts_streams: true,
    }
}

fn limiter(counters: &Arc<Counters>, has_store: bool) -> Limiter {
    let minute = Duration::from_secs(60);
    let user = Dimension::Header(HeaderName::from_static("x-user"));
    let limits = [
        limit("requests", Count::Requests, Window::Fixed(minute), Dimension::Consumer),
        limit("tokens", Count::TotalTokens, Window::TokenBucket(minute), user),
        limit("sliding", Count::OutputTokens, Window::Sliding(minute), Dimension::Tag("team".into())),
    ];
    let policy = PolicySpec {
        name: "tenants".into(),
        external: None,
        authentication: None,
        authorization: None,
        cors: None,
        limits: limits.into(),
    };
    Limiter::new(&policy, counters, 2, has_store).unwrap()
}

fn now(ms: u64) -> Now {
    let since = Duration::from_millis(ms);
    Now { wall: UNIX_EPOCH + since, mono: since }
}

/// Calls `with` with a request of somebody who has a name and a team.
fn asked<T>(with: impl FnOnce(&Ask<'_>) -> T) -> T {
    let consumer = Consumer {
        name: "search".into(),
        keys: Box::default(),
        tags: BTreeMap::from([("team".into(), "red".into())]),
        models: None,
        limits: BTreeMap::new(),
        priority: None,
    };
    let identities =
        [Identity { consumer: Arc::new(consumer), by: By::ApiKey, policy: Arc::default(), claims: None }];
    let user = HeaderName::from_static("x-user");
    let headers = HeaderMap::from_iter([(user, HeaderValue::from_static("somebody@example.com"))]);
    let (method, model) = (Method::POST, Model::Named("gpt"));
    let facts = Facts {
        method: &method,
        host: "models.test",
        path: "/v1/chat/completions",
        query: None,
        tokens: None,
        port: 0,
        model,
        address: None,
        identities: &identities,
        headers: &headers,
    };
    with(&Ask {
        facts: &facts,
        model: Some("gpt"),
        target_model: None,
        upstream: None,
        route: "chat",
        rule: "0",
        listener: "public",
        host: "api.example.com",
        path: "/v1/chat/completions",
        query: None,
        prompt_bytes: 400,
        allowed_output: Some(1000),
    })
}

fn serve(limiter: &Limiter, estimator: &Estimator, ask: &Ask<'_>, now: Now) -> Result<(), Stop> {
    let mut holds = Holds::default();
    let estimate = estimator.estimate(ask);
    limiter.reserve(ask, &estimate, None, now, &mut holds)?;
    for output in 1..=50 {
        assert_eq!(holds.seen(output, now), Seen::Go);
    }
    assert_eq!(holds.standing(now).count(), 3);
    holds.settle(Spent::Used { usage: &USAGE, price: None }, now);
    estimator.learn("gpt", "search", ask.prompt_bytes, ask.allowed_output, &USAGE);
    Ok(())
}

/// Has a store answer that grants all that is asked.
fn grant_all(counters: &Counters, now: Now) {
    while let Some(ask) = counters.leased().next(now) {
        let granted = Granted {
            lease: ask.want,
            window_ends: Duration::from_secs(60),
            left: ask.amount,
            retry_after: None,
        };
        ask.granted(granted, now);
    }
}

#[test]
fn a_request_within_three_limits_takes_nothing_from_the_heap() {
    let counters = Counters::new(1000);
    let (limiter, estimator) = (limiter(&counters, false), Estimator::new());
    asked(|ask| {
        serve(&limiter, &estimator, ask, now(1)).unwrap();
        let allocations = measure(|| {
            for ms in 2..1000 {
                serve(&limiter, &estimator, ask, now(ms)).unwrap();
            }
        });
        assert_eq!(allocations.count_total, 0);
    });
}

#[test]
fn a_request_that_is_admitted_from_leases_takes_nothing_from_the_heap() {
    let counters = Counters::new(1000);
    let (limiter, estimator) = (limiter(&counters, true), Estimator::new());
    asked(|ask| {
        for ms in 0..200 {
            while serve(&limiter, &estimator, ask, now(ms)).is_err() {
                grant_all(&counters, now(ms));
            }
            grant_all(&counters, now(ms));
        }
        let allocations = measure(|| {
            for _ in 0..10 {
                serve(&limiter, &estimator, ask, now(200)).unwrap();
            }
        });
        assert_eq!(allocations.count_total, 0);
    });
}

/// Prints what a request costs; to be run by hand, optimised.
#[test]
#[ignore = "measures time"]
fn what_a_request_within_three_limits_costs() {
    for has_store in [false, true] {
        let counters = Counters::new(1000);
        let (limiter, estimator) = (limiter(&counters, has_store), Estimator::new());
        asked(|ask| {
            let turns = 200_000;
            let mut waits = 0;
            let mut pass = |turn: u32| {
                let now = now(u64::from(turn / 100));
                while serve(&limiter, &estimator, ask, now).is_err() {
                    waits += 1;
                    grant_all(&counters, now);
                }
                if turn.is_multiple_of(100) {
                    grant_all(&counters, now);
                }
            };
            (0..1000).for_each(&mut pass);
            #[expect(clippy::disallowed_methods, reason = "what is measured does not wait")]
            let began = Instant::now();
            (1000..turns).for_each(&mut pass);
            let each = began.elapsed() / (turns - 1000);
            println!("store: {has_store}: {each:?} a request, {waits} waits");
        });
    }
}
