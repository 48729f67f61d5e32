//! Signatures of AWS requests (Signature Version 4).
//!
//! They cover the body, so that a request is signed after everything else is done to it, and for each attempt anew.

use std::borrow::Cow;
use std::fmt::Write as _;

use http::header::{AUTHORIZATION, HeaderName, HeaderValue, InvalidHeaderValue};
use percent_encoding::{AsciiSet, utf8_percent_encode};
use ring::{digest, hmac};

use super::paths::RESERVED;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const DATE: HeaderName = HeaderName::from_static("x-amz-date");
const TOKEN: HeaderName = HeaderName::from_static("x-amz-security-token");

/// What a path is encoded by for the signature, once more than on its way.
const PATH: &AsciiSet = &RESERVED.remove(b'/');

/// Who signs.
#[derive(Clone, Copy)]
pub struct Credentials<'a> {
    /// Names the key.
    pub access_key_id: &'a str,
    /// The key.
    pub secret_access_key: &'a str,
    /// Goes with a key that is valid for some time only.
    pub session_token: Option<&'a str>,
}

/// What is signed.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The method.
    pub method: &'a str,
    /// The host that it is sent to, with the port if that is not the scheme's own.
    pub host: &'a str,
    /// The path as it is sent: percent-encoded, without `.` and `..`.
    pub path: &'a str,
    /// The query as it is sent, without the question mark; empty if there is none.
    pub query: &'a str,
    /// Headers to be covered, besides the host and those that a signature adds; names in lower case, each once. None
    /// has to be.
    pub headers: &'a [(&'a str, &'a str)],
    /// The body as it is sent.
    pub body: &'a [u8],
}

/// Where a signature is good, and when.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'a> {
    /// The region, as `eu-central-1`.
    pub region: &'a str,
    /// The service: `bedrock` for all of Bedrock's hosts but `bedrock-mantle`.
    pub service: &'a str,
    /// Now, in seconds since 1970. AWS takes five minutes off.
    pub now: u64,
}

/// The headers to be added to `request` for AWS to know who sends it: date, session token, and the signature itself.
///
/// # Errors
/// A credential has characters that no header has.
pub fn sign(
    request: &Request<'_>,
    scope: &Scope<'_>,
    credentials: &Credentials<'_>,
) -> Result<Vec<(HeaderName, HeaderValue)>, InvalidHeaderValue> {
    let time = timestamp(scope.now);
    let date = &time[..8];
    let (canonical, signed_headers) = canonical_request(request, &time, credentials.session_token);
    let place = format!("{date}/{}/{}/aws4_request", scope.region, scope.service);
    let to_sign = format!("{ALGORITHM}\n{time}\n{place}\n{}", sha256(canonical.as_bytes()));
    let secret = format!("AWS4{}", credentials.secret_access_key);
    let key = [date, scope.region, scope.service, "aws4_request"]
        .iter()
        .fold(hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), |key, part| {
            hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&key, part.as_bytes()).as_ref())
        });
    let signature = hex(hmac::sign(&key, to_sign.as_bytes()).as_ref());
    let mut authorization = HeaderValue::from_str(&format!(
        "{ALGORITHM} Credential={}/{place}, SignedHeaders={signed_headers}, Signature={signature}",
        credentials.access_key_id
    ))?;
    authorization.set_sensitive(true);
    let mut added = vec![(DATE, HeaderValue::from_str(&time)?)];
    if let Some(token) = credentials.session_token {
        let mut token = HeaderValue::from_str(token)?;
        token.set_sensitive(true);
        added.push((TOKEN, token));
    }
    added.push((AUTHORIZATION, authorization));
    Ok(added)
}

/// The form of a request that is signed, and the names of the headers in it.
fn canonical_request(request: &Request<'_>, time: &str, token: Option<&str>) -> (String, String) {
    let mut headers: Vec<(&str, Cow<'_, str>)> =
        request.headers.iter().map(|(name, value)| (*name, collapsed(value))).collect();
    headers.extend([("host", collapsed(request.host)), ("x-amz-date", Cow::Borrowed(time))]);
    headers.extend(token.map(|token| ("x-amz-security-token", collapsed(token))));
    headers.sort();
    let mut query: Vec<_> =
        request.query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, ""))).collect();
    query.sort_unstable();
    let query: Vec<_> = query
        .iter()
        .filter(|(name, value)| !(name.is_empty() && value.is_empty()))
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let path = if request.path.is_empty() { "/" } else { request.path };
    let names: Vec<_> = headers.iter().map(|(name, _)| *name).collect();
    let names = names.join(";");
    let mut canonical =
        format!("{}\n{}\n{}\n", request.method, utf8_percent_encode(path, PATH), query.join("&"));
    for (name, value) in &headers {
        let _ = writeln!(canonical, "{name}:{value}");
    }
    let _ = write!(canonical, "\n{names}\n{}", sha256(request.body));
    (canonical, names)
}

/// A header's value with one space where there are several.
fn collapsed(value: &str) -> Cow<'_, str> {
    let value = value.trim();
    if value.contains("  ") || value.contains(['\t', '\n']) {
        Cow::Owned(value.split_whitespace().collect::<Vec<_>>().join(" "))
    } else {
        Cow::Borrowed(value)
    }
}

/// `now`, in seconds since 1970, as AWS writes it: `20261130T023000Z`.
fn timestamp(now: u64) -> String {
    let (days, seconds) = (now / 86_400, now % 86_400);
    // Howard Hinnant's civil_from_days: years begin in March, so that the leap day is the last.
    let day = days + 719_468;
    let (era, day_of_era) = (day / 146_097, day % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}{month:02}{day_of_month:02}T{hour:02}{minute:02}{second:02}Z")
}

fn sha256(bytes: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests;
