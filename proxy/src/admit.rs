//! The admit phase: what can only be asked once route and model are known.

use std::borrow::Cow;

use http::HeaderMap;
use penstock_config::{Rule, bare_host, plain_path};
use penstock_policies::{Facts, Model};
use penstock_providers::PathModels;
use penstock_wire::Connections;
use pingora_http::RequestHeader;
use smallvec::{SmallVec, smallvec};

use crate::context::Arrived;
use crate::error::Error;
use crate::external::Reach;
use crate::policy::{self, Access, Verdict};

/// The rule that takes a request.
#[derive(Clone, Copy)]
pub(crate) struct Found {
    /// Its position in the snapshot.
    pub(crate) rule: usize,
    /// Length of the path prefix that matched.
    pub(crate) prefix_length: Option<usize>,
}

/// Asks whether a request may be served: what its listener's policies left open until body and model are known, then the policies
/// of its rule, then whether everybody who was identified may ask for the model. Without a rule, the gateway is about to
/// answer what is no matter of one model, such as the list of them.
///
/// # Errors
/// A policy refuses the request, or who asks may not ask for the model.
pub(crate) async fn admit(
    arrived: &mut Arrived,
    head: &mut RequestHeader,
    connections: &Connections,
    found: Option<Found>,
) -> Result<Verdict, Error> {
    let runtime = arrived.runtime().clone();
    let reach = Reach { runtime: &runtime, connections };
    let of_listener = runtime.listener_chain(arrived.listener);
    if of_listener.wants().whole_body
        && let answer @ Verdict::Answer(_) =
            of_listener.check_body(&reach, &mut arrived.subject(head)).await?
    {
        return Ok(answer);
    }
    let rule = found.map(|found| (&runtime.snapshot().rules()[found.rule], found.prefix_length));
    let is_asked = rule.is_some_and(|(rule, _)| !runtime.rule(rule.index).chain.is_empty());
    if !is_asked && !goes_by_model(arrived) {
        return Ok(Verdict::Continue);
    }
    let asked = rule.map(|(rule, prefix_length)| asked_models(arrived, rule, prefix_length));
    let models = match &asked {
        None => smallvec![Model::List],
        Some(asked) => asked.models(),
    };
    admit_late(arrived, head, &models)?;
    if let Some((rule, _)) = rule {
        let chain = &runtime.rule(rule.index).chain;
        if let answer @ Verdict::Answer(_) =
            chain.admit(of_listener, &reach, &mut arrived.subject(head), rule, &models).await?
        {
            return Ok(answer);
        }
    }
    check_lists(arrived, &models)?;
    Ok(Verdict::Continue)
}

/// Asks what [`admit`] asks, but for an embedder's policies, for an explanation.
///
/// # Errors
/// As [`admit`].
pub(crate) fn explain(
    arrived: &mut Arrived,
    head: &mut RequestHeader,
    found: Option<Found>,
) -> Result<(), Error> {
    let runtime = arrived.runtime().clone();
    let rule = found.map(|found| (&runtime.snapshot().rules()[found.rule], found.prefix_length));
    let asked = rule.map(|(rule, prefix_length)| asked_models(arrived, rule, prefix_length));
    let models = asked.as_ref().map_or_else(|| smallvec![Model::List], AskedModels::models);
    admit_late(arrived, head, &models)?;
    if let Some((rule, _)) = rule {
        let before = runtime.listener_chain(arrived.listener);
        runtime.rule(rule.index).chain.admit_named(before, &mut arrived.subject(head), &models)?;
    }
    check_lists(arrived, &models)
}

/// Whether who asks may ask for this model, as far as that can be told without a rule.
pub(crate) fn may_ask(arrived: &Arrived, head: &RequestHeader, model: &str) -> bool {
    let facts = facts(arrived, &head.headers);
    penstock_policies::may_ask(facts.identities, Model::Named(model))
        && of_listener(arrived).all(|access| access.may_ask(&facts, model))
}

/// What somebody is told who asks for a model that does not exist: no more of those that do than they may ask for, and of
/// one that they may not ask for the same as if it did.
#[cold]
pub(crate) fn conceal(error: Error, arrived: &Arrived, head: &RequestHeader) -> Error {
    let (Error::UnknownModel { .. }, Some(model)) = (&error, arrived.model()) else { return error };
    if arrived.runtime().listener_chain(arrived.listener).is_empty() {
        return error;
    }
    let models = [Model::Named(model)];
    if let Err(refusal) = admit_late(arrived, head, &models).and_then(|()| check_lists(arrived, &models)) {
        return refusal;
    }
    let mut known = arrived.runtime().models(arrived.listener, &arrived.target.host);
    known.retain(|known| may_ask(arrived, head, &known.id));
    Error::unknown_model(model, known.iter().map(|known| &*known.id))
}

/// Whether the listener's policies left something open, or somebody was identified who may ask for certain models.
fn goes_by_model(arrived: &Arrived) -> bool {
    let identities = arrived.caller.as_ref().map_or(&[][..], |caller| caller.identities());
    of_listener(arrived).any(Access::goes_by_model)
        || identities.iter().any(|identity| identity.consumer.models.is_some())
}

/// What the listener's policies left open.
fn admit_late(arrived: &Arrived, head: &RequestHeader, models: &[Model<'_>]) -> Result<(), Error> {
    let facts = facts(arrived, &head.headers);
    of_listener(arrived).try_for_each(|access| access.admit_late(&facts, models))
}

/// The listener's policies that the document names.
fn of_listener(arrived: &Arrived) -> impl Iterator<Item = &Access> {
    arrived.runtime().listener_chain(arrived.listener).named()
}

/// What is known of the request, but for its model.
pub(crate) fn facts<'a>(arrived: &'a Arrived, headers: &'a HeaderMap) -> Facts<'a> {
    Facts {
        method: &arrived.target.method,
        host: bare_host(&arrived.target.host),
        path: arrived.target.path(),
        query: arrived.target.query(),
        model: Model::Unknown,
        tokens: arrived.tokens(),
        address: arrived.client(),
        port: policy::port(arrived.peer, arrived.client()),
        identities: arrived.caller.as_ref().map_or(&[], |caller| caller.identities()),
        headers,
    }
}

/// Whether everybody who was identified may ask for all of the models.
fn check_lists(arrived: &Arrived, models: &[Model<'_>]) -> Result<(), Error> {
    let Some(caller) = &arrived.caller else { return Ok(()) };
    match models.iter().find(|model| !penstock_policies::may_ask(caller.identities(), **model)) {
        None => Ok(()),
        Some(Model::Named(model)) => Err(Error::model_not_allowed(Some(model))),
        Some(Model::Unknown | Model::List) => Err(Error::model_not_allowed(None)),
    }
}

/// The models that a request may be about.
struct AskedModels {
    names: SmallVec<[String; 1]>,
    are_unknown: bool,
}

impl AskedModels {
    fn models(&self) -> SmallVec<[Model<'_>; 2]> {
        let unknown = (self.are_unknown || self.names.is_empty()).then_some(Model::Unknown);
        unknown.into_iter().chain(self.names.iter().map(|name| Model::Named(name))).collect()
    }
}

/// The models that a request may be about: those of its path, which some APIs go by, and that of its body. Where they
/// differ, an upstream may go by either. The path is what upstreams see, rewritten or not.
fn asked_models(arrived: &Arrived, rule: &Rule, prefix_length: Option<usize>) -> AskedModels {
    let mut asked = AskedModels { names: SmallVec::new(), are_unknown: false };
    for path in paths(arrived.target.path(), rule, prefix_length) {
        let found = models_in_path(&path);
        // A redirect is about no more than what it is asked.
        asked.are_unknown |= found.are_unknown && !rule.tiers().is_empty();
        asked.names.extend(found.names);
    }
    asked.names.extend(arrived.model().map(str::to_owned));
    asked
}

/// The models that a path is about: as it is written, and in its plain form, since servers differ in what they take for a
/// delimiter.
pub(crate) fn models_in_path(path: &str) -> PathModels {
    let mut found = penstock_providers::models_in_path(path);
    let plain = plain_path(path);
    if plain != path {
        let of_plain = penstock_providers::models_in_path(&plain);
        found.are_unknown |= of_plain.are_unknown;
        let others = of_plain.names.into_iter().filter(|name| !found.names.contains(name));
        found.names.splice(0..0, others.collect::<Vec<_>>());
    }
    found
}

/// The paths under which upstreams may see a request for `path`.
fn paths<'a>(path: &'a str, rule: &Rule, prefix_length: Option<usize>) -> SmallVec<[Cow<'a, str>; 1]> {
    let prefix = path.get(..prefix_length.unwrap_or(0)).unwrap_or_default();
    let of_targets = rule.tiers().iter().flat_map(|tier| &tier.targets).map(|target| target.rewrite.as_ref());
    // Mirrors go by the rule's rewrite alone.
    let of_mirrors = (rule.tiers().is_empty() || !rule.mirrors.is_empty()).then_some(None);
    let rewrites = of_targets.chain(of_mirrors).map(|of_target| {
        let of_target = of_target.and_then(|rewrite| rewrite.path.as_ref());
        of_target.or_else(|| rule.rewrite.as_ref()?.path.as_ref())
    });
    let mut paths = SmallVec::<[Cow<'a, str>; 1]>::new();
    for rewrite in rewrites {
        let seen = rewrite.map_or(Cow::Borrowed(path), |rewrite| rewrite.apply(path, prefix).into());
        if !paths.contains(&seen) {
            paths.push(seen);
        }
    }
    paths
}
