//! `POST /debug/pick`: where a request would go, and why. Takes the same steps as a request, and no others.

use std::borrow::Cow;

use http::request::Parts;
use http::{HeaderMap, Method};
use penstock_config::{
    Action, Destination, ListenerIndex, Lookup, RequestModel, RouteRequest, Rule, Target, Tier, Upstream,
};
use penstock_peek::{Peek, Peeked};
use penstock_picker::PickRequest;
use serde_json::{Value, json};

use crate::listen::head::check_target;
use crate::runtime::Runtime;

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
    if let Err(error) = check_target(&asked.method, &asked.path, &asked.host) {
        return Ok(json!({ "refused": error.to_string(), "picked": null }));
    }
    let listener = runtime.snapshot().listener_for(asked.listener, &asked.host);
    let peeked = match peek(runtime, &head.headers, body) {
        Ok(peeked) => peeked,
        Err(error) => return Ok(json!({ "refused": error, "picked": null })),
    };
    let model = peeked.model.as_ref().map(|model| model.name.as_str());
    let request = RouteRequest {
        host: &asked.host,
        path: &asked.path,
        query: None,
        method: &asked.method,
        headers: &head.headers,
        model: model.map_or(RequestModel::Absent, RequestModel::Named),
    };
    let refused = |why: &str| json!({ "model": model, "refused": why, "picked": null });
    Ok(match runtime.snapshot().route(listener, &request) {
        Lookup::Rule(matched) => forward(runtime, matched.rule, &peeked, &head.headers),
        Lookup::NeedsModel => refused("the route needs a model and the body names none"),
        Lookup::UnknownModel => refused("no route serves this model"),
        Lookup::NoRoute => refused("no route matches this request"),
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

fn peek(runtime: &Runtime, headers: &HeaderMap, body: &[u8]) -> Result<Peeked, String> {
    let value = |name| headers.get(name).map(http::HeaderValue::as_bytes);
    let peek = Peek::new(
        value(http::header::CONTENT_TYPE),
        value(http::header::CONTENT_ENCODING),
        runtime.peek_options(),
    );
    let read = |mut peek: Peek| {
        peek.feed(body)?;
        peek.finish()
    };
    peek.and_then(read).map_err(|error| error.to_string())
}

fn forward(runtime: &Runtime, rule: &Rule, peeked: &Peeked, headers: &HeaderMap) -> Value {
    let model = peeked.model.as_ref().map(|model| model.name.as_str());
    let Action::Forward(tiers) = &rule.action else {
        return json!({ "route": &*rule.route, "rule": &*rule.name, "model": model, "redirects": true, "picked": null });
    };
    let targets: Vec<Value> = tiers
        .iter()
        .flat_map(|tier| tier.targets.iter().map(move |target| describe(runtime, tier, target)))
        .collect();
    let mut decision = json!({
        "route": &*rule.route,
        "rule": &*rule.name,
        "model": model,
        "prompt_bytes": peeked.prompt_bytes,
        "prefix_blocks": peeked.blocks.len(),
        "targets": targets,
    });
    let chosen = tiers.iter().find_map(|tier| tier.choose(crate::random::next_u64(), |_| false));
    let detail = match chosen {
        None => json!({ "picked": null, "refused": "every target of the rule has weight 0" }),
        Some(target) => match target.destination {
            Destination::Status(status) => json!({ "picked": null, "status": status.as_u16() }),
            Destination::Upstream(Upstream::Pool(index)) => {
                let model = target.model_override.as_deref().or(model).unwrap_or_default();
                let request = PickRequest {
                    model,
                    blocks: &peeked.blocks,
                    prompt_bytes: peeked.prompt_bytes,
                    max_tokens: peeked.max_tokens,
                    priority: 0,
                    headers,
                    exclude: &[],
                };
                let mut detail = json!(runtime.pool(index).explain(&request));
                detail["pool"] = json!(&*runtime.snapshot().pools[index.0].name);
                detail
            }
            Destination::Upstream(Upstream::Backend(index)) => {
                let mut detail = json!(runtime.balancer(index).report());
                detail["backend"] = json!(&*runtime.snapshot().backends[index.0].name);
                detail
            }
        },
    };
    if let (Value::Object(decision), Value::Object(detail)) = (&mut decision, detail) {
        decision.extend(detail);
    }
    decision
}

fn describe(runtime: &Runtime, tier: &Tier, target: &Target) -> Value {
    let (kind, name) = match target.destination {
        Destination::Upstream(Upstream::Pool(index)) => {
            ("pool", json!(&*runtime.snapshot().pools[index.0].name))
        }
        Destination::Upstream(Upstream::Backend(index)) => {
            ("backend", json!(&*runtime.snapshot().backends[index.0].name))
        }
        Destination::Status(status) => ("status", json!(status.as_u16())),
    };
    json!({
        kind: name,
        "weight": target.weight,
        "priority": tier.priority,
        "model_override": target.model_override.as_deref(),
    })
}
