//! Leader election: one replica writes, the others stay warm and take over when it goes.
//!
//! The rules are client-go's: a Lease names its holder; whoever sees it unchanged for its duration, by their own clock,
//! may take it. A holder that cannot renew stops writing before others may begin, and one that ends gives the Lease back
//! so that nobody waits. Written here since it is one page, and the crates there are lag behind kube's versions.

use std::time::Duration;

use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
    jiff::Timestamp,
};
use kube::{Api, Client, api::PostParams};
use thiserror::Error;
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout, timeout_at},
};
use tracing::{info, warn};

/// Where the Lease is, who asks for it, and how patient everyone is.
#[derive(Clone, Debug)]
pub struct LeaseOptions {
    /// The namespace of the Lease.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Unique among replicas: the pod's name.
    pub identity: String,
    /// How long a silent holder keeps it.
    pub duration: Duration,
    /// How long a holder tries to renew before it stops writing. Less than `duration`.
    pub renew_deadline: Duration,
    /// How often it is renewed or asked for.
    pub retry: Duration,
}

impl LeaseOptions {
    /// client-go's patience, with an eye on the Lease every second, since a Lease given back is free at once.
    pub fn new(namespace: &str, name: &str, identity: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            identity: identity.to_owned(),
            duration: Duration::from_secs(15),
            renew_deadline: Duration::from_secs(10),
            retry: Duration::from_secs(1),
        }
    }
}

/// What the last look at the Lease showed, and when that was new. Clocks of other machines are never compared.
#[derive(Debug, Default)]
struct Observation {
    last: Option<(Option<LeaseSpec>, Instant)>,
}

/// What to do about the Lease.
#[derive(Debug, PartialEq)]
enum Decision {
    /// It is held by another replica.
    Wait,
    /// Write this.
    Write(LeaseSpec),
}

/// Seeks the Lease until `stop` is true, says in `leading` whether this replica holds it, and gives it back at the end.
/// A replica that is not ready does not seek it: a Lease that was given back goes to one that knows the cluster already.
pub async fn run(
    client: Client,
    options: LeaseOptions,
    is_ready: impl Fn() -> bool,
    leading: watch::Sender<bool>,
    mut stop: watch::Receiver<bool>,
) {
    let api: Api<Lease> = Api::namespaced(client, &options.namespace);
    let mut observation = Observation::default();
    let mut renewed = Instant::now();
    let set_leading = |now: bool| {
        let changed = leading.send_if_modified(|was| std::mem::replace(was, now) != now);
        if changed {
            info!(
                lease = options.name,
                identity = options.identity,
                "{}",
                if now { "leading" } else { "not leading" }
            );
        }
    };
    while !*stop.borrow() {
        if !is_ready() {
            if !pause(&options, &mut stop).await {
                break;
            }
            continue;
        }
        // An API server that does not answer must not keep a holder in the belief that it holds.
        let deadline = if *leading.borrow() {
            renewed + options.renew_deadline
        } else {
            Instant::now() + options.renew_deadline
        };
        let attempt = timeout_at(deadline, attempt(&api, &options, &mut observation)).await;
        match attempt.unwrap_or(Err(LeaseError::Silent)) {
            Ok(true) => {
                renewed = Instant::now();
                set_leading(true);
            }
            Ok(false) => set_leading(false),
            Err(error) => {
                warn!(lease = options.name, %error, "the lease could not be read or written");
                if renewed.elapsed() >= options.renew_deadline {
                    set_leading(false);
                }
            }
        }
        if !pause(&options, &mut stop).await {
            break;
        }
    }
    if *leading.borrow() {
        set_leading(false);
        release(&api, &options).await;
    }
}

/// Waits for the next look. False at the end, which the end of whoever could say so is too.
async fn pause(options: &LeaseOptions, stop: &mut watch::Receiver<bool>) -> bool {
    tokio::select! {
        () = sleep(options.retry) => true,
        _ = async { stop.wait_for(|stop| *stop).await.is_ok() } => false,
    }
}

/// Why a look at the Lease led to nothing.
#[derive(Debug, Error)]
enum LeaseError {
    #[error("the API server does not answer")]
    Silent,
    #[error("another wrote it at the same time")]
    Conflict,
    #[error(transparent)]
    Api(#[from] kube::Error),
}

/// One look, and a write where that is due. True if the Lease is ours afterwards.
async fn attempt(
    api: &Api<Lease>,
    options: &LeaseOptions,
    observation: &mut Observation,
) -> Result<bool, LeaseError> {
    // As client-go has it: one request that gets lost leaves time for others before the Lease is.
    let patience = options.renew_deadline / 2;
    let current = timeout(patience, api.get_opt(&options.name)).await.map_err(|_| LeaseError::Silent)??;
    let spec = current.as_ref().and_then(|lease| lease.spec.clone());
    let spec = match decide(options, spec.as_ref(), observation, Instant::now(), Timestamp::now()) {
        Decision::Wait => return Ok(false),
        Decision::Write(spec) => spec,
    };
    let exists = current.is_some();
    // With the resource version that was read: of two that write, one loses.
    let metadata = current.map_or_else(
        || ObjectMeta { name: Some(options.name.clone()), ..ObjectMeta::default() },
        |lease| ObjectMeta { managed_fields: None, ..lease.metadata },
    );
    let lease = Lease { metadata, spec: Some(spec) };
    let params = PostParams::default();
    let written = async {
        if exists {
            api.replace(&options.name, &params, &lease).await
        } else {
            api.create(&params, &lease).await
        }
    };
    match timeout(patience, written).await.map_err(|_| LeaseError::Silent)? {
        Ok(_) => Ok(true),
        // Another replica, or a write of our own whose answer got lost: the next look tells.
        Err(kube::Error::Api(status)) if status.code == 409 => Err(LeaseError::Conflict),
        Err(error) => Err(error.into()),
    }
}

fn decide(
    options: &LeaseOptions,
    spec: Option<&LeaseSpec>,
    observation: &mut Observation,
    now: Instant,
    wall: Timestamp,
) -> Decision {
    let since = observation.see(spec, now);
    let holder = spec.and_then(|spec| spec.holder_identity.as_deref()).filter(|holder| !holder.is_empty());
    let ours = holder == Some(&options.identity);
    if let (Some(spec), false, Some(_)) = (spec, ours, holder) {
        let seconds = spec.lease_duration_seconds.and_then(|s| u64::try_from(s).ok());
        let duration = seconds.map_or(options.duration, Duration::from_secs);
        if now.duration_since(since) < duration {
            return Decision::Wait;
        }
    }
    let acquired = spec.filter(|_| ours).and_then(|spec| spec.acquire_time.clone());
    let transitions = spec.and_then(|spec| spec.lease_transitions).unwrap_or(0);
    Decision::Write(LeaseSpec {
        holder_identity: Some(options.identity.clone()),
        lease_duration_seconds: i32::try_from(options.duration.as_secs()).ok(),
        acquire_time: acquired.or(Some(MicroTime(wall))),
        renew_time: Some(MicroTime(wall)),
        lease_transitions: Some(if ours || spec.is_none() {
            transitions
        } else {
            transitions.saturating_add(1)
        }),
        ..LeaseSpec::default()
    })
}

/// Leaves the Lease without a holder. Best effort: it runs out by itself.
async fn release(api: &Api<Lease>, options: &LeaseOptions) {
    let given_back = async {
        let Some(mut lease) = api.get_opt(&options.name).await? else { return Ok(()) };
        lease.metadata.managed_fields = None;
        let Some(spec) = lease.spec.as_mut() else { return Ok(()) };
        if spec.holder_identity.as_deref() != Some(&options.identity) {
            return Ok(());
        }
        spec.holder_identity = Some(String::new());
        spec.lease_duration_seconds = Some(1);
        api.replace(&options.name, &PostParams::default(), &lease).await.map(drop)
    };
    match timeout_at(Instant::now() + Duration::from_secs(3), given_back).await {
        Ok(Ok(())) => info!(lease = options.name, "gave the lease back"),
        Ok(Err(error)) => warn!(lease = options.name, %error, "the lease could not be given back"),
        Err(_) => warn!(lease = options.name, "the lease could not be given back in time"),
    }
}

impl Observation {
    /// Notes what was seen at `now`; returns since when it has looked like that.
    fn see(&mut self, spec: Option<&LeaseSpec>, now: Instant) -> Instant {
        match &self.last {
            Some((last, since)) if last.as_ref() == spec => *since,
            _ => {
                self.last = Some((spec.cloned(), now));
                now
            }
        }
    }
}

#[cfg(test)]
mod tests;
