use std::time::Duration;

use penstock_config::Window;

use super::*;

fn tokens() -> Lease {
    Lease::new(&LeaseWindow::Window(Window::Fixed(Duration::from_secs(60))))
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn grant(lease: u64, window_ends: u64) -> Granted {
    Granted { lease, window_ends: seconds(window_ends), left: 1000, retry_after: None }
}

/// What is asked for somebody who lacks so much.
fn asked(lease: &mut Lease, need: u64, now: Duration) -> Told {
    assert_eq!(lease.take(need, need, now), Take::Ask);
    assert!(lease.is_to_be_queued(now) && !lease.is_to_be_queued(now));
    lease.ask(now, || 1).unwrap()
}

#[test]
fn a_grant_is_good_from_when_it_was_asked_for() {
    let mut lease = tokens();
    asked(&mut lease, 10, seconds(100));
    // The answer took five seconds; the store's window ends twenty after the question.
    lease.granted(grant(30, 20), seconds(105));
    assert_eq!(lease.take(10, 10, seconds(119)), Take::Held);
    lease.settle(10, 10);
    assert_eq!(lease.take(10, 10, seconds(120)), Take::Ask);
}

#[test]
fn an_answer_that_comes_after_its_window_grants_nothing() {
    let mut lease = tokens();
    asked(&mut lease, 10, seconds(100));
    lease.granted(grant(30, 3), seconds(105));
    assert_eq!(lease.take(1, 1, seconds(105)), Take::Ask);
}

#[test]
fn debt_is_told_once_and_again_only_if_the_answer_was_lost() {
    let mut lease = tokens();
    asked(&mut lease, 10, seconds(100));
    lease.granted(grant(10, 60), seconds(100));
    assert_eq!(lease.take(10, 10, seconds(100)), Take::Held);
    lease.settle(10, 25);
    let told = lease.ask(seconds(101), || 2).unwrap();
    assert_eq!((told.debt, told.give_back, told.sequence), (15, 0, 2));
    lease.failed(seconds(101));
    let again = lease.ask(seconds(102), || unreachable!("it is repeated")).unwrap();
    assert_eq!((again.debt, again.sequence), (15, 2));
    lease.granted(grant(0, 60), seconds(102));
    assert_eq!(lease.ask(seconds(200), || 3), None);
}

#[test]
fn what_is_held_when_a_window_ends_is_debt_in_the_next() {
    let mut lease = tokens();
    asked(&mut lease, 10, seconds(100));
    lease.granted(grant(50, 20), seconds(100));
    assert_eq!(lease.take(30, 30, seconds(100)), Take::Held);
    let told = lease.ask(seconds(120), || 2).unwrap();
    assert_eq!((told.debt, told.give_back), (30, 0));
    lease.granted(grant(0, 60), seconds(120));
    // It takes less, and the rest goes back.
    lease.settle(30, 20);
    assert_eq!(lease.ask(seconds(123), || 3).unwrap().give_back, 10);
}

#[test]
fn the_store_is_not_asked_again_at_once_for_what_it_does_not_have() {
    let mut lease = tokens();
    asked(&mut lease, 10, seconds(100));
    let refused = Granted { retry_after: Some(seconds(7)), ..grant(0, 60) };
    lease.granted(refused, seconds(100));
    let soon = seconds(100) + Duration::from_millis(99);
    assert_eq!(lease.take(10, 10, seconds(100)), Take::Refused { retry_after: seconds(7) });
    assert!(matches!(lease.take(50, 50, soon), Take::Refused { .. }));
    assert!(lease.is_refused(10, soon));
    // Somebody who needs less may have it.
    assert_eq!(lease.take(9, 9, soon), Take::Ask);
    assert_eq!(lease.take(10, 10, seconds(101)), Take::Ask);
}

#[test]
fn no_share_of_what_is_left_is_no_refusal_while_something_is_left() {
    let now = seconds(100);
    for (left, then) in [(2, Take::Ask), (0, Take::Refused { retry_after: seconds(60) })] {
        let mut lease = tokens();
        asked(&mut lease, 10, now);
        lease.granted(grant(10, 60), now);
        assert_eq!(lease.take(10, 10, now), Take::Held);
        lease.settle(10, 10);
        // It is asked in advance, and nobody waits.
        let told = lease.ask(now, || 2).unwrap();
        assert!(told.need == 0 && told.want > 0, "{told:?}");
        lease.granted(Granted { left, ..grant(0, 60) }, now);
        assert_eq!(lease.take(1, 1, now), then, "{left} are left");
    }
}

#[test]
fn requests_in_flight_are_told_as_a_whole_and_anew_each_time() {
    let mut lease = Lease::new(&LeaseWindow::Concurrency);
    asked(&mut lease, 1, seconds(0));
    lease.granted(grant(3, 10), seconds(0));
    for _ in 0..3 {
        assert_eq!(lease.take(1, 1, seconds(0)), Take::Held);
    }
    assert!(!lease.is_to_be_renewed(seconds(3)) && lease.is_to_be_renewed(seconds(4)));
    let told = lease.ask(seconds(4), || 2).unwrap();
    assert_eq!((told.keep, told.debt), (3, 0));
    lease.failed(seconds(4));
    lease.settle(1, 1);
    // What was granted has lapsed; what runs, runs.
    let told = lease.ask(seconds(11), || 3).unwrap();
    assert_eq!((told.keep, told.sequence), (2, 3));
    lease.granted(grant(0, 10), seconds(11));
    lease.settle(2, 0);
    assert_eq!(lease.ask(seconds(14), || 4).unwrap().give_back, 2);
}

#[test]
fn when_it_ends_it_asks_for_nothing_that_nobody_waits_for() {
    let mut lease = tokens();
    asked(&mut lease, 10, seconds(100));
    lease.granted(grant(50, 60), seconds(100));
    assert_eq!(lease.take(10, 10, seconds(100)), Take::Held);
    lease.give_all_back();
    let told = lease.ask(seconds(100), || 2).unwrap();
    assert_eq!((told.give_back, told.want, told.debt), (40, 0, 0));
    lease.granted(grant(0, 60), seconds(100));
    lease.settle(10, 10);
    assert!(!lease.is_to_be_queued(seconds(100)));
}

#[test]
fn what_the_last_two_seconds_took_is_forgotten_after_them() {
    let mut recent = Recent::default();
    recent.add(5, seconds(10));
    recent.add(7, seconds(11));
    for (second, taken) in [(11, 12), (12, 7), (13, 0)] {
        assert_eq!(recent.taken(seconds(second)), taken, "{second}");
    }
    recent.add(1, seconds(20));
    assert_eq!(recent.taken(seconds(20)), 1);
}
