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

/// A header's value. Bytes beyond ASCII are legal but mean different things to different servers.
pub(super) fn header_value(text: &str) -> Result<HeaderValue, String> {
    HeaderValue::from_str(text)
        .ok()
        .filter(|_| text.is_ascii())
        .ok_or_else(|| format!("{} is not a header's value: use printable ASCII characters", Quoted(text)))
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
    let uri = address.parse::<Uri>().ok().filter(|uri| uri.host().is_some_and(|host| !host.is_empty()));
    let is_sound = |uri: &Uri| {
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.query().is_none()
            && !address.contains(['#', '@'])
            && uri
                .authority()
                .is_some_and(|authority| authority.port().is_some() == has_port(authority.as_str()))
    };
    match uri {
        Some(uri) if is_sound(&uri) => Ok(address),
        _ => Err(format!(
            "{} is not an address: write scheme, host and path, as in \"https://login.example.com/token\"",
            Quoted(text)
        )),
    }
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
