//! How exact limits are where nothing goes wrong.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use penstock_config::{Count, RedisMode, Window};
use penstock_policies::limits::Usage;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Duration, Instant, sleep};

use crate::gateway::{FOR_LONG, Gateway, Refused, SOON, limit, output, store};
use crate::server::Redis;

/// Starts as many gateways at one store.
async fn gateways(count: u32, limit: &penstock_config::LimitSpec) -> (Redis, Vec<Arc<Gateway>>) {
    let redis = Redis::start().await;
    let store = store(&[redis.address()], RedisMode::Single);
    let gateways = (0..count).map(|_| Arc::new(Gateway::start(limit, &store, count))).collect();
    (redis, gateways)
}

/// What the only counter of a store has.
pub(crate) async fn used(redis: &Redis) -> u64 {
    let redis::Value::Array(keys) = redis.command(&["KEYS", "penstock:*"]).await else { panic!("a list") };
    let names = keys.into_iter().map(|key| redis::from_redis_value::<String>(key).expect("a name"));
    let counters: Vec<_> = names.filter(|name| !name.ends_with(":h")).collect();
    let [counter] = &*counters else { panic!("one counter, not {counters:?}") };
    redis::from_redis_value(redis.command(&["HGET", counter, "used"]).await).expect("a number")
}

async fn drain(gateways: Vec<Arc<Gateway>>) {
    for gateway in gateways {
        Arc::into_inner(gateway).expect("the last one who has it").drain().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn four_gateways_admit_together_exactly_the_limit_of_twenty_thousand_requests_at_a_time() {
    let (redis, gateways) = gateways(4, &limit(Count::Requests, 10_000, FOR_LONG)).await;
    let admitted = Arc::new(AtomicU64::new(0));
    let mut tasks = JoinSet::new();
    for index in 0..20_000 {
        let (gateway, admitted) = (Arc::clone(&gateways[index % 4]), Arc::clone(&admitted));
        tasks.spawn(async move {
            match gateway.spend(&Usage::default()).await {
                Ok(()) => admitted.fetch_add(1, Ordering::Relaxed),
                Err(Refused::Denied) => 0,
                Err(Refused::Unavailable) => panic!("the store is there"),
            };
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.expect("a request");
    }
    let at_once = admitted.load(Ordering::Relaxed);
    assert!(at_once <= 10_000, "{at_once} were admitted");
    // What some have and do not use goes back, and others admit from it.
    let deadline = Instant::now() + SOON;
    let mut total = at_once;
    while total < 10_000 {
        assert!(Instant::now() < deadline, "{total} of 10000 were admitted");
        match gateways[0].spend(&Usage::default()).await {
            Ok(()) => total += 1,
            Err(_) => sleep(Duration::from_millis(20)).await,
        }
    }
    for gateway in &gateways {
        assert!(gateway.spend(&Usage::default()).await.is_err(), "nothing is left");
    }
    println!("admitted at once: {at_once} of 10000 by 4 gateways");
    drain(gateways).await;
    assert_eq!(used(&redis).await, 10_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_counted_to_the_last_and_exceed_the_limit_by_no_more_than_those_in_flight_held_too_little()
{
    const IN_FLIGHT: usize = 60;
    let amount = 200_000;
    let (redis, gateways) = gateways(3, &limit(Count::OutputTokens, amount, FOR_LONG)).await;
    let (used_up, beyond) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let in_flight = Arc::new(Semaphore::new(IN_FLIGHT));
    let mut tasks = JoinSet::new();
    for index in 0..12_000_u64 {
        let gateway = Arc::clone(&gateways[usize::try_from(index % 3).expect("small")]);
        let (used_up, beyond) = (Arc::clone(&used_up), Arc::clone(&beyond));
        let permit = Arc::clone(&in_flight).acquire_owned().await.expect("a permit");
        tasks.spawn(async move {
            let expected = 1 + index % 100;
            // Some take less than is expected, some more, some nothing.
            let taken = expected * (index % 7) / 4;
            if let Ok(holds) = gateway.admit(&output(expected)).await {
                tokio::task::yield_now().await;
                beyond.fetch_max(taken.saturating_sub(expected), Ordering::Relaxed);
                gateway.settle(holds, &output(taken));
                used_up.fetch_add(taken, Ordering::Relaxed);
            }
            drop(permit);
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.expect("a request");
    }
    drain(gateways).await;
    let used_up = used_up.load(Ordering::Relaxed);
    assert_eq!(used(&redis).await, used_up, "the store knows each token");
    let bound = amount + IN_FLIGHT as u64 * beyond.load(Ordering::Relaxed);
    println!("{used_up} tokens of {amount}; the bound is {bound}");
    assert!((amount * 9 / 10..=bound).contains(&used_up), "{used_up}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_window_admits_more_than_the_limit_while_windows_pass() {
    let length = Duration::from_secs(1);
    let (_redis, gateways) = gateways(3, &limit(Count::Requests, 50, Window::Fixed(length))).await;
    let since_epoch = || {
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_micros()
            as u64
    };
    let mut windows = std::collections::BTreeMap::<u64, (u64, u64)>::new();
    let deadline = Instant::now() + Duration::from_secs(4);
    let mut turn = 0;
    while Instant::now() < deadline {
        turn += 1;
        let before = since_epoch() / 1_000_000;
        if gateways[turn % 3].spend(&Usage::default()).await.is_err() {
            sleep(Duration::from_millis(2)).await;
            continue;
        }
        let after = since_epoch() / 1_000_000;
        // One that was admitted as a window ended may be of either.
        windows.entry(before).or_default().0 += 1;
        if before == after {
            windows.entry(before).or_default().1 += 1;
        }
    }
    assert!(windows.len() >= 4, "{windows:?}");
    assert!(windows.values().all(|&(_, sure)| sure <= 50), "{windows:?}");
    assert!(windows.values().filter(|&&(some, _)| some >= 45).count() >= 2, "windows are used: {windows:?}");
    println!("admitted by window: {:?}", windows.values().map(|&(some, _)| some).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_run_at_a_time_than_may_and_the_slots_of_a_gateway_that_is_killed_come_back() {
    let (redis, mut gateways) = gateways(2, &limit(Count::Concurrency, 40, Window::Now)).await;
    let nothing = Usage::default();
    let mut held = Vec::new();
    let deadline = Instant::now() + SOON;
    while held.len() < 40 {
        assert!(Instant::now() < deadline, "{} run", held.len());
        let turn = held.len() % 2;
        match gateways[turn].admit(&nothing).await {
            Ok(holds) => held.push((turn, holds)),
            Err(_) => match gateways[1 - turn].admit(&nothing).await {
                Ok(holds) => held.push((1 - turn, holds)),
                Err(_) => sleep(Duration::from_millis(20)).await,
            },
        }
    }
    for gateway in &gateways {
        assert!(gateway.admit(&nothing).await.is_err(), "40 run already");
    }
    // The second is killed: what it let run is over.
    let killed = gateways.pop().expect("two gateways");
    let (of_killed, of_first): (Vec<_>, Vec<_>) = held.into_iter().partition(|(turn, _)| *turn == 1);
    let killed_at = Instant::now();
    drop(killed);
    let mut again = Vec::new();
    while again.len() < of_killed.len() {
        assert!(killed_at.elapsed() < SOON, "{} of {} slots came back", again.len(), of_killed.len());
        match gateways[0].admit(&nothing).await {
            Ok(holds) => again.push(holds),
            Err(_) => sleep(Duration::from_millis(50)).await,
        }
    }
    println!("the slots of a gateway that was killed came back after {:?}", killed_at.elapsed());
    assert!(killed_at.elapsed() > Duration::from_secs(6), "they were its own as long as it may have lived");
    std::mem::forget(of_killed);
    for (_, holds) in of_first {
        gateways[0].settle(holds, &nothing);
    }
    for holds in again {
        gateways[0].settle(holds, &nothing);
    }
    drain(gateways).await;
    assert_eq!(used(&redis).await, 0);
}
