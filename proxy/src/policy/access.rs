//! A policy that the document names: who asks, and who may do what. Decided in `penstock_policies`; here it meets the
//! request.

use std::sync::Arc;

use http::{HeaderName, HeaderValue, Method};
use penstock_config::{Consumer, PolicySpec};
use penstock_policies::{
    Authenticator, Authorizer, ConsumerBook, Decision, Facts, Identified, Identity, KeyTable, Model, Outcome,
    Refused, Sources, Why,
};

use super::{Subject, Wants, edits};
use crate::error::{Error, Unauthenticated};
use crate::quota::Quota;

/// A policy, ready to be asked. Listeners and rules that name it share it.
pub(crate) struct Access {
    name: Arc<str>,
    authenticator: Option<Authenticator>,
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
    identities: Vec<Identity>,
    /// The policies that were asked who it is.
    asked: Vec<Arc<str>>,
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
    pub(crate) fn new(spec: &PolicySpec, consumers: &Consumers, sources: &dyn Sources) -> Self {
        let ways = spec.authentication.as_ref();
        let authenticator =
            ways.map(|ways| Authenticator::new(ways, &consumers.book, &consumers.keys, sources));
        Self {
            name: spec.name.clone(),
            has_lists: authenticator.is_some() && consumers.has_lists,
            authenticator,
            authorizer: spec.authorization.as_ref().map(Authorizer::new),
            quota: None,
        }
    }

    /// With these limits.
    pub(crate) fn limited(self, quota: Option<Arc<Quota>>) -> Self {
        Self { quota, ..self }
    }

    /// Its limits.
    pub(super) fn quota(&self) -> Option<&Arc<Quota>> {
        self.quota.as_ref()
    }

    /// The headers that it may set.
    pub(crate) fn set_headers(&self) -> impl Iterator<Item = &HeaderName> {
        self.authenticator.iter().flat_map(Authenticator::set_headers)
    }

    /// What it has to see: the model, where it decides or counts by that, or somebody whom it identifies may ask for certain
    /// ones; and what its limits count.
    pub(super) fn wants(&self) -> Wants {
        let counts = self.quota.as_ref().map(|quota| quota.wants()).unwrap_or_default();
        let peek = self.has_lists
            || self.late_authorizer().is_some()
            || counts.model
            || counts.tokens
            || counts.cost;
        Wants { peek, ..Wants::default() }
    }

    /// Of a listener: who asks, and whether they may, as far as that does not depend on the model.
    ///
    /// # Errors
    /// They may not, or nobody knows who it is.
    pub(super) fn identify(&self, request: &mut Subject<'_>) -> Result<(), Error> {
        self.authenticate(request)?;
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
        let facts = Facts { method: &Method::POST, model: Model::Named(model), ..*facts };
        authorizer.decide(&facts) == Decision::Allow
    }

    fn late_authorizer(&self) -> Option<&Authorizer> {
        self.authorizer.as_ref().filter(|authorizer| authorizer.needs_model())
    }

    /// Finds out who asks. A policy that a listener and a rule name is asked once: what it went by the first time is gone
    /// then.
    fn authenticate(&self, request: &mut Subject<'_>) -> Result<(), Error> {
        let caller = request.caller.get_or_insert_default();
        let Some(authenticator) = &self.authenticator else { return Ok(()) };
        if caller.asked.contains(&self.name) {
            return Ok(());
        }
        caller.asked.push(self.name.clone());
        let query = request.path_and_query.query();
        match authenticator.identify(&request.head.headers, query, request.now) {
            Outcome::Anonymous => Ok(()),
            Outcome::Identified(Identified { identity, edits }) => {
                caller.identities.push(identity);
                edits::apply(edits, request.path_and_query, request.head)
            }
            Outcome::Refused(Refused { why, challenges }) => Err(self.refusal(why, challenges)),
        }
    }

    fn refusal(&self, why: Why, challenges: Arc<[HeaderValue]>) -> Error {
        let policy = self.name.clone();
        let invalid = match why {
            Why::Missing => None,
            Why::Invalid(what) => Some(what),
            Why::Unavailable => return Error::KeysUnavailable { policy },
        };
        Error::Unauthenticated(Box::new(Unauthenticated { policy, invalid, challenges }))
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

    /// The name of who asks, by the last policy that found out.
    pub(crate) fn name(&self) -> Option<&Arc<str>> {
        self.identities.last().map(|identity| &identity.consumer.name)
    }

    /// How urgent its requests are to pools, by the last policy that found out who it is.
    pub(crate) fn priority(&self) -> Option<i32> {
        self.identities.last()?.consumer.priority
    }
}

/// What is known of a request, but for its model.
fn facts<'a>(request: &'a Subject<'_>) -> Facts<'a> {
    Facts {
        method: &request.head.method,
        model: Model::Unknown,
        address: request.client,
        identities: request.caller.as_ref().map_or(&[], |caller| caller.identities()),
        headers: &request.head.headers,
    }
}
