//! The admit phase: what can only be asked once route and model are known.

use penstock_policies::{Facts, Model};
use pingora_http::RequestHeader;

use crate::context::Arrived;
use crate::error::Error;
use crate::policy::{Access, Verdict};

/// Asks whether a request may be served: what its listener's policies left open until the model is known, then the policies
/// of its rule, then whether everybody who was identified may ask for the model. Without a rule, the gateway is about to
/// answer what is no matter of one model, such as the list of them.
///
/// # Errors
/// A policy refuses the request, or who asks may not ask for the model.
pub(crate) async fn admit(
    arrived: &mut Arrived,
    head: &mut RequestHeader,
    rule: Option<usize>,
) -> Result<Verdict, Error> {
    let names = named_models(arrived);
    let models = match rule {
        None => vec![Model::List],
        Some(_) => models(&names),
    };
    admit_late(arrived, head, &models)?;
    if let Some(rule) = rule {
        let runtime = arrived.runtime().clone();
        let (chain, rule) = (&runtime.rule(rule).chain, &runtime.snapshot().rules()[rule]);
        if let answer @ Verdict::Answer(_) = chain.admit(&mut arrived.subject(head), rule, &models).await? {
            return Ok(answer);
        }
    }
    check_lists(arrived, &models)?;
    Ok(Verdict::Continue)
}

/// Whether who asks may ask for this model, as far as that can be told without a rule.
pub(crate) fn may_ask(arrived: &Arrived, head: &RequestHeader, model: &str) -> bool {
    let facts = facts(arrived, head);
    penstock_policies::may_ask(facts.identities, Model::Named(model))
        && of_listener(arrived).all(|access| access.may_ask(&facts, model))
}

/// What somebody is told who asks for a model that does not exist: no more of those that do than they may ask for, and of
/// one that they may not ask for the same as if it did.
#[cold]
pub(crate) fn conceal(error: Error, arrived: &Arrived, head: &RequestHeader) -> Error {
    let (Error::UnknownModel { .. }, Some(model), Some(_)) = (&error, arrived.model(), &arrived.caller)
    else {
        return error;
    };
    let models = [Model::Named(model)];
    if let Err(refusal) = admit_late(arrived, head, &models).and_then(|()| check_lists(arrived, &models)) {
        return refusal;
    }
    let mut known = arrived.runtime().models(arrived.listener, &arrived.target.host);
    known.retain(|known| may_ask(arrived, head, &known.id));
    Error::unknown_model(model, known.iter().map(|known| &*known.id))
}

/// What the listener's policies left open.
fn admit_late(arrived: &Arrived, head: &RequestHeader, models: &[Model<'_>]) -> Result<(), Error> {
    let facts = facts(arrived, head);
    of_listener(arrived).try_for_each(|access| access.admit_late(&facts, models))
}

/// The listener's policies that the document names.
fn of_listener(arrived: &Arrived) -> impl Iterator<Item = &Access> {
    arrived.runtime().listener_chain(arrived.listener).named()
}

/// What is known of the request, but for its model.
fn facts<'a>(arrived: &'a Arrived, head: &'a RequestHeader) -> Facts<'a> {
    Facts {
        method: &arrived.target.method,
        model: Model::Unknown,
        address: arrived.client(),
        identities: arrived.caller.as_ref().map_or(&[], |caller| caller.identities()),
        headers: &head.headers,
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

/// The models that the request names: in its path, which some APIs go by, and in its body. Where they differ, an upstream
/// may go by either.
fn named_models(arrived: &Arrived) -> Vec<String> {
    let mut names = penstock_providers::models_in_path(arrived.target.path());
    names.extend(arrived.model().map(str::to_owned));
    names
}

fn models(names: &[String]) -> Vec<Model<'_>> {
    if names.is_empty() {
        return vec![Model::Unknown];
    }
    names.iter().map(|name| Model::Named(name)).collect()
}
