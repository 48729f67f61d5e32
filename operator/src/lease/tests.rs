use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use super::*;
use crate::fixtures::ApiServer;

fn held_by(holder: &str) -> LeaseSpec {
    LeaseSpec {
        holder_identity: Some(holder.to_owned()),
        lease_duration_seconds: Some(15),
        lease_transitions: Some(3),
        ..LeaseSpec::default()
    }
}

fn look(observation: &mut Observation, spec: Option<&LeaseSpec>, now: Instant) -> Decision {
    decide(&LeaseOptions::new("ns", "lease", "me"), spec, observation, now, Timestamp::UNIX_EPOCH)
}

fn written(decision: Decision) -> LeaseSpec {
    match decision {
        Decision::Write(spec) => spec,
        Decision::Wait => panic!("the lease was not taken"),
    }
}

#[test]
fn a_lease_that_nobody_has_is_taken() {
    let now = Instant::now();
    let spec = written(look(&mut Observation::default(), None, now));
    assert_eq!(spec.holder_identity.as_deref(), Some("me"));
    assert_eq!(spec.lease_transitions, Some(0));
    let spec = written(look(&mut Observation::default(), Some(&held_by("")), now));
    assert_eq!(spec.lease_transitions, Some(4), "given back and taken: one transition");
}

#[test]
fn a_holder_keeps_it_while_it_renews_and_loses_it_when_it_is_silent() {
    let start = Instant::now();
    let mut observation = Observation::default();
    let mut held = held_by("other");
    assert_eq!(look(&mut observation, Some(&held), start), Decision::Wait);
    held.renew_time = Some(MicroTime(Timestamp::UNIX_EPOCH));
    let renewed = start + Duration::from_secs(14);
    assert_eq!(look(&mut observation, Some(&held), renewed), Decision::Wait);
    assert_eq!(look(&mut observation, Some(&held), renewed + Duration::from_secs(14)), Decision::Wait);
    let spec = written(look(&mut observation, Some(&held), renewed + Duration::from_secs(15)));
    assert_eq!((spec.holder_identity.as_deref(), spec.lease_transitions), (Some("me"), Some(4)));
}

#[tokio::test(start_paused = true)]
async fn a_request_that_gets_lost_does_not_cost_the_lease_and_silence_does() {
    let lease = Lease { spec: Some(held_by("me")), ..Lease::default() };
    let answer = serde_json::to_vec(&lease).unwrap();
    let (calls, is_dead) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let server = {
        let (calls, is_dead) = (Arc::clone(&calls), Arc::clone(&is_dead));
        tower::service_fn(move |_: http::Request<kube::client::Body>| {
            let call = calls.fetch_add(1, Ordering::Relaxed);
            let is_lost = is_dead.load(Ordering::Relaxed) || call == 4;
            let answer = answer.clone();
            async move {
                if is_lost {
                    std::future::pending::<()>().await;
                }
                Ok::<_, std::convert::Infallible>(http::Response::new(kube::client::Body::from(answer)))
            }
        })
    };
    let (leading, mut is_leading) = watch::channel(false);
    let (_stop, stopped) = watch::channel(false);
    let options = LeaseOptions::new("ns", "lease", "me");
    tokio::spawn(run(Client::new(server, "ns"), options, || true, leading, stopped));
    is_leading.wait_for(|is| *is).await.unwrap();
    while calls.load(Ordering::Relaxed) < 10 {
        assert!(!is_leading.has_changed().unwrap(), "one lost request");
        sleep(Duration::from_millis(100)).await;
    }
    is_dead.store(true, Ordering::Relaxed);
    let silent = Instant::now();
    is_leading.wait_for(|is| !*is).await.unwrap();
    let after = silent.elapsed();
    assert!(after > Duration::from_secs(8) && after < Duration::from_secs(12), "{after:?}");
}

#[test]
fn renewing_keeps_the_time_of_acquisition() {
    let mut ours = held_by("me");
    let acquired = MicroTime(Timestamp::UNIX_EPOCH + Duration::from_secs(7));
    ours.acquire_time = Some(acquired.clone());
    let spec = written(look(&mut Observation::default(), Some(&ours), Instant::now()));
    assert_eq!((spec.acquire_time, spec.lease_transitions), (Some(acquired), Some(3)));
}

const LEASE: &str = "/apis/coordination.k8s.io/v1/namespaces/ns/leases/lease";

/// A replica that seeks the Lease until `stop` is true.
struct Replica {
    is_leading: watch::Receiver<bool>,
    stop: watch::Sender<bool>,
}

impl Replica {
    fn start(server: &ApiServer, identity: &str) -> Self {
        let (leading, is_leading) = watch::channel(false);
        let (stop, stopped) = watch::channel(false);
        let options = LeaseOptions::new("ns", "lease", identity);
        tokio::spawn(run(server.client(), options, || true, leading, stopped));
        Self { is_leading, stop }
    }

    fn leads(&self) -> bool {
        *self.is_leading.borrow()
    }

    async fn until_leading(&mut self, leads: bool) {
        self.is_leading.wait_for(|is| *is == leads).await.unwrap();
    }
}

fn holder(server: &ApiServer) -> String {
    server.get(LEASE).unwrap()["spec"]["holderIdentity"].as_str().unwrap().to_owned()
}

#[tokio::test(start_paused = true)]
async fn of_two_that_seek_it_at_once_one_leads_until_it_goes() {
    let server = ApiServer::default();
    let mut replicas = [Replica::start(&server, "a"), Replica::start(&server, "b")];
    server.wait_until(|server| server.get(LEASE).is_some()).await;
    for _ in 0..600 {
        sleep(Duration::from_millis(100)).await;
        assert_eq!(replicas.iter().filter(|replica| replica.leads()).count(), 1);
    }
    let first = usize::from(replicas[1].leads());
    replicas[first].stop.send_replace(true);
    replicas[1 - first].until_leading(true).await;
    assert!(!replicas[first].leads());
    assert_eq!(holder(&server), ["b", "a"][first]);
}

#[tokio::test(start_paused = true)]
async fn a_holder_that_another_takes_it_from_stops_and_leaves_it_to_that() {
    let taken = |lease: &mut serde_json::Value| {
        lease["spec"]["holderIdentity"] = "other".into();
        lease["spec"]["leaseDurationSeconds"] = 3600.into();
    };
    // Between two looks, and between a look and the write that it leads to.
    for is_amid_a_renewal in [false, true] {
        let server = ApiServer::default();
        let mut replica = Replica::start(&server, "me");
        replica.until_leading(true).await;
        if is_amid_a_renewal {
            server.interfere(LEASE, taken);
        } else {
            let mut lease = server.get(LEASE).unwrap();
            taken(&mut lease);
            server.put(LEASE, lease);
        }
        replica.until_leading(false).await;
        sleep(Duration::from_secs(600)).await;
        assert_eq!((holder(&server).as_str(), replica.leads()), ("other", false), "{is_amid_a_renewal}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_holder_that_may_not_renew_any_more_stops_before_another_may_take_it() {
    let server = ApiServer::default();
    let mut replica = Replica::start(&server, "me");
    replica.until_leading(true).await;
    let refused = Instant::now();
    server.refuse("/leases/", 403, "forbidden", usize::MAX);
    replica.until_leading(false).await;
    assert!(refused.elapsed() < LeaseOptions::new("ns", "lease", "me").duration, "{:?}", refused.elapsed());
}
