//! Checks of single texts. Each says what is wrong, for a fault's message.

use std::net::IpAddr;
use std::time::UNIX_EPOCH;

use http::{HeaderName, HeaderValue, Uri};

use crate::report::Quoted;
use crate::spec::HostPattern;

/// Headers that frame a message or belong to one connection: changing them would break it, or smuggle another.
const UNTOUCHABLE: &[&str] = &[
    "connection",
    "content-length",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Headers that say how a body is to be read.
const OF_BODY: &[&str] = &["content-encoding", "content-type", "expect"];

/// Headers that the gateway makes out itself; what clients send as such is removed.
const OWN: &[&str] = &["x-ai-eg-model", "x-gateway-model-name"];

/// Families of such headers.
const OWN_PREFIXES: &[&str] = &["x-penstock-", "x-gateway-destination-endpoint"];

/// Headers by which the gateway says where a request comes from, and which request it is.
const OF_ORIGIN: &[&str] = &[
    "forwarded",
    "x-envoy-external-address",
    "x-forwarded-client-cert",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-proto",
    "x-real-ip",
    "x-request-id",
];

/// A name of ours: what Kubernetes allows for most objects (RFC 1123 subdomain).
pub(super) fn name(text: &str) -> Result<(), String> {
    let is_inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.';
    let is_outer = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = text.as_bytes();
    let is_sound = bytes.iter().copied().all(is_inner)
        && bytes.first().copied().is_some_and(is_outer)
        && bytes.last().copied().is_some_and(is_outer);
    if is_sound {
        return Ok(());
    }
    Err(format!(
        "{} is not a name: use lower case letters, digits, `-` and `.`, with a letter or digit at both ends",
        Quoted(text)
    ))
}

/// A hostname that routes and listeners match by.
pub(super) fn host_pattern(text: &str) -> Result<HostPattern, String> {
    let lower = text.to_ascii_lowercase();
    if let Some(suffix) = lower.strip_prefix("*.") {
        dns_name(suffix)?;
        return Ok(HostPattern::Wildcard(suffix.into()));
    }
    if lower.contains('*') {
        return Err(format!(
            "{}: a wildcard must be the whole leftmost label, as in \"*.example.com\"",
            Quoted(text)
        ));
    }
    dns_name(&lower)?;
    Ok(HostPattern::Exact(lower.into()))
}

/// A DNS name. Underscores are let through, since names of services have them.
pub(super) fn dns_name(text: &str) -> Result<(), String> {
    const MAX_LABEL: usize = 63;
    let is_label = |label: &str| {
        !label.is_empty()
            && label.len() <= MAX_LABEL
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    if text.contains(':') {
        return Err(format!("{} is not a hostname: leave out scheme and port", Quoted(text)));
    }
    if text.parse::<IpAddr>().is_ok() {
        return Err(format!("{} is an IP address; a hostname is wanted", Quoted(text)));
    }
    if text.split('.').all(is_label) { Ok(()) } else { Err(format!("{} is not a hostname", Quoted(text))) }
}

/// An absolute path in the form in which requests are compared: nothing that another hop would resolve or decode to
/// another path.
pub(super) fn path(text: &str) -> Result<(), String> {
    if !text.starts_with('/') {
        return Err(format!("{} must start with /", Quoted(text)));
    }
    if let Some(bad) =
        text.chars().find(|c| !c.is_ascii_graphic() || matches!(c, '?' | '#' | '"' | '<' | '>' | '\\'))
    {
        return Err(format!("{} must not contain {bad:?}: percent-encode it", Quoted(text)));
    }
    if text.contains("//") {
        return Err(format!("{} must not contain //", Quoted(text)));
    }
    if text.split('/').any(|segment| matches!(segment, "." | "..")) {
        return Err(format!("{} must not contain the segments . and ..", Quoted(text)));
    }
    if text.to_ascii_lowercase().contains("%2f") {
        return Err(format!("{} must not contain an encoded slash", Quoted(text)));
    }
    Ok(())
}

/// A header's name.
pub(super) fn header_name(text: &str) -> Result<HeaderName, String> {
    HeaderName::from_bytes(text.as_bytes())
        .map_err(|_| format!("{} is not a header's name: use letters, digits and `-`", Quoted(text)))
}

/// The name of a header that a rule may change.
pub(super) fn editable_header_name(text: &str) -> Result<HeaderName, String> {
    let name = header_name(text)?;
    match name.as_str() {
        "host" => Err("the header host cannot be changed here: use urlRewrite.hostname".to_owned()),
        fixed if UNTOUCHABLE.contains(&fixed) => {
            Err(format!("the header {fixed} cannot be changed: it frames the message"))
        }
        _ => Ok(name),
    }
}

/// The name of a header in which clients show a credential.
pub(super) fn shown_header_name(text: &str) -> Result<HeaderName, String> {
    let name = asked_header_name(text)?;
    match name.as_str() {
        "cookie" => Err("the header cookie has many: name one with `cookie`".to_owned()),
        fixed if UNTOUCHABLE.contains(&fixed) || OF_BODY.contains(&fixed) => {
            Err(format!("the header {fixed} carries no credential: it frames the message"))
        }
        _ => Ok(name),
    }
}

/// The name of a header in which the gateway tells upstreams something, and which clients cannot send then.
pub(super) fn told_header_name(text: &str) -> Result<HeaderName, String> {
    let name = header_name(text)?;
    match name.as_str() {
        fixed if UNTOUCHABLE.contains(&fixed) || OF_BODY.contains(&fixed) => {
            Err(format!("the header {fixed} cannot be set here: it frames the message"))
        }
        own if is_own(own) || OF_ORIGIN.contains(&own) => {
            Err(format!("the header {own} cannot be set here: the gateway says something else in it"))
        }
        _ => Ok(name),
    }
}

/// The name of a header that clients can send.
pub(super) fn asked_header_name(text: &str) -> Result<HeaderName, String> {
    let name = header_name(text)?;
    if is_own(name.as_str()) {
        return Err(format!("the header {name} is the gateway's own: it takes it out of what clients send"));
    }
    Ok(name)
}

fn is_own(name: &str) -> bool {
    OWN.contains(&name) || OWN_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// A cookie's name (RFC 6265, 4.1.1). It has the letters that headers' names have.
pub(super) fn cookie_name(text: &str) -> Result<(), String> {
    header_name(text)
        .map(drop)
        .map_err(|_| format!("{} is not a cookie's name: use letters, digits, `-` and `_`", Quoted(text)))
}

/// A header's value. Bytes beyond ASCII are legal but mean different things to different servers.
pub(super) fn header_value(text: &str) -> Result<HeaderValue, String> {
    HeaderValue::from_str(text)
        .ok()
        .filter(|_| text.is_ascii())
        .ok_or_else(|| format!("{} is not a header's value: use printable ASCII characters", Quoted(text)))
}

/// What others call somebody or something: any text that can stand in a log line and, at its ends, in a header.
pub(super) fn label(text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Err("is empty: give it some letters".to_owned());
    }
    if let Some(bad) = text.chars().find(|c| c.is_control()) {
        return Err(format!("{} must not contain {bad:?}", Quoted(text)));
    }
    if text.trim() != text {
        return Err(format!("{} must not begin or end with white space", Quoted(text)));
    }
    Ok(())
}

/// A scope of a token (RFC 6749, 3.3).
pub(super) fn scope(text: &str) -> Result<(), String> {
    if text.is_empty() || text.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err("is not a scope: a list has one to an item, without spaces".to_owned());
    }
    Ok(())
}

/// The name of a model that requests ask for.
pub(super) fn named_model(text: &str) -> Result<(), String> {
    if text.is_empty() { Err("is empty: name a model".to_owned()) } else { model(text) }
}

/// The name of a model: any text that can stand in a log line.
pub(super) fn model(text: &str) -> Result<(), String> {
    match text.chars().find(|c| c.is_control()) {
        Some(bad) => Err(format!("{} is not a model's name: it contains {bad:?}", Quoted(text))),
        None => Ok(()),
    }
}

/// A region, a project or a version: what stands in hosts, paths and queries of hosted APIs.
pub(super) fn region(text: &str) -> Result<(), String> {
    let is_sound = text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b':'));
    if is_sound && !text.is_empty() && !text.contains("..") {
        return Ok(());
    }
    Err(format!("{} is not one: use letters, digits, `-`, `_`, `.` and `:`", Quoted(text)))
}

/// A region of AWS, which becomes part of a host's name.
pub(super) fn aws_region(text: &str) -> Result<(), String> {
    let is_sound = text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if is_sound && !text.is_empty() {
        return Ok(());
    }
    Err(format!("{} is not a region: write it as \"eu-central-1\"", Quoted(text)))
}

/// The address of a service by HTTP, without a slash at its end. Passwords have no place in it: the document is shown.
pub(super) fn service_address(text: &str) -> Result<&str, String> {
    let address = text.trim_end_matches('/');
    match http_uri(address) {
        Some(uri) if uri.query().is_none() && !address.contains('@') => Ok(address),
        _ => Err(format!(
            "{} is not an address: write scheme, host and path, as in \"https://login.example.com/token\"",
            Quoted(text)
        )),
    }
}

/// The address of what is fetched by HTTP as it is written, with its query if it has one. No message has a text of it that
/// has passwords.
pub(super) fn fetched_address(text: &str) -> Result<(), String> {
    let authority = text.split_once("://").map_or(text, |(_, rest)| rest);
    if authority.split(['/', '?', '#']).next().is_some_and(|authority| authority.contains('@')) {
        return Err(
            "has a user's name before its host, which has no place in a document: leave it out".to_owned()
        );
    }
    http_uri(text).map(drop).ok_or_else(|| {
        format!(
            "{} is not an address: write scheme, host and path, as in \"https://login.example.com/keys\"",
            Quoted(text)
        )
    })
}

/// An address of `http` or `https` with a host, and without a fragment, which the parser would drop.
fn http_uri(text: &str) -> Option<Uri> {
    let uri = text.parse::<Uri>().ok()?;
    let authority = uri.authority()?;
    let is_sound = matches!(uri.scheme_str(), Some("http" | "https"))
        && !authority.host().is_empty()
        && !text.contains('#')
        && authority.port().is_some() == has_port(authority.as_str());
    is_sound.then_some(uri)
}

/// Whether something stands for a port; the parser lets numbers through that are none.
fn has_port(authority: &str) -> bool {
    authority.rsplit_once(':').is_some_and(|(_, port)| !port.contains(']'))
}

/// A time in RFC 3339, as seconds since the Unix epoch.
pub(super) fn unix_time(text: &str) -> Result<u64, String> {
    let since = humantime::parse_rfc3339(text).ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    since
        .map(|since| since.as_secs())
        .ok_or_else(|| "not a time: write it as \"2026-01-31T12:00:00Z\"".to_owned())
}

/// A key of a Secret, as Kubernetes allows it. None leads out of a directory.
pub(super) fn secret_key(text: &str) -> Result<(), String> {
    const MAX_BYTES: usize = 253;
    let is_sound = !text.is_empty()
        && text.len() <= MAX_BYTES
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
        && !text.starts_with("..")
        && text != ".";
    if is_sound {
        return Ok(());
    }
    Err(format!("{} is not a Secret's key: use letters, digits, `-`, `_` and `.`", Quoted(text)))
}

/// Whether a header carries a credential, by its name.
pub(super) fn is_sensitive(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["auth", "cookie", "key", "token", "secret", "password", "credential", "signature"]
        .iter()
        .any(|part| name.contains(part))
}
