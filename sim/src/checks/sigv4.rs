//! AWS's Signature Version 4, verified: the signature is computed anew from what arrived.

use std::{
    fmt::Write as _,
    time::{Duration, SystemTime},
};

use http::{HeaderMap, request::Parts};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use ring::{digest, hmac};

use super::{Denied, bearer, text};
use crate::{
    credentials::Aws,
    issuing::{Invalid, Kind, Vault, now_s},
};

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
/// By how much clocks may differ.
const SKEW_S: u64 = 300;
/// All but what RFC 3986 calls unreserved.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
const MISMATCH: &str = "The request signature we calculated does not match the signature you provided. Check your AWS Secret \
                        Access Key and signing method. Consult the service documentation for details.";

/// What `Authorization` says.
#[derive(Debug)]
struct Shown<'a> {
    access_key_id: &'a str,
    date: &'a str,
    region: &'a str,
    service: &'a str,
    signed: Vec<&'a str>,
    signature: &'a str,
}

/// Checks a request to Bedrock: its API key, or its signature.
pub(super) fn check(vault: &Vault, aws: &Aws, parts: &Parts, body: &[u8]) -> Result<(), Denied> {
    let Some(authorization) = text(&parts.headers, "authorization") else {
        return Err(Denied::of_aws("MissingAuthenticationTokenException", "Missing Authentication Token"));
    };
    if let Some(key) = bearer(&parts.headers) {
        return if aws.api_keys.iter().any(|known| known == key) {
            Ok(())
        } else {
            let message = "Authentication failed: Please make sure your API Key is valid.";
            Err(Denied::of_aws("AccessDeniedException", message))
        };
    }
    let shown = shown(authorization)?;
    let secret = secret(vault, aws, &parts.headers, shown.access_key_id)?;
    if shown.service != "bedrock" {
        let message = "Credential should be scoped to correct service: 'bedrock'.";
        return Err(Denied::of_aws("InvalidSignatureException", message));
    }
    verify(parts, body, &shown, &secret, now_s())
}

fn shown(authorization: &str) -> Result<Shown<'_>, Denied> {
    let incomplete = |what: &str| {
        let message = format!("Authorization header requires '{what}' parameter.");
        Denied::of_aws("IncompleteSignatureException", message)
    };
    let rest = authorization.strip_prefix(ALGORITHM).ok_or_else(|| incomplete(ALGORITHM))?;
    let find = |name: &'static str| {
        let mut each = rest.split(',').map(str::trim);
        each.find_map(|part| part.strip_prefix(name)?.strip_prefix('=')).ok_or_else(|| incomplete(name))
    };
    let scope: Vec<&str> = find("Credential")?.split('/').collect();
    let [access_key_id, date, region, service, "aws4_request"] = scope[..] else {
        return Err(incomplete("Credential"));
    };
    let signed = find("SignedHeaders")?.split(';').collect();
    Ok(Shown { access_key_id, date, region, service, signed, signature: find("Signature")? })
}

/// The secret key of an access key: a user's, or that of a session whose token is shown too.
fn secret(vault: &Vault, aws: &Aws, headers: &HeaderMap, access_key_id: &str) -> Result<String, Denied> {
    let unknown = || {
        Denied::of_aws(
            "UnrecognizedClientException",
            "The security token included in the request is invalid.",
        )
    };
    match text(headers, "x-amz-security-token") {
        None => {
            let key = aws.access_keys.iter().find(|key| key.access_key_id == access_key_id);
            key.map(|key| key.secret_access_key.clone()).ok_or_else(unknown)
        }
        Some(token) => match vault.verify(&[Kind::AwsSession], token) {
            Ok(claims) if claims.sub == access_key_id => Ok(vault.session_secret(access_key_id)),
            Err(Invalid::Expired) => {
                let message = "The security token included in the request is expired";
                Err(Denied::of_aws("ExpiredTokenException", message))
            }
            Ok(_) | Err(Invalid::Unknown) => Err(unknown()),
        },
    }
}

fn verify(parts: &Parts, body: &[u8], shown: &Shown<'_>, secret: &str, now: u64) -> Result<(), Denied> {
    let invalid = |message: &str| Denied::of_aws("InvalidSignatureException", message);
    let time = text(&parts.headers, "x-amz-date").unwrap_or_default();
    let signed_at = seconds(time).filter(|_| time.starts_with(shown.date)).ok_or_else(|| {
        let message = "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.";
        Denied::of_aws("IncompleteSignatureException", message)
    })?;
    if signed_at + SKEW_S < now {
        return Err(invalid(&format!("Signature expired: {time} is now earlier than the time - 5 min.")));
    }
    if signed_at > now + SKEW_S {
        return Err(invalid(&format!(
            "Signature not yet current: {time} is still later than the time + 5 min."
        )));
    }
    let needed = |name: &str| name == "host" || name.starts_with("x-amz-");
    let missing = parts.headers.keys().map(http::HeaderName::as_str).chain(["host"]);
    if let Some(missing) = missing.into_iter().find(|name| needed(name) && !shown.signed.contains(name)) {
        let message = format!("'{missing}' must be a 'SignedHeader' in the AWS Authorization.");
        return Err(invalid(&message));
    }
    let hash = sha256(body);
    if text(&parts.headers, "x-amz-content-sha256").is_some_and(|given| given != hash) {
        return Err(invalid("The provided 'x-amz-content-sha256' header does not match what was computed."));
    }
    let canonical = canonical(parts, &shown.signed, &hash).ok_or_else(|| invalid(MISMATCH))?;
    let scope = format!("{}/{}/{}/aws4_request", shown.date, shown.region, shown.service);
    let to_sign = format!("{ALGORITHM}\n{time}\n{scope}\n{}", sha256(canonical.as_bytes()));
    let mut key = hmac::Key::new(hmac::HMAC_SHA256, format!("AWS4{secret}").as_bytes());
    for part in [shown.date, shown.region, shown.service, "aws4_request"] {
        key = hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&key, part.as_bytes()).as_ref());
    }
    let signature = hex(hmac::sign(&key, to_sign.as_bytes()).as_ref());
    if signature == shown.signature { Ok(()) } else { Err(invalid(MISMATCH)) }
}

/// The canonical form of a request. None where a header that is said to be signed is not there.
fn canonical(parts: &Parts, signed: &[&str], body_hash: &str) -> Option<String> {
    let mut text = format!("{}\n", parts.method);
    // Each segment is encoded once more than it came.
    let path: Vec<_> = parts
        .uri
        .path()
        .split('/')
        .map(|segment| utf8_percent_encode(segment, RESERVED).to_string())
        .collect();
    let mut query: Vec<(String, String)> = parts
        .uri
        .query()
        .unwrap_or_default()
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let again = |text| {
                let decoded = percent_decode_str(text).decode_utf8_lossy().into_owned();
                utf8_percent_encode(&decoded, RESERVED).to_string()
            };
            (again(name), again(value))
        })
        .collect();
    query.sort();
    let query: Vec<_> = query.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let _ = write!(text, "{}\n{}\n", path.join("/"), query.join("&"));
    let mut names = signed.to_vec();
    names.sort_unstable();
    for name in names {
        let mut values: Vec<String> = parts
            .headers
            .get_all(name)
            .iter()
            .map(|value| {
                let value = String::from_utf8_lossy(value.as_bytes());
                value.split_whitespace().collect::<Vec<_>>().join(" ")
            })
            .collect();
        if values.is_empty() && name == "host" {
            // HTTP/2 has it in the target.
            values.extend(parts.uri.authority().map(ToString::to_string));
        }
        if values.is_empty() {
            return None;
        }
        let _ = writeln!(text, "{name}:{}", values.join(","));
    }
    let _ = write!(text, "\n{}\n{body_hash}", signed.join(";"));
    Some(text)
}

/// Seconds since 1970 of a time as `20261130T053726Z`.
fn seconds(time: &str) -> Option<u64> {
    let (date, clock) = time.split_once('T')?;
    if date.len() != 8 || clock.len() != 7 || !time.is_ascii() {
        return None;
    }
    let text = format!(
        "{}-{}-{}T{}:{}:{}",
        &date[..4],
        &date[4..6],
        &date[6..],
        &clock[..2],
        &clock[2..4],
        &clock[4..]
    );
    let time: SystemTime = humantime::parse_rfc3339(&text).ok()?;
    time.duration_since(SystemTime::UNIX_EPOCH).ok().as_ref().map(Duration::as_secs)
}

fn sha256(bytes: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    /// `get-vanilla` and `get-vanilla-query-order-key-case` of AWS's test suite for Signature Version 4.
    #[test]
    fn the_published_signatures_are_right_and_others_are_not() {
        const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
        let now = 1_440_938_160;
        let plain = "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31";
        let query = "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500";
        let check = |target: &str, signature: &str, secret: &str, now: u64, body: &[u8]| {
            let request = Request::get(target)
                .header("host", "example.amazonaws.com")
                .header("x-amz-date", "20150830T123600Z")
                .body(())
                .unwrap();
            let header = format!(
                "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
                 SignedHeaders=host;x-amz-date, Signature={signature}"
            );
            verify(&request.into_parts().0, body, &shown(&header).unwrap(), secret, now)
        };
        assert_eq!(check("/", plain, SECRET, now, b""), Ok(()));
        assert_eq!(check("/?Param2=value2&Param1=value1", query, SECRET, now, b""), Ok(()));
        for (target, secret, now, body, message) in [
            ("/", "other", now, &b""[..], MISMATCH),
            ("/x", SECRET, now, b"", MISMATCH),
            ("/", SECRET, now, b"body", MISMATCH),
            ("/", SECRET, now + 301, b"", "Signature expired"),
            ("/", SECRET, now - 301, b"", "Signature not yet current"),
        ] {
            let denied = check(target, plain, secret, now, body).unwrap_err();
            assert_eq!(denied.error_type, Some("InvalidSignatureException"));
            assert!(denied.body["message"].as_str().unwrap().contains(message), "{denied:?}");
        }
    }
}
