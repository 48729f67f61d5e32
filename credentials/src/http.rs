//! Requests to services that give out credentials.
//!
//! One attempt each: what is worth another is decided by whoever keeps the credential. Connections are not kept, since the
//! next request comes in most of an hour; redirects are not followed, proxies not asked.

use std::sync::OnceLock;
use std::time::Duration;

use ::http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, USER_AGENT};
use ::http::{HeaderName, HeaderValue, Method, Request, StatusCode, Uri};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use penstock_tls::{ClientOptions, ClientTls};
use serde::de::DeserializeOwned;

use crate::error::FetchError;

/// The most bytes of an answer's body that are read, unless its asker says otherwise, and about the most of its head.
pub(crate) const LIMIT_BYTES: usize = 64 << 10;

/// How long a service on the internet may take, from connecting to the last byte.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(10);

/// How long a service on this machine may take. Where there is none, its address may swallow what is sent there.
pub(crate) const LOCAL_TIMEOUT: Duration = Duration::from_secs(2);

/// The longest code of an error that is shown.
const MAX_CODE_BYTES: usize = 64;

/// A client, made when it is first needed: that reads the system's authorities.
#[derive(Default)]
pub(crate) struct Http(OnceLock<Client<HttpsConnector<HttpConnector>, Full<Bytes>>>);

/// What is asked.
pub(crate) struct Ask<'a> {
    method: Method,
    url: &'a str,
    headers: Vec<(HeaderName, HeaderValue)>,
    body: Bytes,
    limit: Duration,
    limit_bytes: usize,
}

/// An answer of 200.
pub(crate) struct Answer {
    host: Box<str>,
    pub(crate) body: Bytes,
}

impl<'a> Ask<'a> {
    pub(crate) fn get(url: &'a str) -> Self {
        Self {
            method: Method::GET,
            url,
            headers: Vec::new(),
            body: Bytes::new(),
            limit: TIMEOUT,
            limit_bytes: LIMIT_BYTES,
        }
    }

    /// With nothing in its body.
    pub(crate) fn put(url: &'a str) -> Self {
        Self { method: Method::PUT, ..Self::get(url) }
    }

    /// With fields of a form. Pairs whose value is empty are left out.
    pub(crate) fn form(url: &'a str, fields: &[(&str, &str)]) -> Self {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.extend_pairs(fields.iter().filter(|(_, value)| !value.is_empty()));
        let ask = Self { method: Method::POST, body: form.finish().into(), ..Self::get(url) };
        ask.header(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"))
    }

    /// With a value as JSON.
    pub(crate) fn json(url: &'a str, value: &serde_json::Value) -> Self {
        let ask = Self { method: Method::POST, body: value.to_string().into(), ..Self::get(url) };
        ask.header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
    }

    pub(crate) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Shows a token, or whatever else stands in `Authorization`.
    pub(crate) fn authorized(self, value: &str) -> Result<Self, FetchError> {
        let malformed = |_| FetchError::Nowhere("a token that was to be shown cannot stand in a header");
        let mut value = HeaderValue::from_str(value).map_err(malformed)?;
        value.set_sensitive(true);
        Ok(self.header(AUTHORIZATION, value))
    }

    /// Shows a client of OAuth 2.0 and its secret (RFC 6749, 2.3.1).
    pub(crate) fn of_client(self, id: &str, secret: &str) -> Result<Self, FetchError> {
        let escaped = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
        let pair = format!("{}:{}", escaped(id), escaped(secret));
        self.authorized(&format!("Basic {}", STANDARD.encode(pair)))
    }

    /// Of a service on this machine.
    pub(crate) fn local(self) -> Self {
        Self { limit: LOCAL_TIMEOUT, ..self }
    }

    /// With so many bytes at most in the answer's body.
    pub(crate) fn limit_bytes(self, limit_bytes: usize) -> Self {
        Self { limit_bytes, ..self }
    }
}

impl Http {
    /// Asks, and wants 200.
    ///
    /// # Errors
    /// The address is none, or there was no answer of 200 within the bounds.
    pub(crate) async fn send(&self, ask: Ask<'_>) -> Result<Answer, FetchError> {
        let uri: Uri = ask.url.parse().map_err(|_| FetchError::Address {
            from: "the address of a service",
            what: "it cannot be read",
        })?;
        let host: Box<str> = uri.authority().map_or("", |of| of.as_str()).into();
        let mut request = Request::new(Full::new(ask.body));
        (*request.method_mut(), *request.uri_mut()) = (ask.method, uri);
        let agent = HeaderValue::from_static(concat!("penstock/", env!("CARGO_PKG_VERSION")));
        request.headers_mut().insert(USER_AGENT, agent);
        request.headers_mut().insert(ACCEPT, HeaderValue::from_static("*/*"));
        request.headers_mut().extend(ask.headers);
        let answered = tokio::time::timeout(ask.limit, self.exchange(&host, request, ask.limit_bytes)).await;
        let timed_out = |_| FetchError::TimedOut { host: host.clone(), limit: ask.limit };
        let (status, body) = answered.map_err(timed_out)??;
        if status == StatusCode::OK {
            return Ok(Answer { host, body });
        }
        let code = error_code(&body);
        Err(FetchError::Refused { host, status, code })
    }

    async fn exchange(
        &self,
        host: &str,
        request: Request<Full<Bytes>>,
        limit_bytes: usize,
    ) -> Result<(StatusCode, Bytes), FetchError> {
        let unreachable = |error: &dyn std::error::Error| FetchError::Unreachable {
            host: host.into(),
            cause: root_cause(error).into(),
        };
        let client = self.0.get_or_init(client);
        let response = client.request(request).await.map_err(|error| unreachable(&error))?;
        let status = response.status();
        let body = Limited::new(response.into_body(), limit_bytes).collect().await;
        let body = body.map_err(|error| {
            if error.is::<LengthLimitError>() {
                return FetchError::TooLarge { host: host.into(), limit_bytes };
            }
            unreachable(&*error)
        })?;
        Ok((status, body.to_bytes()))
    }
}

impl Answer {
    /// The body, as JSON. What is wrong with it is not told, since it may be a secret.
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T, FetchError> {
        serde_json::from_slice(&self.body).map_err(|_| self.malformed("is not what was asked for"))
    }

    pub(crate) fn malformed(&self, what: &'static str) -> FetchError {
        FetchError::Malformed { host: self.host.clone(), what }
    }
}

fn client() -> Client<HttpsConnector<HttpConnector>, Full<Bytes>> {
    // Names no files, so nothing can be wrong with them.
    let tls = ClientTls::load(&ClientOptions::verified()).expect("no files are named that could be faulty");
    let connector = HttpsConnectorBuilder::new().with_tls_config(tls.config());
    let connector = connector.https_or_http().enable_http1().build();
    Client::builder(TokioExecutor::new())
        .pool_max_idle_per_host(0)
        .retry_canceled_requests(false)
        .http1_max_buf_size(LIMIT_BYTES)
        .build(connector)
}

/// What went wrong in the end: errors of clients name what they were doing, and that is known.
fn root_cause(mut error: &dyn std::error::Error) -> String {
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

/// What a refusal calls its reason: `error` of OAuth's services (a word, or an object of Google's with `status`), `Code`
/// of AWS's in JSON or XML. Nothing else of an answer is shown, and no long or odd text as a code.
fn error_code(body: &[u8]) -> Option<Box<str>> {
    let is_code = |code: &&str| {
        (1..=MAX_CODE_BYTES).contains(&code.len())
            && code.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
    };
    let text = std::str::from_utf8(body).ok()?;
    let found = match serde_json::from_str::<serde_json::Value>(text) {
        Ok(json) => {
            let error = &json["error"];
            let code = error.as_str().or_else(|| error["status"].as_str());
            code.or_else(|| json["code"].as_str()).or_else(|| json["Code"].as_str()).map(str::to_owned)
        }
        Err(_) => crate::xml::element(text, "Code").map(str::to_owned),
    };
    found.as_deref().filter(is_code).map(Into::into)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_refusal_only_a_short_code_is_shown() {
        for (body, code) in [
            (
                r#"{"error": "invalid_client", "error_description": "secret hush is wrong"}"#,
                Some("invalid_client"),
            ),
            (r#"{"error": {"code": 403, "status": "PERMISSION_DENIED"}}"#, Some("PERMISSION_DENIED")),
            (r#"{"Code": "AssumeRoleUnauthorizedAccess"}"#, Some("AssumeRoleUnauthorizedAccess")),
            (
                "<ErrorResponse><Error><Code>InvalidIdentityToken</Code></Error></ErrorResponse>",
                Some("InvalidIdentityToken"),
            ),
            (r#"{"error": "the secret hush is wrong"}"#, None),
            ("<Code>a b</Code>", None),
            ("hush", None),
            ("", None),
        ] {
            assert_eq!(error_code(body.as_bytes()).as_deref(), code, "{body}");
        }
        assert_eq!(error_code(format!("{{\"error\": \"{}\"}}", "a".repeat(65)).as_bytes()), None);
    }
}
