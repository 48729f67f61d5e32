use super::{EngineCount, Load, LoadSample, LoadState};

const FOREVER: u64 = u64::MAX;

fn sample(waiting: u32, running: u32, kv_usage: f64) -> LoadSample {
    LoadSample { waiting, running, kv_usage, ..LoadSample::default() }
}

#[test]
fn a_sample_comes_out_as_it_went_in_while_nothing_is_sent() {
    for (waiting, running) in [(0, 0), (0, 7), (3, 7)] {
        let state = LoadState::default();
        state.store(&sample(waiting, running, 0.25), 1, 0, 0);
        let load = state.corrected(2, FOREVER);
        assert_eq!((load.waiting, load.running, load.kv_usage), (waiting, running, Some(0.25)));
    }
}

#[test]
fn a_burst_after_a_sample_queues_where_no_capacity_is_known() {
    let state = LoadState::default();
    state.store(&sample(0, 0, 0.0), 1, 0, 0);
    for _ in 0..3 {
        state.enter(10);
    }
    assert_eq!(state.corrected(2, FOREVER).waiting, 3);
    state.leave(10);
    assert_eq!(state.corrected(2, FOREVER).waiting, 2);
}

#[test]
fn a_burst_runs_where_as_many_were_seen_running_before() {
    let state = LoadState::default();
    state.store(&sample(0, 20, 0.0), 1, 0, 0);
    state.store(&sample(0, 2, 0.0), 2, 0, 0);
    for _ in 0..20 {
        state.enter(10);
    }
    let load = state.corrected(2, FOREVER);
    assert_eq!((load.running, load.waiting), (20, 2), "two of others, twenty of ours");
}

#[test]
fn a_request_that_the_sample_already_contains_counts_once() {
    let state = LoadState::default();
    state.enter(10);
    state.store(&sample(0, 3, 0.0), 1, 1, 10);
    let load = state.corrected(2, FOREVER);
    assert_eq!((load.running, load.waiting), (3, 0));
    state.leave(10);
    assert_eq!(state.corrected(2, FOREVER).running, 2);
}

#[test]
fn a_sample_that_lags_behind_what_was_sent_never_goes_below_zero() {
    let state = LoadState::default();
    for _ in 0..5 {
        state.enter(1);
    }
    state.store(&sample(0, 1, 0.0), 1, 5, 5);
    for _ in 0..5 {
        state.leave(1);
    }
    let load = state.corrected(2, FOREVER);
    assert_eq!((load.running, load.waiting), (0, 0));
}

#[test]
fn tokens_sent_since_the_sample_fill_the_cache() {
    let state = LoadState::default();
    let known = LoadSample { block_size: Some(16), num_gpu_blocks: Some(100), ..sample(0, 0, 0.5) };
    state.store(&known, 1, 0, 0);
    state.enter(400);
    assert_eq!(state.corrected(2, FOREVER).kv_usage, Some(0.75));
}

#[test]
fn without_a_fresh_sample_requests_in_flight_stand_for_queue_and_batch() {
    let state = LoadState::default();
    state.enter(1);
    let load = state.corrected(2, FOREVER);
    assert_eq!((load.waiting, load.running, load.kv_usage), (1, 1, None));
    state.store(&sample(9, 9, 0.9), 5, 0, 0);
    assert_eq!(state.corrected(16, 10).waiting, 1, "expired");
}

#[test]
fn an_estimate_taken_for_a_sample_changes_nothing() {
    let state = LoadState::default();
    state.store(&sample(1, 5, 0.5), 1, 0, 0);
    state.enter(1);
    state.enter(1);
    let before = state.corrected(2, FOREVER);
    state.store(&state.estimate(2, FOREVER), 2, 2, 2);
    // Whose requests wait is told from their number, which now has ours in it.
    let after = state.corrected(3, FOREVER);
    assert_eq!(Load { others_waiting: before.others_waiting, reported: before.reported, ..after }, before);
}

#[test]
fn an_estimate_without_a_sample_leaves_nothing_behind() {
    let state = LoadState::default();
    for _ in 0..3 {
        state.enter(1);
    }
    for now in 1..4 {
        state.store(&state.estimate(now, FOREVER), now, 3, 3);
    }
    for _ in 0..3 {
        state.leave(1);
    }
    let load = state.corrected(5, FOREVER);
    assert_eq!((load.waiting, load.running), (0, 0));
}

#[test]
fn nonsense_from_a_server_stays_in_range() {
    let state = LoadState::default();
    state.enter(1);
    for kv_usage in [f64::NAN, f64::INFINITY, -3.0, 47.0] {
        state.store(&sample(u32::MAX, u32::MAX, kv_usage), 1, 0, 0);
        let usage = state.corrected(2, FOREVER).kv_usage.unwrap();
        assert!((0.0..=1.0).contains(&usage));
    }
}

#[test]
fn the_number_of_engines_outlives_the_sample_that_named_it() {
    let state = LoadState::default();
    assert_eq!(state.corrected(1, FOREVER).engines.get(), 1, "nothing is known yet");
    state.store(&LoadSample { engines: EngineCount::new(8), ..sample(8, 16, 0.5) }, 1, 0, 0);
    for (now, expiry) in [(2, FOREVER), (100, 10)] {
        assert_eq!(state.corrected(now, expiry).engines.get(), 8);
        assert_eq!(state.estimate(now, expiry).engines.get(), 8);
    }
    state.store(&sample(0, 0, 0.0), 200, 0, 0);
    assert_eq!(state.corrected(201, FOREVER).engines.get(), 1);
}

#[test]
fn no_engine_counts_as_one() {
    assert_eq!((EngineCount::new(0), EngineCount::new(1)), (EngineCount::default(), EngineCount::default()));
}

#[test]
fn a_number_of_engines_is_kept_exactly() {
    assert_eq!(EngineCount::new(0).get(), 1);
    for engines in (1..=100_000).chain([u32::MAX - 1, u32::MAX]) {
        assert_eq!(EngineCount::new(engines).get(), engines);
    }
}
