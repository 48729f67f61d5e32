use super::{RunConfig, run};
use crate::simulate::{
    measure::{Figures, Outcome, Slo},
    model::ModelSpec,
    policy,
    workload::{Workload, WorkloadConfig, stand_in::Traces},
};

fn scene(gateways: u32) -> RunConfig {
    RunConfig { model: ModelSpec::qwen3_32b(), gateways, slo_ttft_ns: 2e9, seed: 3 }
}

fn workload(name: &str, requests: usize) -> Workload {
    let traces = Traces::new();
    Workload::named(name, &WorkloadConfig { requests: Some(requests), ..traces.config(4, 5) }).unwrap()
}

fn figures(outcome: &Outcome) -> Figures {
    Figures::of(outcome, &Slo { ttft_ms: 2000.0, tpot_ms: 100.0 })
}

#[test]
fn the_same_seed_gives_the_same_result_bit_by_bit() {
    for policy in policy::NAMES {
        let workload = workload("chat", 400);
        let run = |seed| figures(&run(&RunConfig { seed, ..scene(3) }, policy, &workload).unwrap());
        assert_eq!(run(3), run(3), "{policy}");
        assert_ne!(run(3).digest, run(4).digest, "{policy}: the seed decides which gateway is asked");
    }
}

#[test]
fn every_request_is_served_once_whatever_the_policy_and_whatever_happens_to_the_pool() {
    for name in ["join-leave", "slow-server", "burst"] {
        let workload = workload(name, 600);
        for policy in policy::NAMES {
            let outcome = run(&scene(1), policy, &workload).unwrap();
            assert_eq!((outcome.records.len(), outcome.refused), (600, 0), "{name}, {policy}");
            for record in &outcome.records {
                assert!(record.at_ns < record.first_ns && record.first_ns <= record.finished_ns);
                assert!(record.cached < record.prompt_tokens);
            }
        }
    }
}

#[test]
fn who_has_left_gets_nothing_more_and_who_joined_does() {
    let workload = workload("join-leave", 2000);
    let changes = workload.changes();
    let outcome = run(&scene(1), "penstock", &workload).unwrap();
    let after = |number: usize, server: u32| {
        let at_ns = changes[number].at_ns;
        outcome.records.iter().filter(|record| record.at_ns > at_ns && record.server == server).count()
    };
    assert!(changes[0].at_ns < outcome.records.last().unwrap().at_ns, "it happens during the run");
    assert_eq!(after(0, 0), 0);
    assert!(after(0, 1) > 0);
}

#[test]
fn a_prompt_too_long_for_any_cache_is_refused() {
    let mut scene = scene(1);
    scene.model.kv_tokens = 2048;
    let outcome = run(&scene, "random", &workload("mooncake", 50)).unwrap();
    assert!(outcome.refused > 0);
    assert_eq!(outcome.records.len(), 50);
}

#[test]
fn where_nothing_is_shared_the_default_is_no_worse_than_least_request() {
    let workload = workload("azure-code", 3000);
    let ttft = |policy| figures(&run(&scene(1), policy, &workload).unwrap()).ttft_ms;
    let (ours, theirs) = (ttft("penstock"), ttft("least-request"));
    assert!(ours.mean <= theirs.mean * 1.02, "{ours:?}, {theirs:?}");
    assert!(ours.p90 <= theirs.p90 * 1.02, "{ours:?}, {theirs:?}");
}

#[test]
fn where_much_is_shared_the_default_finds_most_of_it() {
    let workload = workload("chat", 1500);
    let hits = |policy| figures(&run(&scene(1), policy, &workload).unwrap()).hit_rate;
    assert!(hits("penstock") > hits("random") + 0.2);
}

#[test]
fn what_there_is_not_is_named() {
    for name in ["teapot", "queue-scorer", "queue-scorer=1,teapot-scorer=1", ""] {
        assert!(run(&scene(1), name, &workload("chat", 1)).is_err(), "{name}");
    }
    assert!(run(&scene(1), "queue-scorer=1", &workload("chat", 1)).is_ok());
}
