//! What a server that decides changes of requests and of their responses, and what it may not.

use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use penstock_policies::remove_query;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use pingora_http::{RequestHeader, ResponseHeader};

use crate::error::Error;
use crate::head;
use crate::hop::is_hop_by_hop;
use crate::policy::edits;

/// What does not stand for itself in a query.
const IN_QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// What a server that lets a request pass wants changed.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    /// Headers that upstreams do not get.
    pub(super) remove: Vec<HeaderName>,
    /// Headers that upstreams get, in this order.
    pub(super) set: Vec<HeaderChange>,
    /// Parameters of the query that upstreams do not get.
    pub(super) remove_query: Vec<String>,
    /// Parameters of the query that upstreams get.
    pub(super) set_query: Vec<(String, String)>,
    /// Headers of the response.
    pub(super) response: Vec<HeaderChange>,
}

/// A header that is set.
#[derive(Debug, Clone)]
pub(crate) struct HeaderChange {
    pub(super) name: HeaderName,
    pub(super) value: HeaderValue,
    pub(super) how: How,
}

/// How a header is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    /// In place of those of its name.
    Set,
    /// Beside those of its name.
    Append,
    /// If there is none of its name.
    IfAbsent,
    /// If there is one of its name.
    IfPresent,
}

/// What servers want changed of the response to a request, kept until it comes.
#[derive(Debug, Clone, Default)]
pub(crate) struct ResponseChanges(Vec<HeaderChange>);

impl Changes {
    /// Changes a request. `listed` are headers that only the server sets.
    ///
    /// # Errors
    /// The client names a header in `Connection` that is set, which would take it away; or the query is none.
    pub(super) fn apply(
        &self,
        listed: &[HeaderName],
        head: &mut RequestHeader,
        target: &mut PathAndQuery,
    ) -> Result<(), Error> {
        edits::reserve(listed.iter(), head)?;
        for name in &self.remove {
            head.remove_header(name);
        }
        for change in &self.set {
            edits::check_arrives(&change.name, head)?;
            let (name, value) = (change.name.clone(), change.value.clone());
            let set = match change.how {
                _ if !change.applies(&head.headers) => continue,
                How::Append => head.append_header(name, value).map(drop),
                How::Set | How::IfAbsent | How::IfPresent => head.insert_header(name, value),
            };
            set.map_err(Error::internal)?;
        }
        if self.remove_query.is_empty() && self.set_query.is_empty() {
            return Ok(());
        }
        edits::set_query(&self.query(target.query().unwrap_or_default()), target, head)
    }

    fn query(&self, query: &str) -> String {
        let mut query = query.to_owned();
        let replaced = self.set_query.iter().map(|(name, _)| name);
        for name in self.remove_query.iter().chain(replaced) {
            query = remove_query(&query, name);
        }
        for (name, value) in &self.set_query {
            if !query.is_empty() {
                query.push('&');
            }
            query.extend(utf8_percent_encode(name, IN_QUERY));
            query.push('=');
            query.extend(utf8_percent_encode(value, IN_QUERY));
        }
        query
    }
}

impl HeaderChange {
    fn applies(&self, headers: &HeaderMap) -> bool {
        match self.how {
            How::Set | How::Append => true,
            How::IfAbsent => !headers.contains_key(&self.name),
            How::IfPresent => headers.contains_key(&self.name),
        }
    }
}

impl ResponseChanges {
    /// Adds what another server wants.
    pub(super) fn add(&mut self, changes: Vec<HeaderChange>) {
        self.0.extend(changes);
    }

    /// Changes the head of a response.
    ///
    /// # Errors
    /// It has no room for more headers.
    pub(crate) fn apply(&self, header: &mut ResponseHeader) -> Result<(), Error> {
        for change in &self.0 {
            let (name, value) = (change.name.clone(), change.value.clone());
            let set = match change.how {
                _ if !change.applies(&header.headers) => continue,
                How::Append => header.append_header(name, value).map(drop),
                How::Set | How::IfAbsent | How::IfPresent => header.insert_header(name, value),
            };
            set.map_err(Error::internal)?;
        }
        Ok(())
    }
}

/// Whether a server that decides may change this header of a request: not where the request goes, how it is framed, or what
/// only the gateway says.
pub(super) fn may_change_request(name: &HeaderName) -> bool {
    let of_origin = ["x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"];
    may_change_response(name) && !of_origin.contains(&name.as_str()) && *name != header::EXPECT
}

/// Whether a server that decides may say this header to a client.
pub(super) fn may_change_response(name: &HeaderName) -> bool {
    !is_hop_by_hop(name)
        && !head::is_own(name.as_str())
        && *name != header::HOST
        && *name != header::CONTENT_LENGTH
}

#[cfg(test)]
mod tests {
    use http::{Method, Uri};

    use super::*;

    fn change(name: &'static str, value: &'static str, how: How) -> HeaderChange {
        HeaderChange { name: HeaderName::from_static(name), value: HeaderValue::from_static(value), how }
    }

    fn request(uri: &'static str, headers: &[(&'static str, &'static str)]) -> (RequestHeader, PathAndQuery) {
        let mut head = RequestHeader::build(Method::POST, b"/", None).unwrap();
        head.set_uri(Uri::from_static(uri));
        for (name, value) in headers {
            head.append_header(*name, *value).unwrap();
        }
        let target = head.uri.path_and_query().unwrap().clone();
        (head, target)
    }

    #[test]
    fn headers_are_set_in_each_of_the_ways_that_the_protocol_has() {
        let (mut head, mut target) = request(
            "/",
            &[("x-set", "client"), ("x-append", "client"), ("x-present", "client"), ("x-gone", "1")],
        );
        let changes = Changes {
            remove: vec![HeaderName::from_static("x-gone")],
            set: vec![
                change("x-set", "server", How::Set),
                change("x-append", "server", How::Append),
                change("x-present", "server", How::IfPresent),
                change("x-absent", "server", How::IfAbsent),
                change("x-set", "late", How::IfAbsent),
                change("x-never", "server", How::IfPresent),
            ],
            ..Changes::default()
        };
        changes.apply(&[], &mut head, &mut target).unwrap();
        let all = |name: &str| -> Vec<&str> {
            head.headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect()
        };
        assert_eq!((all("x-set"), all("x-append")), (vec!["server"], vec!["client", "server"]));
        assert_eq!((all("x-present"), all("x-absent")), (vec!["server"], vec!["server"]));
        assert_eq!((all("x-never"), all("x-gone")), (vec![], vec![]));
    }

    #[test]
    fn what_only_the_server_sets_is_gone_even_where_it_sets_nothing() {
        let listed = [HeaderName::from_static("x-user")];
        let (mut head, mut target) =
            request("/", &[("x-user", "admin"), ("x-user", "root"), ("x-other", "o")]);
        Changes::default().apply(&listed, &mut head, &mut target).unwrap();
        assert_eq!(head.headers.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["x-other"]);
        // Named in Connection, it would be taken away on the way to the upstream.
        for set in [vec![], vec![change("x-user", "ann", How::Set)]] {
            let listed = if set.is_empty() { &listed[..] } else { &[] };
            let (mut head, mut target) = request("/", &[("connection", "close, X-User")]);
            let changes = Changes { set, ..Changes::default() };
            assert!(changes.apply(listed, &mut head, &mut target).is_err());
        }
    }

    #[test]
    fn parameters_are_encoded_and_replace_those_of_their_name_however_written() {
        let changes = Changes {
            remove_query: vec!["token".to_owned()],
            set_query: vec![("user".to_owned(), "a&b=c d/é".to_owned())],
            ..Changes::default()
        };
        for (uri, left) in [
            ("/v1/x?us%65r=admin&token=t&a=1", "/v1/x?a=1&user=a%26b%3Dc%20d%2F%C3%A9"),
            ("/v1/x", "/v1/x?user=a%26b%3Dc%20d%2F%C3%A9"),
        ] {
            let (mut head, mut target) = request(uri, &[]);
            changes.apply(&[], &mut head, &mut target).unwrap();
            assert_eq!((target.as_str(), head.uri.path_and_query().unwrap().as_str()), (left, left));
        }
    }

    #[test]
    fn framing_origin_and_what_the_gateway_says_are_not_the_servers() {
        for name in [
            "host",
            "content-length",
            "transfer-encoding",
            "connection",
            "te",
            "upgrade",
            "x-ai-eg-model",
            "x-gateway-model-name",
            "x-gateway-destination-endpoint",
            "x-penstock-dropped",
            "x-forwarded-for",
        ] {
            assert!(!may_change_request(&HeaderName::from_static(name)), "{name}");
        }
        for name in ["authorization", "x-user", "cookie", "content-type"] {
            assert!(may_change_request(&HeaderName::from_static(name)), "{name}");
        }
    }
}
