//! Which web pages may ask (CORS, the Fetch standard).
//!
//! What holds for a request is found before anybody is asked who it is: browsers ask first (a preflight), without a
//! credential, and want to read refusals too. A preflight tells method and path of the request that is to follow, but not
//! its model: of rules that differ by models only, the first one counts for it. The request itself is held to the rule that
//! takes it. Turned down: leaving preflights to upstreams, which do not know who is let in here.

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use penstock_config::{Cors, Listed, RequestModel, RouteRequest};
use pingora_http::ResponseHeader;

use crate::client::Client;
use crate::context::Arrived;
use crate::decide::Question;
use crate::error::Error;
use crate::policy::Reply;
use crate::route;

/// What answers say of it. Whatever an upstream says in these is not the client's to see where the gateway decides.
const SAID: [HeaderName; 6] = [
    header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
    header::ACCESS_CONTROL_ALLOW_HEADERS,
    header::ACCESS_CONTROL_ALLOW_METHODS,
    header::ACCESS_CONTROL_ALLOW_ORIGIN,
    header::ACCESS_CONTROL_EXPOSE_HEADERS,
    header::ACCESS_CONTROL_MAX_AGE,
];

/// Finds out what holds for a request. Of one that asks before another, the answer; `None` if it is none, or nothing holds
/// for what it asks about.
pub(crate) fn meet(client: &Client<'_>, arrived: &mut Arrived) -> Option<Reply> {
    let headers = &client.head().headers;
    let origin = headers.get(header::ORIGIN)?;
    let asked = asked_method(&arrived.target.method, headers);
    let question = route::question(client, arrived);
    let method = asked.as_ref().unwrap_or(question.method);
    let Question { listener, host, path, query, headers, .. } = question;
    let request = RouteRequest { host, path, query, method, headers, model: RequestModel::Unread };
    let cors = arrived.runtime().cors_of(listener, &request).cloned();
    if asked.is_some() {
        return cors.map(|cors| preflight(&cors, origin, headers));
    }
    arrived.cors = cors;
    None
}

/// Says in an answer of the gateway's own what holds.
pub(crate) fn say(headers: &mut HeaderMap, client: &Client<'_>, arrived: &Arrived) {
    let Some(cors) = &arrived.cors else { return };
    for (name, value) in sayings(cors, origin(client), headers) {
        headers.insert(name, value);
    }
}

/// Says in an upstream's answer what holds, in place of what that says.
///
/// # Errors
/// A header cannot be set.
pub(crate) fn replace(
    head: &mut ResponseHeader,
    client: &Client<'_>,
    arrived: &Arrived,
) -> Result<(), Error> {
    let Some(cors) = &arrived.cors else { return Ok(()) };
    for name in &SAID {
        head.remove_header(name);
    }
    for (name, value) in sayings(cors, origin(client), &head.headers) {
        head.insert_header(name, value).map_err(Error::internal)?;
    }
    Ok(())
}

fn origin<'a>(client: &'a Client<'_>) -> Option<&'a HeaderValue> {
    client.head().headers.get(header::ORIGIN)
}

/// The method that is asked about; `None` if the request is for its own sake.
fn asked_method(method: &Method, headers: &HeaderMap) -> Option<Method> {
    if *method != Method::OPTIONS {
        return None;
    }
    let asked = headers.get(header::ACCESS_CONTROL_REQUEST_METHOD)?;
    Method::from_bytes(asked.as_bytes()).ok()
}

/// The answer to who asks before a request. Where a page may not, it says nothing, and the browser sends nothing more.
fn preflight(cors: &Cors, origin: &HeaderValue, asked: &HeaderMap) -> Reply {
    let mut headers = HeaderMap::new();
    if let Some(allowed) = allowed(cors, Some(origin)) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
        if cors.allows_credentials {
            headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
        // A star means less than all: no credentials, and never `authorization`.
        let of = |listed: &Listed, asked_in: HeaderName| match listed {
            Listed::None => None,
            Listed::These(these) => Some(these.clone()),
            Listed::All => asked.get(asked_in).cloned(),
        };
        let methods = of(&cors.methods, header::ACCESS_CONTROL_REQUEST_METHOD);
        let names = of(&cors.headers, header::ACCESS_CONTROL_REQUEST_HEADERS);
        let said = [
            (header::ACCESS_CONTROL_ALLOW_METHODS, methods),
            (header::ACCESS_CONTROL_ALLOW_HEADERS, names),
            (header::ACCESS_CONTROL_MAX_AGE, cors.max_age.clone()),
        ];
        headers.extend(said.into_iter().filter_map(|(name, value)| Some((name, value?))));
    }
    let vary = "Origin, Access-Control-Request-Method, Access-Control-Request-Headers";
    headers.insert(header::VARY, HeaderValue::from_static(vary));
    Reply { status: StatusCode::NO_CONTENT, headers, body: Default::default() }
}

/// The headers that an answer with these others gets.
fn sayings(cors: &Cors, origin: Option<&HeaderValue>, present: &HeaderMap) -> Vec<(HeaderName, HeaderValue)> {
    let mut said = Vec::with_capacity(4);
    if let Some(allowed) = allowed(cors, origin) {
        said.push((header::ACCESS_CONTROL_ALLOW_ORIGIN, allowed));
        if cors.allows_credentials {
            said.push((header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true")));
        }
        let exposed = match &cors.exposed {
            Listed::None => None,
            Listed::These(these) => Some(these.clone()),
            Listed::All if cors.allows_credentials => Some(joined(present.keys().map(HeaderName::as_str))),
            Listed::All => Some(HeaderValue::from_static("*")),
        };
        said.extend(exposed.map(|exposed| (header::ACCESS_CONTROL_EXPOSE_HEADERS, exposed)));
    }
    if !cors.is_public() && !varies(present) {
        let lines = present.get_all(header::VARY).iter().filter_map(|line| line.to_str().ok());
        said.push((header::VARY, joined(lines.chain(["Origin"]))));
    }
    said
}

/// Whether answers are told apart by their origin already.
fn varies(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(header::VARY).iter();
    let mut names = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    names.any(|name| name.trim_ascii() == b"*" || name.trim_ascii().eq_ignore_ascii_case(b"origin"))
}

fn joined<'a>(texts: impl Iterator<Item = &'a str>) -> HeaderValue {
    let joined = texts.collect::<Vec<_>>().join(", ");
    // They are names, or were values before.
    HeaderValue::from_str(&joined).unwrap_or_else(|_| HeaderValue::from_static("Origin"))
}

/// What is said to a page of this origin; `None` if it may not ask. Pages without an origin that could be named are told
/// nothing that lets browsers add credentials.
fn allowed(cors: &Cors, origin: Option<&HeaderValue>) -> Option<HeaderValue> {
    let origin = origin?;
    if cors.is_public() {
        return Some(HeaderValue::from_static("*"));
    }
    let text = origin.to_str().ok()?;
    let is_nameless = text.eq_ignore_ascii_case("null");
    (!is_nameless && cors.allows(text)).then(|| origin.clone())
}
