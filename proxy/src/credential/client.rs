//! Credentials that clients bring for an upstream, in headers that the document names.

use http::{HeaderMap, HeaderName, HeaderValue};
use penstock_config::{ClientCredential, ClientHeaders, Shown};
use penstock_credentials::{AwsKeys, Secret};

use crate::error::Error;

/// Whether a request has one of the headers.
pub(super) fn is_brought(of: &ClientCredential, headers: &HeaderMap) -> bool {
    of.headers.names().any(|name| headers.contains_key(name))
}

/// What a request brings; `None` where the gateway's own stands in.
///
/// # Errors
/// It brings nothing and has to, only a part, or what is no credential.
pub(super) fn brought(
    of: &ClientCredential,
    shown: &Shown,
    headers: &HeaderMap,
) -> Result<Option<Secret>, Error> {
    if !is_brought(of, headers) {
        return if of.falls_back { Ok(None) } else { Err(missing(&of.headers)) };
    }
    let secret = match &of.headers {
        ClientHeaders::Key(name) => {
            let prefix = match shown {
                Shown::Header { prefix, .. } => prefix,
                Shown::Aws { .. } => "",
            };
            value(name, headers)?.and_then(|value| Secret::header(prefix, value))
        }
        ClientHeaders::Aws { access_key_id, secret_access_key, session_token } => {
            let id = value(access_key_id, headers)?;
            let secret = value(secret_access_key, headers)?;
            let token = value(session_token, headers)?;
            id.zip(secret).and_then(|(id, secret)| AwsKeys::new(id, secret, token)).map(Secret::Aws)
        }
    };
    secret.map(Some).ok_or_else(|| missing(&of.headers))
}

/// The only value of a header.
fn value<'a>(name: &HeaderName, headers: &'a HeaderMap) -> Result<Option<&'a str>, Error> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let value = HeaderValue::to_str(value).ok().map(str::trim).filter(|value| !value.is_empty());
    match (value, values.next()) {
        (Some(value), None) => Ok(Some(value)),
        _ => Err(Error::ClientCredential(format!("the header {name} has to have one credential").into())),
    }
}

fn missing(headers: &ClientHeaders) -> Error {
    let message = match headers {
        ClientHeaders::Key(name) => format!("send a key for this model in the header {name}"),
        ClientHeaders::Aws { access_key_id, secret_access_key, session_token } => format!(
            "send keys of AWS for this model in the headers {access_key_id} and {secret_access_key}, and {session_token} \
             if they are of a session"
        ),
    };
    Error::ClientCredential(message.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(falls_back: bool) -> ClientCredential {
        let headers = ClientHeaders::Key(HeaderName::from_static("x-aigw-api-key"));
        ClientCredential { headers, falls_back }
    }

    fn aws(falls_back: bool) -> ClientCredential {
        let headers = ClientHeaders::Aws {
            access_key_id: HeaderName::from_static("x-id"),
            secret_access_key: HeaderName::from_static("x-secret"),
            session_token: HeaderName::from_static("x-token"),
        };
        ClientCredential { headers, falls_back }
    }

    fn headers(of: &[(&'static str, &'static str)]) -> HeaderMap {
        let pairs =
            of.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(name, value);
        }
        map
    }

    #[test]
    fn what_a_client_brings_is_shown_as_the_gateways_own_would_be() {
        let shown = Shown::Header { name: http::header::AUTHORIZATION, prefix: "Bearer ".into() };
        let asked = headers(&[("x-aigw-api-key", " mine "), ("authorization", "Bearer gateway")]);
        let Some(Secret::Header(value)) = brought(&key(false), &shown, &asked).unwrap() else { panic!() };
        assert_eq!(value, "Bearer mine");
        assert!(value.is_sensitive());

        let shown = Shown::Aws { region: "r".into() };
        let asked = headers(&[("x-id", "AKIA"), ("x-secret", "s")]);
        let Some(Secret::Aws(keys)) = brought(&aws(true), &shown, &asked).unwrap() else { panic!() };
        assert_eq!(Some(keys), AwsKeys::new("AKIA", "s", None));
        let asked = headers(&[("x-id", "AKIA"), ("x-secret", "s"), ("x-token", "t")]);
        let Some(Secret::Aws(keys)) = brought(&aws(true), &shown, &asked).unwrap() else { panic!() };
        assert_eq!(Some(keys), AwsKeys::new("AKIA", "s", Some("t")));
    }

    #[test]
    fn nothing_falls_back_where_it_may_and_a_part_never_does() {
        let shown = Shown::Aws { region: "r".into() };
        assert!(brought(&aws(true), &shown, &headers(&[])).unwrap().is_none());
        for (of, asked) in [
            (aws(false), &[][..]),
            (aws(true), &[("x-id", "AKIA")][..]),
            (aws(true), &[("x-secret", "hush")]),
            (aws(true), &[("x-token", "hush")]),
            (aws(true), &[("x-id", "a b"), ("x-secret", "hush")]),
            (aws(true), &[("x-id", "AKIA"), ("x-secret", "")]),
            (key(false), &[]),
            (key(true), &[("x-aigw-api-key", "hush"), ("x-aigw-api-key", "hush")]),
            (key(true), &[("x-aigw-api-key", " ")]),
        ] {
            let error = brought(&of, &shown, &headers(asked)).expect_err("refused");
            assert_eq!(error.row().status, 401, "{asked:?}");
            assert!(!error.to_string().contains("hush"), "{error}");
        }
    }
}
