use super::{Gauges, Progress, Sequence, Server};
use crate::simulate::{model::ModelSpec, request::mix};

/// A step takes 1000 ns and 10 ns for each token; nothing else takes time.
fn model() -> ModelSpec {
    ModelSpec {
        step_ns: 1000.0,
        weights_ns: 0.0,
        token_ns: 10.0,
        attention_ns: 0.0,
        context_ns: 0.0,
        kv_tokens: 64 * 100,
        max_num_seqs: 4,
        max_num_batched_tokens: 100,
        ..ModelSpec::llama_8b()
    }
}

fn hashes(seed: u64, blocks: u64) -> Vec<u64> {
    (0..blocks).map(|block| mix(seed * 1000 + block)).collect()
}

fn sequence(id: usize, prompt: u32, output: u32) -> Sequence {
    Sequence::new(id, prompt, output, hashes(id as u64 + 1, u64::from(prompt / 64)))
}

/// Lets sequences arrive and everything end. Returns what happened when.
fn play(server: &mut Server, arrivals: Vec<(u64, Sequence)>) -> Vec<(u64, Progress)> {
    let mut arrivals = arrivals.into_iter().peekable();
    let mut next: Option<u64> = None;
    let mut seen = Vec::new();
    loop {
        let mut progress = Vec::new();
        match (arrivals.peek().map(|(at, _)| *at), next) {
            (None, None) => return seen,
            (Some(at), end) if end.is_none_or(|end| at < end) => {
                let (_, sequence) = arrivals.next().unwrap();
                next = server.enqueue(at, sequence).or(next);
            }
            (_, Some(end)) => {
                next = server.advance(end, &mut progress);
                seen.extend(progress.into_iter().map(|progress| (end, progress)));
            }
            (Some(_), None) => unreachable!("an idle server takes what arrives"),
        }
    }
}

fn first(id: usize, cached: u32) -> Progress {
    Progress::First { id, cached }
}

fn finished(id: usize) -> Progress {
    Progress::Finished { id }
}

#[test]
fn a_long_prompt_is_computed_in_pieces_and_then_a_token_a_step() {
    let mut server = Server::new(model());
    let seen = play(&mut server, vec![(5, sequence(0, 150, 3))]);
    // 1000 + 100 × 10, 1000 + 50 × 10, then twice 1000 + 10.
    assert_eq!(seen, [(5 + 3500, first(0, 0)), (5 + 5520, finished(0))]);
    assert_eq!(server.busy_ns, 5520);
    assert_eq!((server.len(), server.kv.in_use()), (0, 0));
}

#[test]
fn who_arrives_during_a_leap_joins_after_the_step_under_way() {
    let mut server = Server::new(model());
    let seen = play(&mut server, vec![(0, sequence(0, 10, 101)), (1105 + 3 * 1010, sequence(1, 20, 1))]);
    // 1100 for the first prompt, then steps of 1010; the fourth of them is under way at the arrival. The next one
    // computes 20 prompt tokens and one of the answer, and all others one token.
    let joined = 1100 + 4 * 1010;
    let first_seen = joined + 1000 + 20 * 10 + 10;
    assert_eq!(
        seen,
        [
            (1100, first(0, 0)),
            (first_seen, first(1, 0)),
            (first_seen, finished(1)),
            (first_seen + 95 * 1010, finished(0)),
        ]
    );
}

#[test]
fn a_prefix_that_is_held_is_not_computed_again() {
    let mut server = Server::new(model());
    let again = |id| Sequence::new(id, 100, 1, hashes(7, 1));
    let seen = play(&mut server, vec![(0, again(0)), (10_000, again(1))]);
    assert_eq!(seen[0], (2000, first(0, 0)));
    assert_eq!(seen[2], (10_000 + 1000 + 36 * 10, first(1, 64)));
    // A prompt of nothing but held blocks computes its last one nevertheless.
    let seen = play(&mut server, vec![(20_000, Sequence::new(2, 64, 1, hashes(7, 1)))]);
    assert_eq!(seen[0], (20_000 + 1000 + 64 * 10, first(2, 0)));
}

#[test]
fn the_batch_is_bounded_and_the_rest_waits_in_order() {
    let mut server = Server::new(ModelSpec { max_num_seqs: 2, ..model() });
    let seen = play(&mut server, (0..5).map(|id| (id as u64, sequence(id, 10, 2))).collect());
    let firsts: Vec<usize> = seen
        .iter()
        .filter_map(|(_, progress)| match progress {
            Progress::First { id, .. } => Some(*id),
            Progress::Finished { .. } => None,
        })
        .collect();
    assert_eq!(firsts, [0, 1, 2, 3, 4]);
    assert_eq!(seen.len(), 10);
}

#[test]
fn what_is_least_recently_used_goes_first_when_blocks_run_out() {
    let mut server = Server::new(ModelSpec { kv_tokens: 64 * 10, max_num_batched_tokens: 1000, ..model() });
    let ask = |id, seed| Sequence::new(id, 64 * 4 + 1, 1, hashes(seed, 4));
    let at = |turn: u64| turn * 100_000;
    // Two prompts fit beside each other; the third drives out the first, which is then computed again.
    let order = [1, 2, 2, 3, 2, 1];
    let arrivals = order.iter().enumerate().map(|(id, seed)| (at(id as u64), ask(id, *seed))).collect();
    let cached: Vec<u32> = play(&mut server, arrivals)
        .into_iter()
        .filter_map(|(_, progress)| match progress {
            Progress::First { cached, .. } => Some(cached),
            Progress::Finished { .. } => None,
        })
        .collect();
    assert_eq!(cached[..5], [0, 0, 256, 0, 256]);
    assert!(cached[5] < 256, "{cached:?}");
}

#[test]
fn without_blocks_the_last_one_starts_over_and_all_finish() {
    // Each fits alone, and both do at first; their answers do not.
    let mut server = Server::new(ModelSpec { kv_tokens: 64 * 10, max_num_batched_tokens: 1000, ..model() });
    let seen = play(&mut server, vec![(0, sequence(0, 250, 200)), (0, sequence(1, 250, 200))]);
    assert_eq!(seen.iter().filter(|(_, progress)| matches!(progress, Progress::Finished { .. })).count(), 2);
    assert_eq!(seen.iter().filter(|(_, progress)| matches!(progress, Progress::First { .. })).count(), 2);
    assert!(server.preemptions >= 1);
    assert_eq!(server.kv.in_use(), 0);
}

#[test]
fn metrics_are_those_of_the_end_of_the_last_step() {
    let mut server = Server::new(model());
    let end = server.enqueue(0, sequence(0, 100, 100)).unwrap();
    assert_eq!(server.gauges(end - 1), Gauges::default(), "nothing of the first step is known yet");
    server.enqueue(1, sequence(1, 100, 1));
    let mut progress = Vec::new();
    let next = server.advance(end, &mut progress).unwrap();
    assert_eq!((server.gauges(end).running, server.gauges(end).waiting), (1, 0));
    let last = server.advance(next, &mut progress).unwrap();
    assert_eq!(server.gauges(next).running, 2);
    assert!(server.gauges(next).kv_usage > 0.0 && last > next);
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]

    #[test]
    fn everything_that_arrives_finishes_once(
        requests in proptest::collection::vec((0_u64..200_000, 1_u32..3000, 1_u32..200, 0_u64..4), 1..40),
        blocks in 60_u32..200,
    ) {
        let mut server = Server::new(ModelSpec { kv_tokens: 64 * blocks, ..model() });
        let mut arrivals: Vec<_> = requests
            .iter()
            .enumerate()
            .map(|(id, (at, prompt, output, seed))| {
                (*at, Sequence::new(id, *prompt, *output, hashes(*seed, u64::from(prompt / 64))))
            })
            .collect();
        arrivals.sort_by_key(|(at, _)| *at);
        let seen = play(&mut server, arrivals);
        let mut ends: Vec<usize> = seen
            .iter()
            .filter_map(|(_, progress)| match progress {
                Progress::Finished { id } => Some(*id),
                Progress::First { .. } => None,
            })
            .collect();
        ends.sort_unstable();
        proptest::prop_assert_eq!(ends, (0..requests.len()).collect::<Vec<_>>());
        proptest::prop_assert_eq!(seen.len(), 2 * requests.len());
        proptest::prop_assert_eq!((server.len(), server.kv.in_use()), (0, 0));
    }
}
