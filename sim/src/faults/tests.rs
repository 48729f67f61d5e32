use super::*;

#[test]
fn no_faults_no_verdict() {
    assert_eq!(Faults::new(1).verdict("/v1/completions", true), Verdict::default());
}

#[test]
fn counts_run_out_in_list_order() {
    let faults = Faults::new(1);
    faults.set(vec![Fault::status(503).times(2), Fault::status(429).times(1)]);
    let codes: Vec<_> = (0..4).map(|_| faults.verdict("/v1/x", true).action).collect();
    assert_eq!(codes[0], Fault::status(503).action.into());
    assert_eq!(codes[1], Fault::status(503).action.into());
    assert_eq!(codes[2], Fault::status(429).action.into());
    assert_eq!(codes[3], None);
    assert!(faults.list().is_empty());
}

#[test]
fn delay_joins_the_next_fault() {
    let faults = Faults::new(1);
    faults.set(vec![Fault::delay(Duration::from_millis(5)), Fault::new(Action::Hang)]);
    let verdict = faults.verdict("/v1/x", true);
    assert_eq!(verdict, Verdict { delay: Duration::from_millis(5), action: Some(Action::Hang) });
}

#[test]
fn without_a_path_only_inference_is_hit() {
    let faults = Faults::new(1);
    faults.push(Fault::new(Action::Hang));
    assert_eq!(faults.verdict("/metrics", false).action, None);
    faults.push(Fault::new(Action::Reset).path("/metrics"));
    assert_eq!(faults.verdict("/metrics", false).action, Some(Action::Reset));
}

#[test]
fn rate_is_kept_and_repeats_with_the_seed() {
    let hits = |seed| {
        let faults = Faults::new(seed);
        faults.push(Fault::status(500).rate(0.25));
        (0..4000).map(|_| faults.verdict("/v1/x", true).action.is_some()).collect::<Vec<_>>()
    };
    let first = hits(7);
    assert_eq!(first, hits(7));
    assert_ne!(first, hits(8));
    let share = first.iter().filter(|hit| **hit).count();
    assert!((850..1150).contains(&share), "{share}");
}

#[test]
fn the_wire_form_is_strict() {
    let fault: Fault = serde_json::from_str(r#"{"action":{"status":{"code":503}},"times":3}"#).unwrap();
    assert_eq!(fault, Fault::status(503).times(3));
    assert_eq!(serde_json::from_str::<Fault>(r#"{"action":"hang"}"#).unwrap(), Fault::new(Action::Hang));
    assert!(serde_json::from_str::<Fault>(r#"{"action":"hang","tims":3}"#).is_err());
    assert!(serde_json::from_str::<Fault>(r#"{"action":{"status":{"code":503,"x":1}}}"#).is_err());
}
