//! What faults do to limits: to what is admitted, to what is counted, and to how long anybody waits.

use penstock_config::{Count, LimitSpec, LimitStore, OnStoreFailure, RedisMode, Window};
use penstock_leases::{Outcome, State};
use penstock_policies::limits::{Holds, Usage};
use tokio::time::{Duration, Instant, sleep};

use crate::exact::used;
use crate::gateway::{FOR_LONG, Gateway, Refused, SOON, limit, output, store};
use crate::server::Redis;
use crate::wire::Wire;

/// Deadline of a store that is slow or gone.
const DEADLINE: Duration = Duration::from_millis(50);

fn store_of(address: String, on_failure: OnStoreFailure) -> LimitStore {
    let mut store = store(&[address], RedisMode::Single);
    store.redis.deadline = DEADLINE;
    store.on_failure = on_failure;
    store
}

fn requests(amount: u64) -> LimitSpec {
    limit(Count::Requests, amount, FOR_LONG)
}

/// How many of so many requests pass.
async fn pass(gateway: &Gateway, count: u64) -> u64 {
    let mut passed = 0;
    for _ in 0..count {
        passed += u64::from(gateway.spend(&Usage::default()).await.is_ok());
    }
    passed
}

/// Sends requests until so many have passed.
async fn pass_exactly(gateway: &Gateway, count: u64) {
    let deadline = Instant::now() + SOON;
    let mut passed = 0;
    while passed < count {
        assert!(Instant::now() < deadline, "{passed} of {count} passed");
        match gateway.spend(&Usage::default()).await {
            Ok(()) => passed += 1,
            Err(_) => sleep(Duration::from_millis(20)).await,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_is_killed_strands_no_more_than_its_lease() {
    let redis = Redis::start().await;
    let store = store(&[redis.address()], RedisMode::Single);
    let (first, second) =
        (Gateway::start(&requests(1000), &store, 2), Gateway::start(&requests(1000), &store, 2));
    assert_eq!(pass(&second, 10).await, 10);
    assert_eq!(pass(&first, 100).await, 100);
    let booked = used(&redis).await;
    drop(first);
    sleep(Duration::from_millis(200)).await;
    // What the second does not use goes back; what the first had stays.
    second.drain().await;
    let stranded = used(&redis).await - 110;
    println!("stranded by a gateway that was killed after 100 requests in a burst: {stranded} of 1000");
    assert!(stranded <= 250, "no more than a share of what was left ({booked} were booked)");
    let third = Gateway::start(&requests(1000), &store, 2);
    pass_exactly(&third, 1000 - 110 - stranded).await;
    assert!(third.spend(&Usage::default()).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_hangs_delays_nobody_for_longer_than_the_deadline_and_is_not_asked_then() {
    let redis = Redis::start().await;
    let gateway = Gateway::start(&requests(1000), &store_of(redis.address(), OnStoreFailure::Closed), 1);
    pass_exactly(&gateway, 1).await;
    redis.pause();
    let mut slowest = Duration::ZERO;
    let mut refused = 0;
    while gateway.store_state() != State::Open {
        let started = Instant::now();
        refused += u64::from(gateway.spend(&Usage::default()).await.is_err());
        slowest = slowest.max(started.elapsed());
        sleep(Duration::from_millis(5)).await;
    }
    println!("slowest request while the store hung: {slowest:?}, {refused} refused until the breaker opened");
    assert!(slowest < DEADLINE + Duration::from_millis(500), "{slowest:?}");
    let away = gateway.seen.calls(Outcome::Deadline);
    assert!(away >= 3, "it opens after three failures, not after {away}");
    let started = Instant::now();
    assert!(matches!(gateway.spend(&Usage::default()).await, Err(Refused::Unavailable)));
    assert!(started.elapsed() < DEADLINE, "nobody waits while it is open");
    redis.resume();
    gateway.until(State::Closed).await;
    pass_exactly(&gateway, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_used_while_the_store_hung_is_counted_once_when_it_is_back() {
    let redis = Redis::start().await;
    let limit = limit(Count::OutputTokens, 1_000_000, FOR_LONG);
    let gateway = Gateway::start(&limit, &store_of(redis.address(), OnStoreFailure::Open), 1);
    let mut total = 0;
    for turn in 0..300 {
        match turn {
            100 => redis.pause(),
            200 => {
                gateway.until(State::Open).await;
                redis.resume();
            }
            _ => {}
        }
        let holds = gateway.admit(&output(10)).await.expect("it is open");
        gateway.settle(holds, &output(turn));
        total += turn;
        sleep(Duration::from_millis(1)).await;
    }
    gateway.until(State::Closed).await;
    // What was told in vain is told again after a while.
    sleep(Duration::from_millis(500)).await;
    gateway.drain().await;
    assert_eq!(used(&redis).await, total);
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_are_lost_strand_nothing() {
    let redis = Redis::start().await;
    let wire = Wire::to(redis.address()).await;
    let limit = limit(Count::OutputTokens, 1_000_000, FOR_LONG);
    let gateway = Gateway::start(&limit, &store_of(wire.address(), OnStoreFailure::Open), 1);
    let mut total = 0;
    for turn in 0..400_u64 {
        wire.lose_answers(turn % 100 >= 50);
        if let Ok(holds) = gateway.admit(&output(20)).await {
            gateway.settle(holds, &output(turn % 40));
            total += turn % 40;
        }
        sleep(Duration::from_millis(2)).await;
    }
    wire.lose_answers(false);
    gateway.until(State::Closed).await;
    sleep(Duration::from_millis(500)).await;
    assert!(gateway.seen.calls(Outcome::Deadline) > 0, "answers were lost");
    gateway.drain().await;
    assert_eq!(used(&redis).await, total);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_is_cut_off_goes_on_with_its_share_and_tells_later() {
    let redis = Redis::start().await;
    let wire = Wire::to(redis.address()).await;
    let cut_off = Gateway::start(&requests(100), &store_of(wire.address(), OnStoreFailure::LocalShare), 2);
    let other = Gateway::start(&requests(100), &store_of(redis.address(), OnStoreFailure::LocalShare), 2);
    pass_exactly(&cut_off, 5).await;
    wire.cut(true);
    cut_off.until_away().await;
    let apart = pass(&cut_off, 200).await;
    let there = pass(&other, 200).await;
    println!("limit 100, two gateways, one cut off: {} by it, {there} by the other", 5 + apart);
    // The first five may be of its share already, if the store was not connected to in time.
    assert!((45..=70).contains(&apart), "its share, and what it had been lent: {apart}");
    assert!(there >= 70, "the other has all that is left: {there}");
    wire.cut(false);
    cut_off.until(State::Closed).await;
    sleep(Duration::from_millis(500)).await;
    cut_off.drain().await;
    other.drain().await;
    assert_eq!(used(&redis).await, 5 + apart + there, "what both used is counted");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_comes_back_with_its_data_goes_on_where_it_was() {
    let mut redis = Redis::start_with(&["--appendonly", "yes", "--appendfsync", "always"]).await;
    check_restart(&mut redis, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_comes_back_without_data_is_told_what_gateways_know() {
    let mut redis = Redis::start().await;
    check_restart(&mut redis, 0).await;
}

/// Who comes back first finds nothing booked, and waits for the others, who are not to be much later.
#[tokio::test(flavor = "multi_thread")]
async fn however_long_a_store_was_away_all_are_back_before_it_lends_again() {
    let mut redis = Redis::start().await;
    let store = store_of(redis.address(), OnStoreFailure::Closed);
    let gateways = [(); 6].map(|()| Gateway::start(&requests(200), &store, 6));
    for gateway in &gateways {
        pass_exactly(gateway, 30).await;
    }
    redis.kill();
    for gateway in &gateways {
        gateway.until_away().await;
    }
    sleep(Duration::from_secs(9)).await;
    redis.start_again().await;
    let deadline = Instant::now() + Duration::from_secs(12);
    let mut total = 180;
    while Instant::now() < deadline {
        for gateway in &gateways {
            total += pass(gateway, 1).await;
        }
        sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(total, 200, "so many passed, and 200 may");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_comes_back_without_data_lets_no_more_run_at_a_time_than_may() {
    let mut redis = Redis::start().await;
    let store = store_of(redis.address(), OnStoreFailure::Closed);
    let slots = limit(Count::Concurrency, 10, Window::Now);
    let (first, second) = (Gateway::start(&slots, &store, 2), Gateway::start(&slots, &store, 2));
    let nothing = Usage::default();
    let mut running = Vec::new();
    wait_until_held(&second, 2, &mut running).await;
    wait_until_held(&first, 10, &mut running).await;
    redis.kill();
    first.until_away().await;
    second.until_away().await;
    redis.start_again().await;
    second.until(State::Closed).await;
    // It knows of two of the ten, and asks for as many as it can get.
    let deadline = Instant::now() + Duration::from_secs(6);
    while Instant::now() < deadline {
        if let Ok(holds) = second.admit(&nothing).await {
            running.push(holds);
        }
        sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(running.len(), 10, "so many run at a time, and ten may");
    for holds in running.drain(..2) {
        second.settle(holds, &nothing);
    }
    wait_until_held(&second, 10, &mut running).await;
    running.into_iter().for_each(std::mem::forget);
}

/// Has requests run in a gateway until so many run in all.
async fn wait_until_held(gateway: &Gateway, count: usize, running: &mut Vec<Holds>) {
    let deadline = Instant::now() + SOON;
    while running.len() < count {
        assert!(Instant::now() < deadline, "{} of {count} run", running.len());
        match gateway.admit(&Usage::default()).await {
            Ok(holds) => running.push(holds),
            Err(_) => sleep(Duration::from_millis(10)).await,
        }
    }
}

/// Uses 60 of 100 over two gateways, kills the store and starts it again: no more than `beyond` over the limit pass.
async fn check_restart(redis: &mut Redis, beyond: u64) {
    let store = store_of(redis.address(), OnStoreFailure::Closed);
    let (first, second) =
        (Gateway::start(&requests(100), &store, 2), Gateway::start(&requests(100), &store, 2));
    pass_exactly(&first, 30).await;
    pass_exactly(&second, 30).await;
    redis.kill();
    first.until_away().await;
    second.until_away().await;
    redis.start_again().await;
    first.until(State::Closed).await;
    second.until(State::Closed).await;
    // Each has something to say before either asks for all that is left.
    pass_exactly(&first, 15).await;
    pass_exactly(&second, 15).await;
    let deadline = Instant::now() + Duration::from_secs(4);
    let mut total = 90;
    while Instant::now() < deadline {
        total += pass(&first, 1).await + pass(&second, 1).await;
        sleep(Duration::from_millis(20)).await;
    }
    println!("limit 100, the store was killed after 60: {total} passed in all");
    assert!((100..=100 + beyond).contains(&total), "{total} passed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_gone_opens_shares_or_closes_as_is_asked() {
    for (on_failure, expected) in
        [(OnStoreFailure::Open, 100), (OnStoreFailure::LocalShare, 20), (OnStoreFailure::Closed, 0)]
    {
        let mut redis = Redis::start().await;
        redis.kill();
        let gateway = Gateway::start(&requests(40), &store_of(redis.address(), on_failure), 2);
        gateway.until_away().await;
        assert_eq!(pass(&gateway, 100).await, expected, "{on_failure:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_gateways_share_fills_and_is_not_exceeded() {
    let redis = Redis::start().await;
    let store = store(&[redis.address()], RedisMode::Single);
    let limit = limit(Count::Requests, 100, Window::TokenBucket(Duration::from_secs(2)));
    let gateways = [Gateway::start(&limit, &store, 2), Gateway::start(&limit, &store, 2)];
    let started = Instant::now();
    let mut passed = 0;
    while started.elapsed() < Duration::from_secs(4) {
        let before = passed;
        for gateway in &gateways {
            passed += pass(gateway, 1).await;
        }
        let bound = 100.0 + 50.0 * started.elapsed().as_secs_f64() + 1.0;
        assert!(passed as f64 <= bound, "{passed} after {:?}", started.elapsed());
        if passed == before {
            sleep(Duration::from_millis(5)).await;
        }
    }
    println!("a bucket of 100 that fills in 2 s, over two gateways in 4 s: {passed} of 300");
    assert!(passed >= 200, "it fills: {passed}");
}
