//! A policy that the document names: who asks, and who may do what. Decided in `penstock_policies`; here it meets the
//! request.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use http::{HeaderName, Method};
use penstock_config::{Authentication, Consumer, PolicySpec, bare_host};
use penstock_policies::{
    Authenticator, Authorizer, ConsumerBook, Decision, Facts, Identity, KeyTable, Model, Sources,
};
use smallvec::SmallVec;

use super::login::LogIn;
use super::server::{Server, Servers};
use super::{Subject, Verdict, Wants};
use crate::error::Error;
use crate::meter::Quota;
use crate::metrics::Metrics;

mod who;

/// A policy, ready to be asked. Listeners and rules that name it share it.
pub(crate) struct Access {
    name: Arc<str>,
    external: Option<Server>,
    authenticator: Option<Authenticator>,
    /// Who shows nothing else may log in.
    login: Option<Arc<LogIn>>,
    authorizer: Option<Authorizer>,
    /// Whether those whom it identifies may have to ask for certain models.
    has_lists: bool,
    /// How much.
    quota: Option<Arc<Quota>>,
}

/// Who can be identified: the same for all policies of a document.
pub(crate) struct Consumers {
    book: Arc<ConsumerBook>,
    keys: Arc<KeyTable>,
    /// Whether some of them may ask for certain models only.
    has_lists: bool,
}

/// Who asks, as far as policies found out.
#[derive(Default)]
pub(crate) struct Caller {
    identities: SmallVec<[Identity; 1]>,
    /// The policies that were asked who it is.
    asked: SmallVec<[Arc<str>; 2]>,
    /// The policies whose servers were asked whether the request may be served.
    checked: SmallVec<[Arc<str>; 1]>,
    /// The policy whose server answered the request.
    answered_by: Option<Arc<str>>,
}

impl Consumers {
    /// Those of a document.
    pub(crate) fn new(consumers: &[Arc<Consumer>]) -> Self {
        Self {
            book: Arc::new(ConsumerBook::new(consumers)),
            keys: Arc::new(KeyTable::from_consumers(consumers)),
            has_lists: consumers.iter().any(|consumer| consumer.models.is_some()),
        }
    }

    /// Who is called how.
    pub(crate) fn book(&self) -> &Arc<ConsumerBook> {
        &self.book
    }
}

impl Access {
    /// What `spec` says. What its files and identity providers say comes from `sources`.
    pub(crate) fn new(
        spec: &PolicySpec,
        consumers: &Consumers,
        sources: &dyn Sources,
        metrics: &Metrics,
    ) -> Self {
        let external = |of: &penstock_config::External| {
            Server::new(spec.name.clone(), of.clone(), metrics.checks(&spec.name))
        };
        let ways = spec.authentication.as_ref();
        let authenticator =
            ways.map(|ways| Authenticator::new(ways, &consumers.book, &consumers.keys, sources));
        Self {
            name: spec.name.clone(),
            external: spec.external.as_ref().map(external),
            has_lists: authenticator.is_some() && consumers.has_lists,
            authenticator,
            login: None,
            authorizer: spec.authorization.as_ref().map(|rules| {
                let own = ways.map(Authentication::providers).into_iter().flatten();
                Authorizer::new(rules).of_policy(spec.name.clone(), own)
            }),
            quota: None,
        }
    }

    /// Whether it asks anything of requests.
    pub(crate) fn asks(&self) -> bool {
        self.external.is_some()
            || self.authenticator.is_some()
            || self.authorizer.is_some()
            || self.quota.is_some()
    }

    /// Whether it has a server that is asked, or somebody to whom people are sent.
    pub(super) fn may_wait(&self) -> bool {
        self.external.is_some() || self.login.is_some()
    }

    /// With these limits.
    pub(crate) fn limited(self, quota: Option<Arc<Quota>>) -> Self {
        Self { quota, ..self }
    }

    /// With this login.
    pub(crate) fn logging_in(self, login: Option<Arc<LogIn>>) -> Self {
        Self { login, ..self }
    }

    /// Its limits.
    pub(super) fn quota(&self) -> Option<&Arc<Quota>> {
        self.quota.as_ref()
    }

    /// The headers that it may set.
    pub(crate) fn set_headers(&self) -> impl Iterator<Item = &HeaderName> {
        let of_login = self.login.iter().flat_map(|login| login.set_headers());
        self.authenticator.iter().flat_map(Authenticator::set_headers).chain(of_login)
    }

    /// The headers that only its server sets, where that is asked once the body is there.
    pub(super) fn awaited_headers(&self) -> impl Iterator<Item = &HeaderName> {
        let waiting = self.external.iter().filter(|server| server.needs_body());
        waiting.flat_map(|server| server.spec.headers_to_upstream())
    }

    /// What it has to see: the model, where it decides or counts by that, or somebody whom it identifies may ask for certain
    /// ones; what its limits count; the body, where its server is shown it.
    pub(super) fn wants(&self) -> Wants {
        let counts = self.quota.as_ref().map(|quota| quota.wants()).unwrap_or_default();
        let peek = self.has_lists
            || self.late_authorizer().is_some()
            || counts.model
            || counts.tokens
            || counts.cost;
        Wants { peek, whole_body: self.waits_for_body(), ..Wants::default() }
    }

    /// Asks its server whether the request may be served, if it has one that was not asked yet. Of a policy that a listener
    /// and a rule name it is asked once. One that is shown the body can be asked once that `is_read`.
    ///
    /// # Errors
    /// It may not, or nobody could say.
    pub(super) async fn check(
        &self,
        servers: &dyn Servers,
        request: &mut Subject<'_>,
        is_read: bool,
    ) -> Result<Verdict, Error> {
        let Some(external) = self.external.as_ref().filter(|of| is_read || !of.needs_body()) else {
            return Ok(Verdict::Continue);
        };
        let caller = request.caller.get_or_insert_default();
        if caller.checked.contains(&self.name) {
            return Ok(Verdict::Continue);
        }
        caller.checked.push(self.name.clone());
        // In a place of its own: hardly any policy has a server.
        let verdict = Box::pin(servers.check(external, request)).await?;
        if matches!(verdict, Verdict::Answer(_)) {
            request.caller.get_or_insert_default().answered_by = Some(self.name.clone());
        }
        Ok(verdict)
    }

    /// Asks its server, and has people log in, if it does either.
    ///
    /// # Errors
    /// The request may not be served, or nobody could say, or nobody knows who it is.
    pub(super) async fn ask(
        &self,
        servers: &dyn Servers,
        request: &mut Subject<'_>,
        is_read: bool,
    ) -> Result<Verdict, Error> {
        match self.check(servers, request, is_read).await? {
            Verdict::Continue => self.log_in(request).await,
            answer @ Verdict::Answer(_) => Ok(answer),
        }
    }

    /// Whether its server is asked when the body is there.
    pub(super) fn waits_for_body(&self) -> bool {
        self.external.as_ref().is_some_and(Server::needs_body)
    }

    /// Of a listener: who asks, and whether they may, as far as that does not depend on the model.
    ///
    /// # Errors
    /// They may not, or nobody knows who it is.
    pub(super) fn identify(&self, request: &mut Subject<'_>) -> Result<(), Error> {
        self.authenticate(request)?;
        self.authorize_early(request)
    }

    /// Of a listener: whether who asks may, as far as that does not depend on the model.
    ///
    /// # Errors
    /// They may not.
    pub(super) fn authorize_early(&self, request: &Subject<'_>) -> Result<(), Error> {
        match &self.authorizer {
            Some(authorizer) if !authorizer.needs_model() => {
                self.authorize(authorizer, &facts(request), &[Model::Unknown])
            }
            _ => Ok(()),
        }
    }

    /// Of a rule: who asks, and whether they may ask for these models.
    ///
    /// # Errors
    /// They may not, or nobody knows who it is.
    pub(super) fn admit(&self, request: &mut Subject<'_>, models: &[Model<'_>]) -> Result<(), Error> {
        self.authenticate(request)?;
        match &self.authorizer {
            Some(authorizer) => self.authorize(authorizer, &facts(request), models),
            None => Ok(()),
        }
    }

    /// Of a listener: whether [`Self::identify`] leaves something open.
    pub(crate) fn goes_by_model(&self) -> bool {
        self.late_authorizer().is_some()
    }

    /// Of a listener: what [`Self::identify`] left open, since it depends on the model.
    ///
    /// # Errors
    /// They may not.
    pub(crate) fn admit_late(&self, facts: &Facts<'_>, models: &[Model<'_>]) -> Result<(), Error> {
        match self.late_authorizer() {
            Some(authorizer) => self.authorize(authorizer, facts, models),
            None => Ok(()),
        }
    }

    /// Of a listener: whether [`Self::admit_late`] would let a request for this model pass.
    pub(crate) fn may_ask(&self, facts: &Facts<'_>, model: &str) -> bool {
        let Some(authorizer) = self.late_authorizer() else { return true };
        // As few tokens as may be: the list says what may be asked for at all.
        let tokens = Some(0);
        let facts = Facts { method: &Method::POST, model: Model::Named(model), tokens, ..*facts };
        authorizer.decide(&facts) == Decision::Allow
    }

    fn late_authorizer(&self) -> Option<&Authorizer> {
        self.authorizer.as_ref().filter(|authorizer| authorizer.needs_model())
    }

    /// All of the models have to be allowed: which of them is served may be for the upstream to say.
    fn authorize(
        &self,
        authorizer: &Authorizer,
        facts: &Facts<'_>,
        models: &[Model<'_>],
    ) -> Result<(), Error> {
        for model in models {
            if let Decision::Deny { rule } = authorizer.decide(&Facts { model: *model, ..*facts }) {
                return Err(Error::Forbidden { policy: self.name.clone(), rule });
            }
        }
        Ok(())
    }
}

impl Caller {
    /// Who it is, by each policy that found out.
    pub(crate) fn identities(&self) -> &[Identity] {
        &self.identities
    }

    /// The policy whose server answered the request.
    pub(crate) fn answered_by(&self) -> Option<&Arc<str>> {
        self.answered_by.as_ref()
    }

    /// The name of who asks, by the last policy that found out.
    pub(crate) fn name(&self) -> Option<&Arc<str>> {
        self.identities.last().map(|identity| &identity.consumer.name)
    }

    /// How urgent its requests are to pools, by the first policy that found out who it is and knows: what a client shows beside
    /// that makes them no more urgent.
    pub(crate) fn priority(&self) -> Option<i32> {
        self.identities.iter().find_map(|identity| identity.consumer.priority)
    }
}

/// The port of a client that is at the other end of the connection itself; else 0.
pub(crate) fn port(peer: Option<SocketAddr>, client: Option<IpAddr>) -> u16 {
    peer.filter(|peer| Some(peer.ip()) == client).map_or(0, |peer| peer.port())
}

/// What is known of a request, but for its model.
fn facts<'a>(request: &'a Subject<'_>) -> Facts<'a> {
    Facts {
        method: &request.head.method,
        host: bare_host(request.host),
        path: request.path_and_query.path(),
        query: request.path_and_query.query(),
        model: Model::Unknown,
        tokens: request.tokens,
        address: request.client,
        port: port(request.peer, request.client),
        identities: request.caller.as_ref().map_or(&[], |caller| caller.identities()),
        headers: &request.head.headers,
    }
}
