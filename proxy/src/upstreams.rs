//! Pools and backends as the request path sees them: one kind of thing, an [`Upstream`].
//!
//! What differs between the two is how an endpoint is chosen, and stays behind [`Chooser`] and [`Chosen`]: a pool's
//! picker scores its endpoints, a backend's balancer takes them in turn. Everything after that is the same for both.

mod bound;
mod chosen;
mod cooldown;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use penstock_config::{Encoding, HashBy, ModelRewrite, PoolSpec, Shown};
use penstock_picker::{EndpointId, PickError, PickRequest, Pool};
use penstock_wire::Peers;
use serde_json::{Value, json};
use tokio::time::Instant;

pub(crate) use self::bound::Asker;
pub(crate) use self::chosen::{Chosen, EndpointKey};
pub(crate) use self::cooldown::{Cooldowns, Cooling, Scope};
pub(crate) use crate::metrics::UpstreamKind;

use self::bound::Bound;
use crate::balance::{BalanceError, Balancer, Wanted};
use crate::codec::Codec;
use crate::credential::Credential;
use crate::error::{Error, LimitReached};
use crate::meter::Quota;
use crate::metrics::{PickOutcome, UpstreamMetrics};
use crate::random;

/// What requests are forwarded to, with everything that takes.
pub(crate) struct Upstream {
    /// Pool or backend.
    pub(crate) kind: UpstreamKind,
    /// Its name, unique among those of its kind.
    pub(crate) name: Arc<str>,
    /// Chooses the endpoint of an attempt.
    pub(crate) chooser: Chooser,
    /// How its endpoints are connected to.
    pub(crate) peers: Peers,
    /// What is shown to them to be let in.
    pub(crate) credential: Option<Arc<Credential>>,
    /// How it is spoken to, where that is not as the client speaks.
    pub(crate) codec: Option<Arc<dyn Codec>>,
    /// Which requests go to the same endpoint, where some do.
    pub(crate) hash_by: Option<HashBy>,
    /// How compressed requests reach it.
    pub(crate) request_encoding: Encoding,
    /// What clients may ask it for.
    pub(crate) response_encoding: Encoding,
    /// Who of it wants to be left alone.
    pub(crate) cooldowns: Arc<Cooldowns>,
    /// The limits of what is asked of it.
    pub(crate) quotas: Box<[Arc<Quota>]>,
    /// What is counted of it.
    pub(crate) metrics: UpstreamMetrics,
}

/// Chooses the endpoint of an attempt.
pub(crate) enum Chooser {
    /// By load and prompt.
    Pool {
        /// The pool.
        pool: Arc<Pool>,
        /// What it was built from, for the names of models in it.
        spec: Arc<PoolSpec>,
    },
    /// By weight, in turn or at random.
    Balancer(Arc<Balancer>),
}

/// Endpoints that a request is not to be sent to any more, for what it did before. Both lists are of one upstream, and one of them is empty.
#[derive(Debug, Default)]
pub(crate) struct Excluded {
    /// Of a pool.
    pub(crate) endpoints: Vec<EndpointId>,
    /// Of a backend.
    pub(crate) addresses: Vec<SocketAddr>,
    /// Whether the request follows an attempt that failed.
    pub(crate) is_retry: bool,
    /// What binds the request to an endpoint, where something does.
    pub(crate) bound: Option<Box<Bound>>,
}

/// Why an upstream gave no endpoint.
#[derive(Debug)]
pub(crate) struct Unavailable {
    /// How the metrics call it.
    pub(crate) outcome: PickOutcome,
    /// What the client is told if there is nothing else.
    pub(crate) error: Error,
    /// What waiting could be for.
    pub(crate) wait: Option<Wait>,
}

/// What a request can wait for at an upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    /// A place at an endpoint, in the pool's queue.
    Place,
    /// The first look-up of the backend's names.
    Names,
    /// The first fetch of the credential.
    Credential,
    /// A counter of a limit, which the store that gateways share has to fill.
    Counter,
}

impl Upstream {
    /// What `model` is called here; `None` if it keeps its name.
    pub(crate) fn renamed(&self, model: &str) -> Option<Arc<str>> {
        match &self.chooser {
            Chooser::Pool { spec, .. } => {
                ModelRewrite::choose(&spec.model_rewrites, model, random::next_u64()).cloned()
            }
            Chooser::Balancer(_) => None,
        }
    }

    /// Whether it may call a model otherwise than its clients.
    pub(crate) fn renames(&self) -> bool {
        match &self.chooser {
            Chooser::Pool { spec, .. } => !spec.model_rewrites.is_empty(),
            Chooser::Balancer(_) => false,
        }
    }

    /// Whether what it is sent is made from a request's whole body: a translation, or a signature.
    pub(crate) fn takes_whole_bodies(&self) -> bool {
        let is_signed = |credential: &Arc<Credential>| matches!(credential.spec().shown, Shown::Aws { .. });
        self.codec.is_some() || self.credential.as_ref().is_some_and(is_signed)
    }

    /// Whether its limits count what is in bodies: models, tokens, and what they cost.
    pub(crate) fn counts_bodies(&self) -> bool {
        self.quotas.iter().map(|quota| quota.wants()).any(|wants| wants.model || wants.tokens || wants.cost)
    }

    /// Notes what binds a request to one of its endpoints.
    #[inline]
    pub(crate) fn bind(&self, excluded: &mut Excluded, asker: Asker<'_>) {
        if let Some(by) = &self.hash_by {
            excluded.bound = Some(Box::new(Bound::of(by, asker)));
        }
    }

    /// Chooses an endpoint without waiting, and books the request there.
    ///
    /// # Errors
    /// There is none now.
    pub(crate) fn choose(
        &self,
        request: &PickRequest<'_>,
        excluded: &Excluded,
    ) -> Result<Chosen, Unavailable> {
        self.has_credential(request)?;
        match &self.chooser {
            Chooser::Pool { pool, .. } => pool.pick(request).map(Chosen::from).map_err(Unavailable::from),
            Chooser::Balancer(balancer) => {
                let picked = balancer.pick(excluded.wanted());
                picked.map(|chosen| Chosen::of_backend(chosen, excluded)).map_err(Unavailable::from)
            }
        }
    }

    /// Chooses an endpoint as [`Self::choose`] does, after waiting for what was missing.
    ///
    /// # Errors
    /// There is still none.
    pub(crate) async fn choose_after(
        &self,
        wait: Wait,
        request: &PickRequest<'_>,
        excluded: &Excluded,
    ) -> Result<Chosen, Unavailable> {
        match (&self.chooser, wait) {
            (Chooser::Pool { pool, .. }, Wait::Place) => {
                pool.admit(request).await.map(Chosen::from).map_err(Unavailable::from)
            }
            (_, Wait::Credential) => {
                let limit = self.peers.connection().connect_timeout;
                if let Some(kept) = self.credential.as_ref().and_then(|credential| credential.kept()) {
                    kept.first(limit).await;
                }
                match self.choose(request, excluded) {
                    Err(Unavailable { wait: Some(next @ (Wait::Names | Wait::Place)), .. }) => {
                        Box::pin(self.choose_after(next, request, excluded)).await
                    }
                    chosen => chosen,
                }
            }
            (Chooser::Balancer(balancer), Wait::Names) => {
                let limit: Duration = self.peers.connection().connect_timeout;
                let picked = balancer.pick_when_resolved(excluded.wanted(), limit).await;
                picked
                    .map(|chosen| Chosen::of_backend(chosen, excluded))
                    .map_err(|error| Unavailable { wait: None, ..error.into() })
            }
            _ => self.choose(request, excluded),
        }
    }

    /// Says how [`Self::choose`] would choose, for people, and whether it would give an endpoint. Books nothing.
    pub(crate) fn explain(
        &self,
        request: &PickRequest<'_>,
        excluded: &Excluded,
    ) -> (Value, Result<(), Unavailable>) {
        let (value, outcome) = self.explain_choice(request, excluded);
        (value, self.has_credential(request).and(outcome))
    }

    fn explain_choice(
        &self,
        request: &PickRequest<'_>,
        excluded: &Excluded,
    ) -> (Value, Result<(), Unavailable>) {
        match &self.chooser {
            Chooser::Pool { pool, .. } => {
                let explanation = pool.explain(request);
                let outcome = explanation.refusal.map_or(Ok(()), |error| Err(error.into()));
                (json!(explanation), outcome)
            }
            Chooser::Balancer(balancer) => {
                let outcome = balancer.would_pick(excluded.wanted()).map_err(Unavailable::from);
                (json!(balancer.report()), outcome)
            }
        }
    }

    /// Whether there is a credential for the request, as far as it needs one that is fetched.
    ///
    /// # Errors
    /// There is none now.
    fn has_credential(&self, request: &PickRequest<'_>) -> Result<(), Unavailable> {
        let missing = self.credential.as_ref().and_then(|credential| credential.missing(request.headers));
        let Some(kept) = missing else { return Ok(()) };
        let wait = kept.is_awaited().then_some(Wait::Credential);
        Err(Unavailable { outcome: PickOutcome::NoCredential, error: Error::NoCredential, wait })
    }

    /// Counts that it gave no endpoint.
    pub(crate) fn passed_over(&self, why: &Unavailable) {
        self.metrics.picked(why.outcome);
        if let Error::CircuitOpen { bound } = why.error {
            self.metrics.circuit_open(bound);
        }
    }

    /// Whether an endpoint is left that is not `excluded`. Those that were are not just counted: one may have left since.
    pub(crate) fn has_other(&self, excluded: &Excluded) -> bool {
        match &self.chooser {
            Chooser::Pool { pool, .. } => pool.has_other(|id| excluded.endpoints.contains(&id)),
            Chooser::Balancer(balancer) => {
                balancer.has_other(|address| excluded.addresses.contains(&address))
            }
        }
    }
}

impl Wait {
    /// What it is called in explanations.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Place => "a place at an endpoint",
            Self::Names => "the backend's names to be resolved",
            Self::Credential => "the first fetch of its credential",
            Self::Counter => "a counter of a limit",
        }
    }
}

impl Unavailable {
    /// What is there wants to be left alone.
    pub(crate) fn cooling(cooling: &Cooling) -> Self {
        let retry_after = cooling.until.saturating_duration_since(Instant::now());
        Self { outcome: PickOutcome::Cooling, error: Error::Cooling { retry_after }, wait: None }
    }

    /// A limit does not let the request pass, as an explanation has it.
    pub(crate) fn limited(policy: &Arc<str>, limit: &Arc<str>) -> Self {
        let (policy, limit) = (policy.clone(), limit.clone());
        let reached = LimitReached { policy, limit, retry_after: None, missing: None, figures: None };
        Self { outcome: PickOutcome::Limited, error: Error::RateLimited(Box::new(reached)), wait: None }
    }

    /// This one, if there is more behind it than that those that would be left want to be left alone.
    pub(crate) fn or_cooling(self, cooling: &Cooling) -> Self {
        match self.outcome {
            PickOutcome::AllExcluded | PickOutcome::NoEndpoints => Self::cooling(cooling),
            _ => self,
        }
    }
}

impl Excluded {
    pub(crate) fn add(&mut self, endpoint: EndpointKey) {
        match endpoint {
            EndpointKey::Pool(id) => self.endpoints.push(id),
            EndpointKey::Backend(address) => self.addresses.push(address),
        }
    }

    fn wanted(&self) -> Wanted<'_> {
        let key = self.bound.as_ref().map_or(&[][..], |bound| &bound.key);
        Wanted { exclude: &self.addresses, is_retry: self.is_retry, key }
    }
}

impl From<PickError> for Unavailable {
    fn from(error: PickError) -> Self {
        let (outcome, wait) = match error {
            PickError::NoEndpoints => (PickOutcome::NoEndpoints, None),
            PickError::AllExcluded => (PickOutcome::AllExcluded, None),
            PickError::Saturated { .. } => (PickOutcome::Saturated, Some(Wait::Place)),
            PickError::Shed { .. } => (PickOutcome::Shed, None),
            PickError::QueueFull { .. } => (PickOutcome::QueueFull, None),
            PickError::QueueTimeout { .. } => (PickOutcome::QueueTimeout, None),
        };
        let error = match error {
            PickError::NoEndpoints | PickError::AllExcluded => Error::NoEndpoints,
            PickError::Saturated { retry_after } => Error::Saturated { retry_after },
            PickError::Shed { retry_after, .. } => Error::Shed { retry_after },
            PickError::QueueFull { retry_after } => Error::QueueFull { retry_after },
            PickError::QueueTimeout { retry_after } => Error::QueueTimeout { retry_after },
        };
        Self { outcome, error, wait }
    }
}

impl From<BalanceError> for Unavailable {
    fn from(error: BalanceError) -> Self {
        let (outcome, wait) = match error {
            BalanceError::AllExcluded => (PickOutcome::AllExcluded, None),
            BalanceError::Unresolved => (PickOutcome::NoEndpoints, Some(Wait::Names)),
            BalanceError::NoneAvailable => (PickOutcome::NoEndpoints, None),
            BalanceError::CircuitOpen(bound) => {
                let error = Error::CircuitOpen { bound };
                return Self { outcome: PickOutcome::CircuitOpen, error, wait: None };
            }
        };
        Self { outcome, error: Error::NoEndpoints, wait }
    }
}
