//! Pools of which a pick looks at a part only.

use super::*;

/// More than a pick looks at.
const MANY: u8 = 200;

fn hashes(prompt: u64) -> Vec<u64> {
    (0..40).map(|block| (prompt << 32 | block).wrapping_mul(0x9e37_79b9_7f4a_7c15)).collect()
}

fn with(blocks: &[u64]) -> PickRequest<'_> {
    PickRequest { blocks, prompt_bytes: blocks.len() as u64 * 256, ..request() }
}

/// Picks for the prompt so often; each must come to the endpoint at `address`, which holds all of it.
fn leads_back(pool: &Pool, blocks: &[u64], address: SocketAddr, times: usize) {
    for _ in 0..times {
        let again = pool.pick(&with(blocks)).unwrap();
        assert_eq!((again.endpoint.address(), again.matched_blocks), (address, blocks.len()));
        again.in_flight.finish(Outcome::Served);
    }
}

#[tokio::test]
async fn who_holds_the_prompt_is_found_among_many() {
    let (_picker, pool) = pool(spec(MANY));
    for prompt in 0..20 {
        let blocks = hashes(prompt);
        let first = pool.pick(&with(&blocks)).unwrap();
        let address = first.endpoint.address();
        first.in_flight.finish(Outcome::Served);
        leads_back(&pool, &blocks, address, 20);
    }
}

#[tokio::test]
async fn a_head_that_all_hold_keeps_nobody_from_the_one_that_holds_more() {
    let (_picker, pool) = pool(spec(MANY));
    let long = hashes(1);
    let all: Vec<_> = pool.endpoints().iter().map(|endpoint| endpoint.id()).collect();
    for place in 0..all.len() {
        let others: Vec<_> = all.iter().copied().filter(|id| *id != all[place]).collect();
        let only_here = PickRequest { exclude: &others, ..with(&long[..10]) };
        pool.pick(&only_here).unwrap().in_flight.finish(Outcome::Served);
    }
    let first = pool.pick(&with(&long)).unwrap();
    assert_eq!(first.matched_blocks, 10);
    let address = first.endpoint.address();
    first.in_flight.finish(Outcome::Served);
    leads_back(&pool, &long, address, 50);
}

#[tokio::test]
async fn a_burst_reaches_all_of_many() {
    let (_picker, pool) = pool(spec(MANY));
    let picked: Vec<_> = (0..20 * usize::from(MANY)).map(|_| pool.pick(&request()).unwrap()).collect();
    let counts = counts(&picked);
    assert_eq!(counts.len(), usize::from(MANY));
    assert!(counts.values().all(|count| (18..=22).contains(count)), "{counts:?}");
}

#[tokio::test]
async fn the_last_one_with_room_is_found_among_many() {
    let (_picker, pool) = pool(spec(MANY));
    fill(&pool);
    assert!(matches!(pool.pick(&request()), Err(PickError::Saturated { .. })));
    let free = pool.endpoints()[150].clone();
    report(&free, 0, 0, 0.1);
    for _ in 0..20 {
        let picked = pool.pick(&request()).unwrap();
        assert_eq!(picked.endpoint.id(), free.id());
        picked.in_flight.finish(Outcome::Served);
    }
}

#[tokio::test]
async fn what_failed_a_request_is_not_asked_again_though_it_holds_the_prompt() {
    let (_picker, pool) = pool(spec(MANY));
    let blocks = hashes(1);
    let mut asked = Vec::new();
    for _ in 0..MANY {
        let picked = pool.pick(&PickRequest { exclude: &asked, ..with(&blocks) }).unwrap();
        assert!(!asked.contains(&picked.endpoint.id()));
        asked.push(picked.endpoint.id());
    }
    let nobody = pool.pick(&PickRequest { exclude: &asked, ..with(&blocks) });
    assert!(matches!(nobody, Err(PickError::AllExcluded)));
}

#[tokio::test]
async fn room_at_the_one_that_failed_a_request_hides_no_room_elsewhere() {
    let (_picker, pool) = pool(spec(MANY));
    let blocks = hashes(1);
    let holder = pool.pick(&with(&blocks)).unwrap().endpoint;
    fill(&pool);
    report(&holder, 0, 0, 0.1);
    let free = pool.endpoints().into_iter().find(|endpoint| endpoint.id() != holder.id()).unwrap();
    report(&free, 0, 0, 0.1);
    for _ in 0..20 {
        let picked = pool.pick(&PickRequest { exclude: &[holder.id()], ..with(&blocks) }).unwrap();
        assert_eq!(picked.endpoint.id(), free.id());
        pool.pick(&with(&blocks)).unwrap().in_flight.finish(Outcome::Served);
    }
}

#[tokio::test]
async fn one_that_keeps_failing_is_left_alone_though_it_holds_the_prompt() {
    let (_picker, pool) = pool(spec(MANY));
    let blocks = hashes(1);
    let failing = pool.pick(&with(&blocks)).unwrap().endpoint.id();
    let mut left = 50;
    while left > 0 {
        let picked = pool.pick(&with(&blocks)).unwrap();
        if picked.endpoint.id() != failing {
            break;
        }
        picked.in_flight.finish(Outcome::Failed);
        left -= 1;
    }
    assert!(left > 0, "it was never left alone");
    for _ in 0..200 {
        assert_ne!(pool.pick(&request()).unwrap().endpoint.id(), failing);
        assert_ne!(pool.pick(&with(&blocks)).unwrap().endpoint.id(), failing);
    }
}

#[tokio::test]
async fn gateways_agree_on_a_home_among_many() {
    let gateways = [pool(spec(MANY)), pool(spec(MANY))];
    for (_, pool) in &gateways {
        pool.endpoints().iter().for_each(|endpoint| report(endpoint, 0, 4, 0.2));
    }
    for prompt in 0..50 {
        let blocks = hashes(prompt);
        let [one, other] = gateways.each_ref().map(|(_, pool)| {
            let picked = pool.pick(&with(&blocks)).unwrap();
            picked.endpoint.address()
        });
        assert_eq!(one, other, "prompt {prompt}");
    }
}

#[tokio::test]
async fn low_priorities_are_shed_by_what_all_of_many_say() {
    let (_picker, pool) = pool(spec(MANY));
    for endpoint in &pool.endpoints()[..180] {
        report(endpoint, 10, 10, 0.5);
    }
    for endpoint in &pool.endpoints()[180..] {
        report(endpoint, 0, 0, 0.0);
    }
    for _ in 0..50 {
        let batch = pool.pick(&PickRequest { priority: -1, ..request() });
        assert!(matches!(batch, Err(PickError::Shed { .. })));
        pool.pick(&request()).unwrap().in_flight.finish(Outcome::Served);
    }
}
