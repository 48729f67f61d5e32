//! `POST /debug/pick`: where a request would go, and why. The decision is made by the same code as for requests; only
//! nobody is booked anywhere.

use std::borrow::Cow;

use http::request::Parts;
use http::{HeaderMap, Method};
use penstock_config::{Destination, ListenerIndex, Target, Tier};
use penstock_peek::{Decoder, Peeked};
use penstock_picker::PickRequest;
use serde_json::{Map, Value, json};

use crate::context::{Routed, TargetAt};
use crate::decide::{self, Action, Ask, Decision, Facts, NoTarget, Question, Selected};
use crate::error::Error;
use crate::head::{self, check_target};
use crate::peek;
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
pub(super) fn explain(runtime: &Runtime, head: &Parts, body: &[u8]) -> Result<Value, String> {
    let asked = Asked::parse(runtime, head)?;
    let mut headers = head.headers.clone();
    head::strip_own(&mut headers);
    if let Err(error) = check_target(&asked.method, &asked.path, &asked.host) {
        return Ok(json!({ "refused": error.to_string(), "picked": null }));
    }
    let host = asked.host.to_ascii_lowercase();
    let (path, query) = match asked.path.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (&*asked.path, None),
    };
    let question = Question {
        listener: runtime.snapshot().listener_for(asked.listener, &host).0,
        host: &host,
        path,
        query,
        method: &asked.method,
        headers: &headers,
    };
    let mut peeked = None;
    let decided = match decide::before_body(runtime, &question, !body.is_empty()) {
        Decision::Made(action) => action,
        Decision::ReadBody => match read(runtime, &headers, body) {
            Ok(read) => {
                let model = read.model.as_ref().map(|model| model.name.clone());
                peeked = Some(read);
                decide::after_body(runtime, &question, model.as_deref())
            }
            Err(error) => Err(error),
        },
    };
    let facts = Facts { peeked: peeked.as_ref(), headers: &headers };
    let model = peeked.as_ref().and_then(|peeked| peeked.model.as_ref()).map(|model| model.name.as_str());
    Ok(match decided {
        Err(error) => json!({ "model": model, "refused": error.to_string(), "picked": null }),
        Ok(Action::TellMethods { allow }) => json!({ "tells_methods": allow, "picked": null }),
        Ok(Action::ListModels) => json!({ "lists_models": true, "picked": null }),
        Ok(Action::Redirect { rule, prefix_length }) => {
            match decide::redirection(runtime, &question, rule, prefix_length) {
                Ok((status, location)) => {
                    json!({ "redirects": true, "status": status.as_u16(), "location": location, "picked": null })
                }
                Err(error) => json!({ "refused": error.to_string(), "picked": null }),
            }
        }
        Ok(Action::Respond { rule, .. }) => {
            let rule = &runtime.snapshot().rules()[rule];
            json!({ "responds": true, "route": &*rule.route, "rule": &*rule.name, "picked": null })
        }
        Ok(Action::Forward(mut routed)) => forward(runtime, facts, &mut routed),
    })
}

fn forward(runtime: &Runtime, facts: Facts<'_>, routed: &mut Routed) -> Value {
    let rule = &runtime.snapshot().rules()[routed.rule];
    let targets = rule.tiers().iter().flat_map(|tier| tier.targets.iter().map(move |of| (tier, of)));
    let targets: Vec<Value> = targets.map(|(tier, target)| describe(runtime, tier, target)).collect();
    let mut notes = Notes::default();
    let outcome = decide::target(runtime, facts, routed, &mut notes);
    let mut decision = Map::new();
    let peeked = facts.peeked;
    decision.insert("route".to_owned(), json!(&*rule.route));
    decision.insert("rule".to_owned(), json!(&*rule.name));
    let model = peeked.and_then(|peeked| peeked.model.as_ref()).map(|model| model.name.as_str());
    decision.insert("model".to_owned(), json!(model));
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
#[derive(Default)]
struct Notes {
    passed_over: Vec<Value>,
    /// What the upstream that was asked last said.
    last: Map<String, Value>,
}

impl Ask for Notes {
    type Endpoint = ();

    fn ask(
        &mut self,
        _target: TargetAt,
        upstream: &Upstream,
        request: &PickRequest<'_>,
        excluded: &Excluded,
    ) -> Result<(), Unavailable> {
        let (report, outcome) = upstream.explain(request, excluded);
        self.last = match report {
            Value::Object(report) => report,
            other => Map::from_iter([("report".to_owned(), other)]),
        };
        self.last.insert(upstream.kind.label().to_owned(), json!(&*upstream.name));
        outcome
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
}

impl<'a> Asked<'a> {
    fn parse(runtime: &Runtime, head: &'a Parts) -> Result<Self, String> {
        let mut asked = Self {
            listener: ListenerIndex(0),
            method: Method::POST,
            path: DEFAULT_PATH.into(),
            host: "".into(),
        };
        for pair in head.uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = percent_encoding::percent_decode_str(value)
                .decode_utf8()
                .map_err(|_| format!("the query's `{name}` is not UTF-8"))?;
            match name {
                "path" => asked.path = value,
                "host" => asked.host = value,
                "method" => {
                    asked.method =
                        value.parse().map_err(|_| format!("the query's `method` is no method: {value}"))?;
                }
                "listener" => {
                    let index = runtime.listener_index(&value);
                    asked.listener = ListenerIndex(index.ok_or_else(|| unknown_listener(runtime, &value))?);
                }
                _ => {
                    return Err(format!("the query's `{name}` is unknown: use path, host, listener, method"));
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
