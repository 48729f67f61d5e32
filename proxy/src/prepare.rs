//! The prepare phase: makes what an upstream is sent. The only place that does, for attempts and for mirrors, and once an
//! attempt: each may have another upstream, with another path, dialect and credential.

use std::borrow::Cow;
use std::ops::Range;

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use penstock_config::{Encoding, HeaderEdits, Rewrite, Rule, Target, Untranslatable};
use penstock_peek::{MemberEdits, UsageAsked};
use penstock_picker::orca;
use penstock_wire::{BodyFraming, Outgoing};

use crate::client::Client;
use crate::codec::{About, CodecError, Decoder, Draft};
use crate::context::Arrived;
use crate::credential::{self, Credential};
use crate::error::Error;
use crate::head::{self, HOPS};
use crate::hop;
use crate::provider;
use crate::request_id;
use crate::text::{self, clip};
use crate::upstreams::{Chosen, Upstream, UpstreamKind};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Headers that upstreams are usually sent beside the client's.
const ADDED_HEADERS: usize = 6;

/// The longest list of members that were left out, in bytes.
const MAX_DROPPED_BYTES: usize = 1024;

/// Who is sent the request, and by what part of the configuration.
#[derive(Clone, Copy)]
pub(crate) struct Recipient<'a> {
    /// The rule that matched.
    pub(crate) rule: &'a Rule,
    /// Length of the path prefix that matched.
    pub(crate) prefix_length: Option<usize>,
    /// The rule's target; a mirror has none.
    pub(crate) target: Option<&'a Target>,
    /// The pool or backend.
    pub(crate) upstream: &'a Upstream,
    /// The endpoint.
    pub(crate) endpoint: &'a Chosen,
    /// What the model is called there, where it differs from what the client asked for.
    pub(crate) model: Option<&'a str>,
    /// A secret that the rule's requests are sent with.
    pub(crate) credential: Option<&'a Credential>,
    /// Changes to members of the body.
    pub(crate) body_edits: Option<&'a MemberEdits>,
    /// Whether streams have to report the tokens that they took: the rule says so, or a limit counts them.
    pub(crate) asks_for_usage: bool,
}

/// What is sent.
pub(crate) struct Prepared {
    /// The head.
    pub(crate) outgoing: Outgoing,
    /// What is here of the body.
    pub(crate) body: Vec<Bytes>,
    /// Translates the response, where the upstream speaks another dialect.
    pub(crate) decoder: Option<Box<dyn Decoder>>,
    /// Members of the request that were left out, as a header tells the client.
    pub(crate) dropped: Option<HeaderValue>,
    /// Whether the request asks for a stream's usage for the gateway alone.
    pub(crate) hides_usage: bool,
}

/// Makes the request that `to` is sent.
///
/// # Errors
/// The request cannot be put as the configuration wants it: a `Connection` header that would take away what must arrive,
/// a model that cannot be renamed, a body that the upstream's dialect has no words for.
pub(crate) fn prepare(client: &Client<'_>, arrived: &Arrived, to: Recipient<'_>) -> Result<Prepared, Error> {
    let (body, is_decoded) = body_for(arrived, to)?;
    let mut headers = hop::copy(&client.head().headers, ADDED_HEADERS)?;
    if is_decoded {
        headers.remove(header::CONTENT_ENCODING);
    }
    // A response that is compressed cannot be read in passing.
    let is_read = to.upstream.response_encoding == Encoding::Identity || to.asks_for_usage;
    if is_read && headers.contains_key(header::ACCEPT_ENCODING) {
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    }
    set_host(&mut headers, arrived, to)?;
    set_own_headers(&mut headers, arrived, to);
    let target = rewritten_path(arrived, to)?;
    // Before the edits, which may put back what a target is to see all the same.
    match (&to.upstream.codec, &to.upstream.credential) {
        (Some(codec), _) if codec.translates(target.path()) => credential::take_clients(&mut headers),
        (_, Some(credential)) => credential.replace_clients(&mut headers),
        _ => {}
    }
    for name in &to.rule.client_credentials {
        headers.remove(name);
    }
    for edits in edits(to) {
        edits.apply(&mut headers);
    }
    if let Some(credential) = to.credential {
        send_with(credential, to.rule, &mut headers)?;
    }
    let mut draft =
        Draft { method: arrived.target.method.clone(), target, headers, body, dropped: Vec::new() };
    let decoder = match &to.upstream.codec {
        None => None,
        Some(codec) => codec.encode(&mut draft, about(arrived, to))?,
    };
    let hides_usage =
        decoder.is_none() && to.target.is_some() && ask_for_usage(&mut draft, arrived, to.asks_for_usage)?;
    edit_body(&mut draft, arrived, to)?;
    let dropped = dropped(&draft.dropped, to.rule.untranslatable)?;
    let Draft { method, target, mut headers, body, .. } = draft;
    let framing = set_framing(&mut headers, arrived.body.is_complete(), &body);
    let mut outgoing = Outgoing { method, target, headers, framing };
    if let Some(credential) = &to.upstream.credential {
        credential.apply(&mut outgoing, &client.head().headers, &body)?;
    }
    Ok(Prepared { outgoing, body, decoder, dropped, hides_usage })
}

/// Adds the secret of a rule, unless the request has something in its header that is to stay.
fn send_with(credential: &Credential, rule: &Rule, headers: &mut HeaderMap) -> Result<(), Error> {
    let (name, value) = credential.header().ok_or(Error::NoCredential)?;
    let overwrites = rule.credential.as_ref().is_some_and(|of| of.overwrites);
    if overwrites || !headers.contains_key(&name) {
        headers.insert(name, value);
    }
    Ok(())
}

fn about<'a>(arrived: &'a Arrived, to: Recipient<'a>) -> About<'a> {
    let asked_model = arrived.model();
    About {
        request_id: arrived.request_id.as_str(),
        asked_model,
        model: to.model.or(asked_model),
        has_credential: to.upstream.credential.is_some(),
    }
}

/// Makes a stream report the tokens that it took, where that `is_wanted`, and returns whether the client did not want it.
///
/// # Errors
/// The body is one that cannot be changed.
fn ask_for_usage(draft: &mut Draft, arrived: &Arrived, is_wanted: bool) -> Result<bool, Error> {
    let streams = || arrived.peeked.as_ref().is_some_and(|peeked| peeked.stream == Some(true));
    if !is_wanted || !streams() || !provider::streams_usage(draft.target.path()) {
        return Ok(false);
    }
    let UsageAsked::Added(body) = penstock_peek::ask_for_usage(&draft.body, max_depth(arrived))? else {
        return Ok(false);
    };
    draft.body = body;
    // A response that is compressed cannot be read in passing.
    draft.headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    Ok(true)
}

/// Changes members of the body as the target says: last of all, so that what it says is what is sent.
///
/// # Errors
/// The body is one that cannot be changed.
fn edit_body(draft: &mut Draft, arrived: &Arrived, to: Recipient<'_>) -> Result<(), Error> {
    if let Some(edits) = to.body_edits
        && let Some(body) = edits.apply(&draft.body, max_depth(arrived))?
    {
        draft.body = body;
    }
    Ok(())
}

/// How deeply a body may be nested.
fn max_depth(arrived: &Arrived) -> usize {
    arrived.runtime().peek_options().max_depth
}

/// What the client is told of members that were left out.
///
/// # Errors
/// The rule wants such a request refused.
fn dropped(
    names: &[Cow<'static, str>],
    untranslatable: Untranslatable,
) -> Result<Option<HeaderValue>, Error> {
    if names.is_empty() {
        return Ok(None);
    }
    let names = names.join(", ");
    if untranslatable == Untranslatable::Refuse {
        return Err(CodecError::Request(format!("it has no place for {names}")).into());
    }
    // Some names are the client's own.
    let is_plain = |character: &char| matches!(character, ' '..='~');
    let names = clip(&names, MAX_DROPPED_BYTES);
    if names.chars().all(|character| is_plain(&character)) {
        return Ok(HeaderValue::from_str(names).ok());
    }
    let names: String =
        names.chars().map(|character| if is_plain(&character) { character } else { '?' }).collect();
    Ok(HeaderValue::from_str(&names).ok())
}

/// The body for an upstream: as it came, unless the upstream knows the model by another name or wants it decoded. One that
/// names no model keeps it so: there is nothing to replace, and what its absence means is the model server's to say. And
/// whether it was decoded.
fn body_for(arrived: &Arrived, to: Recipient<'_>) -> Result<(Vec<Bytes>, bool), Error> {
    let body = &arrived.body;
    if let Some(header) = billing_header(arrived, to) {
        return without_billing_header(arrived, to, header);
    }
    let named = arrived.peeked.as_ref().and_then(|peeked| peeked.model.as_ref());
    if let (Some(named), Some(name)) = (named, to.model)
        && named.name != name
    {
        let replaced = penstock_peek::replacement(name, named.notation)
            .and_then(|with| penstock_peek::splice(body.plain(), named.range.clone(), with));
        return Ok((replaced.map_err(Error::internal)?.chunks, body.is_decoded()));
    }
    let passes = !body.is_decoded()
        || to.upstream.request_encoding == Encoding::Any && to.upstream.codec.is_none() && !changes_body(to);
    let chunks = if passes { body.chunks() } else { body.plain() };
    Ok((chunks.to_vec(), !passes))
}

/// Where the text of Claude Code's billing header is in a body that goes to a pool: it is another with each request, so that
/// no engine would find the prompt in its cache.
fn billing_header(arrived: &Arrived, to: Recipient<'_>) -> Option<Range<usize>> {
    let header = arrived.peeked.as_ref()?.billing_header.as_ref()?;
    (to.upstream.kind == UpstreamKind::Pool).then(|| header.clone())
}

/// The body without that text, and with the upstream's name of the model.
fn without_billing_header(
    arrived: &Arrived,
    to: Recipient<'_>,
    header: Range<usize>,
) -> Result<(Vec<Bytes>, bool), Error> {
    let named = arrived.peeked.as_ref().and_then(|peeked| peeked.model.as_ref());
    let mut cuts = vec![(header, Bytes::new())];
    if let (Some(named), Some(name)) = (named, to.model)
        && named.name != name
    {
        let replacement = penstock_peek::replacement(name, named.notation).map_err(Error::internal)?;
        cuts.push((named.range.clone(), replacement));
    }
    // From the end on, so that the places before stay where they are.
    cuts.sort_by_key(|(range, _)| std::cmp::Reverse(range.start));
    let mut chunks = arrived.body.plain().to_vec();
    for (range, with) in cuts {
        chunks = penstock_peek::splice(&chunks, range, with).map_err(Error::internal)?.chunks;
    }
    Ok((chunks, arrived.body.is_decoded()))
}

/// Whether members of the body may be changed on its way.
fn changes_body(to: Recipient<'_>) -> bool {
    to.body_edits.is_some() || to.target.is_some() && to.asks_for_usage
}

/// Changes to headers; what the target asks for comes after what the rule does.
fn edits(to: Recipient<'_>) -> impl Iterator<Item = &HeaderEdits> {
    std::iter::once(&to.rule.request_headers).chain(to.target.map(|target| &target.request_headers))
}

/// Changes to host and path; what the target sets takes the place of what the rule sets.
fn rewrites(to: Recipient<'_>) -> impl Iterator<Item = &Rewrite> {
    to.target.and_then(|target| target.rewrite.as_ref()).into_iter().chain(&to.rule.rewrite)
}

/// The path that an upstream is to see. An upstream is no proxy: whatever form the client used, it gets the origin form.
///
/// # Errors
/// What the rule makes of the path is none.
pub(crate) fn rewritten_path(arrived: &Arrived, to: Recipient<'_>) -> Result<PathAndQuery, Error> {
    let Some(rewrite) = rewrites(to).find_map(|rewrite| rewrite.path.as_ref()) else {
        return Ok(arrived.target.path_and_query.clone());
    };
    let path = arrived.target.path();
    let path = rewrite.apply(path, path.get(..to.prefix_length.unwrap_or(0)).unwrap_or_default());
    let target = match arrived.target.query() {
        Some(query) => PathAndQuery::try_from(format!("{path}?{query}")),
        None => PathAndQuery::try_from(path),
    };
    target.map_err(Error::internal)
}

fn set_host(headers: &mut HeaderMap, arrived: &Arrived, to: Recipient<'_>) -> Result<(), Error> {
    let named = |rewrite: &Rewrite| {
        let own = rewrite.hostname.clone();
        own.or_else(|| named_host(headers, rewrite.hostname_header.as_ref()?))
    };
    if let Some(host) = rewrites(to).find_map(named) {
        headers.insert(header::HOST, host);
        return Ok(());
    }
    let named = match to.endpoint.authority() {
        Some(authority) => Some(authority),
        None if headers.contains_key(header::HOST) || arrived.target.host.is_empty() => None,
        None => Some(arrived.target.host.as_str()),
    };
    if let Some(host) = named {
        headers.insert(header::HOST, HeaderValue::from_str(host).map_err(Error::internal)?);
    }
    Ok(())
}

/// The host in a header that is there once.
fn named_host(headers: &HeaderMap, name: &HeaderName) -> Option<HeaderValue> {
    let mut lines = headers.get_all(name).iter();
    let (first, None) = (lines.next()?, lines.next()) else { return None };
    (!first.is_empty() && head::is_host(first.as_bytes())).then(|| first.clone())
}

/// A body that is all here is sent with its length, however it came: some model servers read no chunked bodies, and none
/// reads them faster.
fn set_framing(headers: &mut HeaderMap, is_complete: bool, body: &[Bytes]) -> BodyFraming {
    if is_complete {
        let length: usize = body.iter().map(Bytes::len).sum();
        if length > 0 || headers.contains_key(header::CONTENT_LENGTH) {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        }
        return BodyFraming::Whole;
    }
    if headers.contains_key(header::CONTENT_LENGTH) {
        return BodyFraming::Length;
    }
    headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    BodyFraming::Chunked
}

fn set_own_headers(headers: &mut HeaderMap, arrived: &Arrived, to: Recipient<'_>) {
    headers.insert(request_id::HEADER, arrived.request_id.header_value().clone());
    let hops = match arrived.hops {
        0 => HeaderValue::from_static("1"),
        before => HeaderValue::from(before + 1),
    };
    headers.insert(HOPS, hops);
    if to.endpoint.reports_load() {
        let (name, format) = orca::FORMAT_HEADER;
        headers.insert(name, format);
    }
    if let Some(address) = arrived.peer {
        let mut chain = Vec::with_capacity(40);
        // Several lines are one list (RFC 9110 §5.3).
        for before in headers.get_all(&X_FORWARDED_FOR) {
            chain.extend_from_slice(before.as_bytes());
            chain.extend_from_slice(b", ");
        }
        text::ip(address.ip(), &mut chain);
        match HeaderValue::from_maybe_shared(Bytes::from(chain)) {
            Ok(chain) => headers.insert(X_FORWARDED_FOR, chain),
            Err(_) => headers.remove(X_FORWARDED_FOR),
        };
    }
    if arrived.is_proxy_trusted && headers.contains_key(&X_FORWARDED_PROTO) {
        return;
    }
    let is_tls = arrived.runtime().snapshot().listeners[arrived.listener].is_tls();
    let protocol = if is_tls { "https" } else { "http" };
    headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static(protocol));
}
