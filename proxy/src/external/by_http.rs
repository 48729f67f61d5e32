//! The question and its answer by HTTP: the request's method, at a path of the server's, without its body if that is not
//! wanted. 200 allows, as with Envoy, and no other 2xx: a server that answers a preflight with 204 has not looked at anybody.

use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use penstock_config::ExternalPath;

use super::ask::{Answered, Fault, Question};
use super::changes::{Changes, HeaderChange, How, may_change_request, may_change_response};
use super::{Answer, Seen};
use crate::request_id;
use crate::text;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The question about a request.
///
/// # Errors
/// Its path is too long behind that of the server's.
pub(super) fn question(seen: &Seen<'_>, path: &ExternalPath) -> Result<Question, Fault> {
    let target = match path {
        ExternalPath::Fixed(path) => path.clone(),
        ExternalPath::Behind(prefix) if prefix.is_empty() => seen.target.clone(),
        ExternalPath::Behind(prefix) => PathAndQuery::try_from(format!("{prefix}{}", seen.target.as_str()))
            .map_err(|_| Fault::TooLongToAsk)?,
    };
    let mut headers = seen.shown_headers();
    if let Ok(host) = HeaderValue::from_str(seen.host)
        && !seen.host.is_empty()
    {
        headers.insert(header::HOST, host);
    }
    if let Ok(id) = HeaderValue::from_str(seen.request_id) {
        headers.insert(request_id::HEADER, id);
    }
    if let Some(source) = seen.source {
        let mut client = Vec::with_capacity(40);
        text::ip(source.ip(), &mut client);
        headers.extend(HeaderValue::from_bytes(&client).ok().map(|client| (X_FORWARDED_FOR, client)));
    }
    headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static(seen.scheme));
    let body = seen.body.unwrap_or_default();
    let length: usize = body.iter().map(bytes::Bytes::len).sum();
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    Ok(Question { method: seen.head.method.clone(), target, headers, body: body.to_vec() })
}

/// What the server says. `to_upstream` are the headers that upstreams get from it.
///
/// # Errors
/// It failed.
pub(super) fn answer(answered: Answered, to_upstream: &[HeaderName]) -> Result<Answer, Fault> {
    let Answered { status, headers, body, .. } = answered;
    if status.is_server_error() || status.is_informational() {
        return Err(Fault::Status(status));
    }
    if status == StatusCode::OK {
        let mut set = Vec::new();
        for name in to_upstream.iter().filter(|name| may_change_request(name)) {
            let values = headers.get_all(name).iter().cloned();
            set.extend(values.map(|value| HeaderChange { name: name.clone(), value, how: How::Append }));
        }
        return Ok(Answer::Allowed(Changes { set, ..Changes::default() }));
    }
    let told: HeaderMap = headers
        .iter()
        .filter(|(name, _)| may_change_response(name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    Ok(Answer::Denied(Some(Box::new(super::reply(status, told, body)))))
}
