use super::*;

const LIMIT: usize = 8000;

fn client(last: u8) -> ClientKey {
    ClientKey::of(Some([192, 0, 2, last].into()))
}

fn body(memory: &Arc<BodyMemory>, of: u8) -> LargeBody {
    LargeBody::new(memory, client(of), 0)
}

#[test]
fn an_eighth_is_for_small_bodies_alone() {
    let memory = Arc::new(BodyMemory::default());
    let mut large = body(&memory, 1);
    large.take(7000, LIMIT).unwrap();
    assert_eq!(large.take(1, LIMIT), Err(Refused::NoRoom));
    assert!(memory.take(1000, LIMIT));
    assert!(!memory.take(1, LIMIT));
    drop(large);
    assert_eq!(memory.held(), 1000);
}

#[test]
fn one_client_leaves_room_for_the_next() {
    let memory = Arc::new(BodyMemory::default());
    let mut hoard: Vec<_> = (0..100).map(|_| body(&memory, 1)).collect();
    let taken = hoard.iter_mut().filter_map(|one| one.take(100, LIMIT).ok()).count();
    assert_eq!(taken, 56, "four fifths of 7000");
    // What is whole is never given up.
    hoard.iter_mut().for_each(LargeBody::complete);
    let mut other = body(&memory, 2);
    other.take(1400, LIMIT).unwrap();
    assert!(hoard.iter().all(|one| !one.given_up.is_cancelled()));
    assert_eq!(other.take(1, LIMIT), Err(Refused::NoRoom));
}

#[test]
fn who_holds_most_loses_its_largest_unfinished_body() {
    let memory = Arc::new(BodyMemory::default());
    let mut hoard: Vec<_> = (0..4).map(|_| body(&memory, 1)).collect();
    for (one, bytes) in hoard.iter_mut().zip([900, 1600, 1700, 1200]) {
        one.take(bytes, LIMIT).unwrap();
    }
    hoard[2].complete();
    let mut other = body(&memory, 2);
    other.take(1500, LIMIT).unwrap();
    other.take(200, LIMIT).unwrap();
    let lost: Vec<_> = hoard.iter().map(|one| one.given_up.is_cancelled()).collect();
    assert_eq!(lost, [false, true, false, false]);
    assert_eq!(hoard[1].take(1, LIMIT), Err(Refused::GivenUp));
    assert_eq!(memory.held(), 900 + 1700 + 1200 + 1700);
    // Nor does a client get anything from one that holds less than it.
    let greedy = other.take(3500, LIMIT);
    assert_eq!(greedy, Err(Refused::NoRoom));
    assert!(!hoard[0].given_up.is_cancelled());
    drop((hoard, other));
    assert_eq!(memory.held(), 0);
    assert!(memory.large.lock().clients.is_empty());
}

#[test]
fn a_client_does_not_push_out_itself() {
    let memory = Arc::new(BodyMemory::default());
    let (mut first, second) = (body(&memory, 1), body(&memory, 1));
    first.take(6000, LIMIT).unwrap_err();
    drop(second);
    first.take(6000, LIMIT).unwrap();
    let mut second = body(&memory, 1);
    assert_eq!(second.take(1000, LIMIT), Err(Refused::NoRoom));
    assert!(!first.given_up.is_cancelled());
}

#[test]
fn neighbours_in_a_64_are_one_client() {
    let key = |address: &str| ClientKey::of(Some(address.parse().unwrap()));
    assert_eq!(key("2001:db8::1"), key("2001:db8::ffff:1"));
    assert_ne!(key("2001:db8::1"), key("2001:db8:0:1::1"));
    assert_ne!(key("192.0.2.1"), key("192.0.2.2"));
    assert_eq!(key("::ffff:192.0.2.1"), key("192.0.2.1"));
}

#[test]
fn what_a_body_takes_ahead_is_given_back_at_its_end() {
    let memory = Arc::new(BodyMemory::default());
    let mut large = body(&memory, 1);
    for _ in 0..100 {
        large.take(1000, 1 << 20).unwrap();
    }
    assert_eq!(memory.held(), 2 * STEP_BYTES);
    large.complete();
    assert_eq!(memory.held(), 100_000);
    drop(large);
    assert_eq!(memory.held(), 0);
}

#[test]
fn a_body_that_is_given_up_takes_nothing_of_what_it_took_ahead() {
    let memory = Arc::new(BodyMemory::default());
    let (mut first, mut second) = (body(&memory, 1), body(&memory, 2));
    let limit = 4 * STEP_BYTES;
    first.take(3 * STEP_BYTES, limit).unwrap();
    first.take(1000, limit).unwrap();
    second.take(STEP_BYTES, limit).unwrap();
    assert_eq!(first.take(1, limit), Err(Refused::GivenUp));
    drop((first, second));
    assert_eq!(memory.held(), 0);
}

#[test]
fn a_body_is_registered_when_it_stops_being_small_with_all_that_was_counted() {
    let (memory, limit) = (Arc::new(BodyMemory::default()), 16 * SMALL_BYTES);
    let address = Some([192, 0, 2, 1].into());
    let mut held = Held::new(&memory);
    held.take(SMALL_BYTES, address, limit).unwrap();
    assert_eq!((memory.held(), memory.large.lock().bodies.len()), (SMALL_BYTES, 0));
    assert!(held.given_up().is_none());
    held.take(1, address, limit).unwrap();
    assert_eq!(memory.large.lock().clients[&client(1)].bytes, SMALL_BYTES + STEP_BYTES);
    assert!(held.given_up().is_some());
    held.complete();
    assert_eq!((held.bytes(), memory.held()), (SMALL_BYTES + 1, SMALL_BYTES + 1));
    let copy = held.share(address, limit).unwrap();
    held.release();
    assert_eq!((held.bytes(), held.is_complete(), memory.held()), (0, true, SMALL_BYTES + 1));
    drop((held, copy));
    assert_eq!((memory.held(), memory.large.lock().bodies.len()), (0, 0));
}

#[test]
fn what_is_refused_is_not_counted_and_what_is_whole_takes_nothing_ahead() {
    let memory = Arc::new(BodyMemory::default());
    let mut small = Held::new(&memory);
    small.take(1000, None, 1000).unwrap();
    assert_eq!(small.take(1, None, 1000), Err(Refused::NoRoom));
    assert_eq!((small.bytes(), memory.held()), (1000, 1000));
    let mut whole = Held::of_whole(&memory);
    whole.take(SMALL_BYTES + 1, None, 16 * SMALL_BYTES).unwrap();
    assert_eq!(whole.take(usize::MAX, None, 16 * SMALL_BYTES), Err(Refused::NoRoom));
    assert_eq!(memory.held(), 1000 + SMALL_BYTES + 1);
    drop((small, whole));
    assert_eq!(memory.held(), 0);
}
