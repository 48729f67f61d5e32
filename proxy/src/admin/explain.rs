//! `POST /debug/pick`: where a request would go, and why. The decision is made by the same code as for requests; only
//! nobody is booked anywhere, and nothing is held of a limit. An embedder's policies are not asked.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, Method, Uri};
use penstock_config::{Destination, ListenerIndex, Rule, Target, Tier};
use penstock_peek::{Decoder, Peeked};
use penstock_picker::PickRequest;
use pingora_http::RequestHeader;
use serde_json::{Map, Value, json};

use crate::admit::{self, Found};
use crate::body::Body;
use crate::context::{Arrived, RequestTarget, Routed, TargetAt};
use crate::decide::{self, Action, Ask, Decision, Facts, NoTarget, Question, Selected};
use crate::error::Error;
use crate::head::{self, check_target};
use crate::peek;
use crate::quota::{self, explain::Explained, explain::Refusal};
use crate::runtime::Runtime;
use crate::upstreams::{Excluded, Unavailable, Upstream};

/// What `/debug/pick` explains when its query does not say otherwise.
const DEFAULT_PATH: &str = "/v1/chat/completions";

/// Explains what would become of `body` under the headers in `head`; its query names path, host, listener and
/// method.
///
/// # Errors
/// The query names something that does not exist. A request that the gateway would refuse is no error: that is
/// the explanation.
pub(super) fn explain(runtime: &Arc<Runtime>, head: &Parts, body: &[u8]) -> Result<Value, String> {
    let asked = Asked::parse(runtime, head)?;
    if let Err(error) = check_target(&asked.method, &asked.path, &asked.host) {
        return Ok(refused(&error));
    }
    let Ok((mut arrived, mut request)) = arrive(runtime, head, asked) else {
        return Ok(refused(&Error::BadTarget("it is no path")));
    };
    let chain = runtime.listener_chain(arrived.listener);
    let identified = chain.identify_named(&mut arrived.subject(&mut request));
    let mut told = match identified {
        Err(error) => refused(&error),
        Ok(()) => identified_by_now(runtime, &mut arrived, &mut request, body),
    };
    told["caller"] = caller(&arrived);
    Ok(told)
}

/// A request as the gateway would have it once its head is read.
fn arrive(
    runtime: &Arc<Runtime>,
    head: &Parts,
    asked: Asked<'_>,
) -> Result<(Arrived, RequestHeader), http::uri::InvalidUri> {
    let host = asked.host.to_ascii_lowercase();
    let listener = runtime.snapshot().listener_for(asked.listener, &host).0;
    let path_and_query = PathAndQuery::try_from(&*asked.path)?;
    let mut parts = http::Request::new(()).into_parts().0;
    parts.method = asked.method.clone();
    parts.uri = Uri::from(path_and_query.clone());
    parts.headers = head.headers.clone();
    head::strip_own(&mut parts.headers);
    let mut arrived = Arrived::new(runtime.clone(), listener, Body::new(&Arc::default()));
    arrived.target = RequestTarget { method: asked.method, host, path_and_query };
    arrived.forwarded_for = asked.address;
    Ok((arrived, RequestHeader::from(parts)))
}

/// Who the caller is taken for.
fn caller(arrived: &Arrived) -> Value {
    let identities = arrived.caller.as_ref().map_or(&[][..], |caller| caller.identities());
    let Some(identity) = identities.last() else { return Value::Null };
    let consumer = &identity.consumer;
    json!({ "consumer": &*consumer.name, "tags": &consumer.tags, "priority": consumer.priority })
}

/// What a request that is refused is told.
fn refused(error: &Error) -> Value {
    let mut told =
        json!({ "refused": error.to_string(), "refused_status": error.row().status, "picked": null });
    if let Some((policy, rule)) = error.refused_by() {
        told["refused_by"] = json!({ "policy": &**policy, "rule": rule.map(|rule| &**rule) });
    }
    told
}

/// Explains what becomes of a request that the listener's policies let pass so far.
fn identified_by_now(
    runtime: &Arc<Runtime>,
    arrived: &mut Arrived,
    request: &mut RequestHeader,
    body: &[u8],
) -> Value {
    let (target, headers) = (arrived.target.clone(), request.headers.clone());
    let question = Question {
        listener: arrived.listener,
        host: &target.host,
        path: target.path(),
        query: target.query(),
        method: &target.method,
        headers: &headers,
    };
    let decided = match decide::before_body(runtime, &question, !body.is_empty()) {
        Decision::Made(action) => action,
        Decision::ReadBody => match read(runtime, &headers, body) {
            Ok(read) => {
                let model = read.model.as_ref().map(|model| model.name.clone());
                arrived.peeked = Some(read);
                decide::after_body(runtime, &question, model.as_deref())
            }
            Err(error) => Err(error),
        },
    };
    let found = match &decided {
        Ok(Action::Forward(routed)) => Some(Found { rule: routed.rule, prefix_length: routed.prefix_length }),
        Ok(Action::Redirect { rule, prefix_length } | Action::Respond { rule, prefix_length }) => {
            Some(Found { rule: *rule, prefix_length: *prefix_length })
        }
        Ok(Action::ListModels | Action::TellMethods { .. }) | Err(_) => None,
    };
    let mut told = Map::new();
    if decided.is_ok() {
        let rule = found.map(|found| &runtime.snapshot().rules()[found.rule]);
        if let Some(rule) = rule {
            told.insert("route".to_owned(), json!(&*rule.route));
            told.insert("rule".to_owned(), json!(&*rule.name));
        }
        told.insert("model".to_owned(), json!(arrived.model()));
        if let Err(error) = admit::explain(arrived, request, found) {
            told.extend(members(refused(&error)));
            return Value::Object(told);
        }
        let Explained { limits, refusal } = quota::explain::of_request(arrived, &request.headers, rule);
        told.insert("limits".to_owned(), json!(limits));
        if let Some(refusal) = refusal {
            let Refusal { policy, limit } = refusal;
            let error = Unavailable::limited(&policy, &limit).error;
            told.insert("refused".to_owned(), json!(error.to_string()));
            told.insert("refused_by".to_owned(), json!({ "policy": &*policy, "limit": &*limit }));
            told.insert("picked".to_owned(), Value::Null);
            return Value::Object(told);
        }
    }
    told.extend(members(act(runtime, arrived, request, &question, decided)));
    Value::Object(told)
}

/// Explains what is done with a request that policies let pass.
fn act(
    runtime: &Runtime,
    arrived: &Arrived,
    request: &RequestHeader,
    question: &Question<'_>,
    decided: Result<Action, Error>,
) -> Value {
    match decided {
        Err(error) => {
            let mut told = refused(&error);
            told["model"] = json!(arrived.model());
            told
        }
        Ok(Action::TellMethods { allow }) => json!({ "tells_methods": allow, "picked": null }),
        Ok(Action::ListModels) => json!({ "lists_models": true, "picked": null }),
        Ok(Action::Redirect { rule, prefix_length }) => {
            match decide::redirection(runtime, question, rule, prefix_length) {
                Ok((status, location)) => {
                    json!({ "redirects": true, "status": status.as_u16(), "location": location, "picked": null })
                }
                Err(error) => refused(&error),
            }
        }
        Ok(Action::Respond { rule, .. }) => {
            let rule = &runtime.snapshot().rules()[rule];
            json!({ "responds": true, "route": &*rule.route, "rule": &*rule.name, "picked": null })
        }
        Ok(Action::Forward(mut routed)) => forward(runtime, arrived, &request.headers, &mut routed),
    }
}

fn members(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(members) => members,
        other => Map::from_iter([("report".to_owned(), other)]),
    }
}

fn forward(runtime: &Runtime, arrived: &Arrived, headers: &HeaderMap, routed: &mut Routed) -> Value {
    let facts = Facts::of(arrived, headers);
    let rule = &runtime.snapshot().rules()[routed.rule];
    let targets = rule.tiers().iter().flat_map(|tier| tier.targets.iter().map(move |of| (tier, of)));
    let targets: Vec<Value> = targets.map(|(tier, target)| describe(runtime, tier, target)).collect();
    let mut notes = Notes { arrived, headers, rule, passed_over: Vec::new(), last: Map::new() };
    let outcome = decide::target(runtime, facts, routed, &mut notes);
    let mut decision = Map::new();
    let peeked = facts.peeked;
    decision.insert("prompt_bytes".to_owned(), json!(peeked.map_or(0, |peeked| peeked.prompt_bytes)));
    decision.insert("prefix_blocks".to_owned(), json!(peeked.map_or(0, |peeked| peeked.blocks.len())));
    decision.insert("targets".to_owned(), json!(targets));
    decision.insert("passed_over".to_owned(), json!(notes.passed_over));
    decision.insert("picked".to_owned(), Value::Null);
    decision.extend(notes.last);
    match outcome {
        Ok(Selected { model, .. }) => {
            decision.insert("model_there".to_owned(), json!(model.as_deref()));
        }
        Err(NoTarget::Nothing(Error::InvalidTarget { status } | Error::UnsupportedPolicy { status })) => {
            decision.insert("status".to_owned(), json!(status));
        }
        Err(NoTarget::Nothing(error)) => {
            decision.insert("refused".to_owned(), json!(error.to_string()));
        }
        Err(NoTarget::Wait(_, _, why, wait)) => {
            decision.insert("waits_for".to_owned(), json!(wait.name()));
            decision.insert("refused".to_owned(), json!(why.error.to_string()));
        }
    }
    Value::Object(decision)
}

/// Asks upstreams how they would choose, and books nothing.
struct Notes<'a> {
    arrived: &'a Arrived,
    headers: &'a HeaderMap,
    rule: &'a Rule,
    passed_over: Vec<Value>,
    /// What the upstream that was asked last said.
    last: Map<String, Value>,
}

impl Ask for Notes<'_> {
    type Endpoint = ();

    fn ask(
        &mut self,
        _target: TargetAt,
        upstream: &Upstream,
        request: &PickRequest<'_>,
        excluded: &Excluded,
    ) -> Result<(), Unavailable> {
        let (report, outcome) = upstream.explain(request, excluded);
        self.last = members(report);
        self.last.insert(upstream.kind.label().to_owned(), json!(&*upstream.name));
        if upstream.quotas.is_empty() {
            return outcome;
        }
        let Explained { limits, refusal } =
            quota::explain::of_upstream(self.arrived, self.headers, self.rule, upstream, request.model);
        self.last.insert("target_limits".to_owned(), json!(limits));
        match refusal {
            None => outcome,
            Some(refusal) => {
                self.last.remove("picked");
                Err(Unavailable::limited(&refusal.policy, &refusal.limit))
            }
        }
    }

    fn passed_over(
        &mut self,
        _target: TargetAt,
        (_, upstream): (penstock_config::Upstream, &Upstream),
        why: &Unavailable,
    ) {
        self.passed_over
            .push(json!({ upstream.kind.label(): &*upstream.name, "why": why.error.to_string() }));
    }
}

fn read(runtime: &Runtime, headers: &HeaderMap, body: &[u8]) -> Result<Peeked, Error> {
    let options = runtime.peek_options();
    let mut peek = peek::start(headers, options)?;
    if let Some(coding) = peek::coding(headers)? {
        let mut decoder = Decoder::new(coding, body.len(), peek.is_form(), options, peek)?;
        decoder.feed(body)?;
        return Ok(decoder.finish()?.finish()?);
    }
    peek.feed(body)?;
    Ok(peek.finish()?)
}

fn describe(runtime: &Runtime, tier: &Tier, target: &Target) -> Value {
    let (kind, name) = match target.destination {
        Destination::Upstream(index) => {
            let upstream = runtime.upstream(index);
            (upstream.kind.label(), json!(&*upstream.name))
        }
        Destination::Status(status) => ("status", json!(status.as_u16())),
        Destination::Closed(status) => ("closed", json!(status.as_u16())),
    };
    json!({
        kind: name,
        "weight": target.weight,
        "priority": tier.priority,
        "model_override": target.model_override.as_deref(),
    })
}

struct Asked<'a> {
    listener: ListenerIndex,
    method: Method,
    path: Cow<'a, str>,
    host: Cow<'a, str>,
    /// Of the client.
    address: Option<IpAddr>,
}

impl<'a> Asked<'a> {
    fn parse(runtime: &Runtime, head: &'a Parts) -> Result<Self, String> {
        let mut asked = Self {
            listener: ListenerIndex(0),
            method: Method::POST,
            path: DEFAULT_PATH.into(),
            host: "".into(),
            address: None,
        };
        for pair in head.uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = percent_encoding::percent_decode_str(value)
                .decode_utf8()
                .map_err(|_| format!("the query's `{name}` is not UTF-8"))?;
            match name {
                "path" => asked.path = value,
                "host" => asked.host = value,
                "address" => {
                    let address = value.parse();
                    asked.address = Some(
                        address.map_err(|_| format!("the query's `address` is no IP address: {value}"))?,
                    );
                }
                "method" => {
                    asked.method =
                        value.parse().map_err(|_| format!("the query's `method` is no method: {value}"))?;
                }
                "listener" => {
                    let index = runtime.listener_index(&value);
                    asked.listener = ListenerIndex(index.ok_or_else(|| unknown_listener(runtime, &value))?);
                }
                _ => {
                    return Err(format!(
                        "the query's `{name}` is unknown: use path, host, listener, method, address"
                    ));
                }
            }
        }
        Ok(asked)
    }
}

fn unknown_listener(runtime: &Runtime, name: &str) -> String {
    let known: Vec<&str> = runtime.snapshot().listeners.iter().map(|listener| &*listener.name).collect();
    format!("there is no listener {name}; there are: {}", known.join(", "))
}
