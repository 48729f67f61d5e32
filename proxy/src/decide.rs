//! What becomes of a request: which action its route means, and which target and endpoint serve it.
//!
//! The one place that decides. Requests and `/debug/pick` take these steps, mirrors the part of them that is theirs; they
//! differ in who is asked for an endpoint ([`Ask`]): a pool that books the request, or one that only says how it would
//! choose. Turned down: an explanation that follows the rules a second time, which was wrong as soon as one of them
//! changed.

mod unserved;

use std::net::IpAddr;
use std::sync::Arc;

use http::{HeaderMap, Method, StatusCode, header};
use penstock_config::{
    Action as RuleAction, Destination, ListenerIndex, Lookup, Matched, Redirect, RedirectTarget,
    RequestModel, RouteRequest, Upstream as UpstreamAt,
};
use penstock_peek::Peeked;
use penstock_picker::PickRequest;

use crate::context::{Arrived, Candidates, Routed, TargetAt};
use crate::error::Error;
use crate::metrics::PickOutcome;
use crate::random;
use crate::runtime::Runtime;
use crate::upstreams::{Asker, Cooling, Excluded, Unavailable, Upstream, Wait};

/// Where the models that a listener serves are listed.
pub(crate) const MODELS_PATH: &str = "/v1/models";

/// What is asked for, as far as it decides where the request goes.
#[derive(Clone, Copy)]
pub(crate) struct Question<'a> {
    /// The listener's index in the snapshot.
    pub(crate) listener: usize,
    pub(crate) host: &'a str,
    pub(crate) path: &'a str,
    pub(crate) query: Option<&'a str>,
    pub(crate) method: &'a Method,
    pub(crate) headers: &'a HeaderMap,
}

/// What is done with a request.
pub(crate) enum Action {
    /// One of a rule's targets serves it.
    Forward(Routed),
    /// A rule sends it elsewhere: see [`redirection`].
    Redirect {
        /// The rule's position in the snapshot.
        rule: usize,
        /// Length of the path prefix that matched.
        prefix_length: Option<usize>,
    },
    /// A rule has an answer for it.
    Respond {
        /// The rule's position in the snapshot.
        rule: usize,
        /// Length of the path prefix that matched.
        prefix_length: Option<usize>,
    },
    /// It is told the models that it could ask for.
    ListModels,
    /// It asked what it could do at its path (`OPTIONS`), and is told.
    TellMethods {
        /// The methods, as `Allow` lists them.
        allow: &'static str,
    },
}

/// What is known of a request before its body is read.
pub(crate) enum Decision {
    /// What is done with it, or why it is refused, whatever the body says.
    Made(Result<Action, Error>),
    /// The body has to be read first: to learn the model, or because rule or policies look into it.
    ReadBody,
}

/// What a pick goes by, beside the route.
#[derive(Clone, Copy)]
pub(crate) struct Facts<'a> {
    /// What was found in the body, if it was looked at.
    pub(crate) peeked: Option<&'a Peeked>,
    /// The request's headers.
    pub(crate) headers: &'a HeaderMap,
    /// How urgent it is, where no objective says it.
    pub(crate) priority: i32,
    /// Who asks, by name; empty if nobody knows.
    pub(crate) consumer: &'a str,
    /// The client's address.
    pub(crate) client: Option<IpAddr>,
    /// The query asked for.
    pub(crate) query: Option<&'a str>,
}

/// Asks an upstream for an endpoint.
pub(crate) trait Ask {
    /// What it gives for one.
    type Endpoint;

    /// Asks `upstream` for an endpoint for a request that is for `target`.
    ///
    /// # Errors
    /// It has none now.
    fn ask(
        &mut self,
        target: TargetAt,
        upstream: &Upstream,
        request: &PickRequest<'_>,
        excluded: &Excluded,
    ) -> Result<Self::Endpoint, Unavailable>;

    /// Hears that the decision goes on to other targets, since this one has none.
    fn passed_over(&mut self, target: TargetAt, upstream: (UpstreamAt, &Upstream), why: &Unavailable);
}

/// A target whose upstream gave an endpoint.
pub(crate) struct Selected<E> {
    pub(crate) target: TargetAt,
    pub(crate) upstream: UpstreamAt,
    /// What the model is called there, where it differs from what the client asked for.
    pub(crate) model: Option<Arc<str>>,
    pub(crate) endpoint: E,
}

/// Why no target gave an endpoint.
pub(crate) enum NoTarget {
    /// Nothing is left to try; what the client is told.
    Nothing(Error),
    /// This target would be the one, if the request waits.
    Wait(TargetAt, UpstreamAt, Unavailable, Wait),
}

impl<'a> Facts<'a> {
    /// Those of a request with these headers.
    pub(crate) fn of(arrived: &'a Arrived, headers: &'a HeaderMap) -> Self {
        Self {
            peeked: arrived.peeked.as_ref(),
            headers,
            priority: arrived.priority(),
            consumer: arrived.consumer(),
            client: arrived.client(),
            query: arrived.target.query(),
        }
    }

    /// What of the request can bind it to an endpoint.
    pub(crate) fn asker(self) -> Asker<'a> {
        Asker { client: self.client, headers: self.headers, query: self.query }
    }
}

/// Decides by the head alone.
pub(crate) fn before_body(runtime: &Runtime, question: &Question<'_>, has_body: bool) -> Decision {
    let model = if has_body { RequestModel::Unread } else { RequestModel::Absent };
    let lookup = look_up(runtime, question, model);
    let reads = has_body
        && match &lookup {
            Lookup::NeedsModel => true,
            Lookup::Rule(matched) => {
                let rule = runtime.rule(matched.rule.index);
                rule.wants.body()
                    // A listener's policies may go by the model, or by all of the body.
                    || runtime.listener_chain(question.listener).wants().body()
                    // A body that has to be decoded has to be here.
                    || runtime.forms(question.listener, matched.rule.index).plain && question.headers.contains_key(header::CONTENT_ENCODING)
            }
            Lookup::UnknownModel | Lookup::NoRoute => false,
        };
    if reads { Decision::ReadBody } else { Decision::Made(action(runtime, question, &lookup, model)) }
}

/// Decides by head and body. `model` is the one that the body names.
///
/// # Errors
/// Nothing serves the request.
pub(crate) fn after_body(
    runtime: &Runtime,
    question: &Question<'_>,
    model: Option<&str>,
) -> Result<Action, Error> {
    let model = model.map_or(RequestModel::Absent, RequestModel::Named);
    action(runtime, question, &look_up(runtime, question, model), model)
}

/// Where a rule that redirects sends a request: by the target that the request has then, without what policies took out.
///
/// # Errors
/// The rule redirects nobody.
pub(crate) fn redirection(
    runtime: &Runtime,
    question: &Question<'_>,
    rule: usize,
    prefix_length: Option<usize>,
) -> Result<(StatusCode, String), Error> {
    let RuleAction::Redirect(redirect) = &runtime.snapshot().rules()[rule].action else {
        return Err(Error::internal("the rule redirects nobody"));
    };
    Ok((redirect.status, location(runtime, question, redirect, prefix_length)))
}

/// Where a redirect leads.
pub(crate) fn location(
    runtime: &Runtime,
    question: &Question<'_>,
    redirect: &Redirect,
    prefix_length: Option<usize>,
) -> String {
    let listener = &runtime.snapshot().listeners[question.listener];
    let target = RedirectTarget {
        is_tls: listener.is_tls(),
        host: question.host,
        port: listener.address.port(),
        path: question.path,
        query: question.query,
    };
    let prefix = prefix_length.and_then(|length| question.path.get(..length));
    redirect.location(&target, prefix.unwrap_or(question.path))
}

/// Goes through what is left of a rule's targets until one gives an endpoint. Targets that cannot are given up, but for
/// one that has something to wait for: the names of a backend, the first credential for it, or a place where no other
/// target is left.
///
/// # Errors
/// None gave one without waiting.
pub(crate) fn target<A: Ask>(
    runtime: &Runtime,
    facts: Facts<'_>,
    routed: &mut Routed,
    ask: &mut A,
) -> Result<Selected<A::Endpoint>, NoTarget> {
    let rule = &runtime.snapshot().rules()[routed.rule];
    let mut last = None;
    loop {
        let Some(at) = routed.candidates.next(rule, random::next_u64()) else {
            if routed.candidates.take_put_off() {
                continue;
            }
            return Err(NoTarget::Nothing(last.unwrap_or(Error::NoEndpoints)));
        };
        let target = &rule.tiers()[at.0].targets[at.1];
        let at_upstream = match target.destination {
            Destination::Upstream(upstream) => upstream,
            // Its share is of requests, not of attempts: whatever failed before says more than it does.
            Destination::Status(_) | Destination::Closed(_) if last.is_some() || routed.attempts > 0 => {
                routed.candidates.exhaust(at);
                continue;
            }
            Destination::Status(status) => {
                return Err(NoTarget::Nothing(Error::InvalidTarget { status: status.as_u16() }));
            }
            Destination::Closed(status) => {
                return Err(NoTarget::Nothing(Error::UnsupportedPolicy { status: status.as_u16() }));
            }
        };
        let upstream = runtime.upstream(at_upstream);
        let model = model_at(upstream, facts, target.model_override.as_ref());
        let mut excluded = routed.excluded(at, at_upstream);
        let cooling = leave_alone(upstream, facts, model.as_deref(), &routed.candidates, &mut excluded);
        upstream.bind(&mut excluded, facts.asker());
        let request = pick_request(facts, model.as_deref(), &excluded);
        let asked = match &cooling {
            Some(cooling) if cooling.is_whole => Err(Unavailable::cooling(cooling)),
            Some(cooling) => {
                ask.ask(at, upstream, &request, &excluded).map_err(|why| why.or_cooling(cooling))
            }
            None => ask.ask(at, upstream, &request, &excluded),
        };
        match asked {
            Ok(endpoint) => return Ok(Selected { target: at, upstream: at_upstream, model, endpoint }),
            Err(unavailable) => {
                let has_other = routed.candidates.has_other(rule, at);
                match unavailable.wait {
                    Some(wait) if wait != Wait::Place || !has_other => {
                        return Err(NoTarget::Wait(at, at_upstream, unavailable, wait));
                    }
                    _ => ask.passed_over(at, (at_upstream, upstream), &unavailable),
                }
                let is_guess = cooling.is_some_and(|cooling| cooling.is_guess);
                if is_guess && unavailable.outcome == PickOutcome::Cooling {
                    routed.candidates.put_off(at);
                    continue;
                }
                last = Some(worse(last, unavailable.error));
                routed.candidates.exhaust(at);
            }
        }
    }
}

/// What the model is called at an upstream: the target renames it first, then the pool. `None` if neither does.
pub(crate) fn model_at(
    upstream: &Upstream,
    facts: Facts<'_>,
    by_target: Option<&Arc<str>>,
) -> Option<Arc<str>> {
    let named = facts.peeked.and_then(|peeked| peeked.model.as_ref()).map(|model| model.name.as_str());
    let asked = by_target.map(|name| &**name).or(named).unwrap_or_default();
    upstream.renamed(asked).or_else(|| by_target.cloned())
}

/// Adds who wants to be left alone to those that are not to be tried.
pub(crate) fn leave_alone(
    upstream: &Upstream,
    facts: Facts<'_>,
    model: Option<&str>,
    candidates: &Candidates,
    excluded: &mut Excluded,
) -> Option<Cooling> {
    // What limits the gateway's account says nothing of a client's own.
    if upstream.credential.as_ref().is_some_and(|credential| !credential.stands_for_all(facts.headers)) {
        return None;
    }
    let named = facts.peeked.and_then(|peeked| peeked.model.as_ref()).map(|model| model.name.as_str());
    let model = model.or(named).unwrap_or_default();
    let cooling = upstream.cooldowns.of(model, candidates.takes_put_off())?;
    cooling.endpoints.iter().for_each(|endpoint| excluded.add(*endpoint));
    Some(cooling)
}

/// What the picker has to know of a request.
pub(crate) fn pick_request<'a>(
    facts: Facts<'a>,
    model: Option<&'a str>,
    excluded: &'a Excluded,
) -> PickRequest<'a> {
    let peeked = facts.peeked;
    let named = peeked.and_then(|peeked| peeked.model.as_ref()).map(|model| model.name.as_str());
    PickRequest {
        model: model.or(named).unwrap_or_default(),
        blocks: peeked.map_or(&[], |peeked| &peeked.blocks),
        prompt_bytes: peeked.map_or(0, |peeked| peeked.prompt_bytes),
        max_tokens: peeked.and_then(|peeked| peeked.max_tokens),
        priority: facts.priority,
        consumer: facts.consumer,
        headers: facts.headers,
        exclude: &excluded.endpoints,
    }
}

/// Of two reasons why nothing could be picked, the one that tells the client more: that a pool is full says "try again",
/// that one is empty does not. Of two that say when, the sooner one.
pub(crate) fn worse(last: Option<Error>, new: Error) -> Error {
    let Some(last) = last else { return new };
    match (last.retry_after(), new.retry_after()) {
        (Some(at_last), Some(at_new)) if at_new < at_last => new,
        (Some(_), _) => last,
        (None, _) => new,
    }
}

fn look_up<'a>(runtime: &'a Runtime, question: &Question<'_>, model: RequestModel<'_>) -> Lookup<'a> {
    let Question { listener, host, path, query, method, headers } = *question;
    let request = RouteRequest { host, path, query, method, headers, model };
    runtime.snapshot().route(ListenerIndex(listener), &request)
}

fn action(
    runtime: &Runtime,
    question: &Question<'_>,
    lookup: &Lookup<'_>,
    model: RequestModel<'_>,
) -> Result<Action, Error> {
    if lists_models(runtime, question, lookup) {
        return Ok(Action::ListModels);
    }
    match lookup {
        Lookup::Rule(matched) => Ok(action_of(matched)),
        Lookup::NeedsModel | Lookup::UnknownModel | Lookup::NoRoute => {
            unserved::action(runtime, question, lookup, model)
        }
    }
}

fn action_of(matched: &Matched<'_>) -> Action {
    match &matched.rule.action {
        RuleAction::Forward(_) => {
            Action::Forward(Routed::new(matched.rule.index, matched.prefix.map(str::len)))
        }
        RuleAction::Redirect(_) => {
            Action::Redirect { rule: matched.rule.index, prefix_length: matched.prefix.map(str::len) }
        }
        RuleAction::Respond(_) => {
            Action::Respond { rule: matched.rule.index, prefix_length: matched.prefix.map(str::len) }
        }
    }
}

/// Whether the path is that of the list of models, or of one of them.
fn is_models_path(path: &str) -> bool {
    path.strip_prefix(MODELS_PATH).is_some_and(|after| after.is_empty() || after.starts_with('/'))
}

/// Whether the request asks for the list of models and no rule claims it.
fn lists_models(runtime: &Runtime, question: &Question<'_>, lookup: &Lookup<'_>) -> bool {
    let is_asked = matches!(*question.method, Method::GET | Method::HEAD) && is_models_path(question.path);
    // Looking for models takes time with each of them, so only the requests that ask pay for it.
    is_asked
        && match lookup {
            // A rule for everything below `/` or `/v1` serves models, not the list of them.
            Lookup::Rule(matched) => {
                matches!(matched.rule.action, RuleAction::Forward(_))
                    && matched.prefix.is_some_and(|prefix| prefix.len() < MODELS_PATH.len())
                    && !runtime.models(question.listener, question.host).is_empty()
            }
            Lookup::NeedsModel | Lookup::UnknownModel | Lookup::NoRoute => true,
        }
}
