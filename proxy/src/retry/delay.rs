//! How long an upstream asks to be left alone, in the words that providers have for it.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, header};

/// Azure's and OpenAI's, in milliseconds.
const RETRY_AFTER_MS: &str = "retry-after-ms";

/// Anthropic's limits: how much is left of each, and when it is whole again.
const ANTHROPIC_LIMITS: [&str; 5] = ["requests", "tokens", "input-tokens", "output-tokens", "unified"];

/// How long the headers of a response ask to wait, `now` being the time of day. `None` if they do not.
pub(super) fn asked(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
    if let Some(delay) = text(RETRY_AFTER_MS).and_then(|ms| seconds(ms, 1e-3)) {
        return Some(delay);
    }
    if let Some(after) = text(header::RETRY_AFTER.as_str()) {
        let until = || Some(httpdate::parse_http_date(after).ok()?.duration_since(now).unwrap_or_default());
        if let Some(delay) = seconds(after, 1.0).or_else(until) {
            return Some(delay);
        }
    }
    let reset = |limit: &&str| {
        if text(&format!("anthropic-ratelimit-{limit}-remaining"))?.parse::<u64>().ok()? > 0 {
            return None;
        }
        let at = humantime::parse_rfc3339(text(&format!("anthropic-ratelimit-{limit}-reset"))?).ok()?;
        Some(at.duration_since(now).unwrap_or_default())
    };
    ANTHROPIC_LIMITS.iter().filter_map(reset).max()
}

/// A number of units of so many seconds.
fn seconds(text: &str, unit: f64) -> Option<Duration> {
    let number: f64 = text.parse().ok()?;
    Duration::try_from_secs_f64(number * unit).ok()
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn of(headers: &[(&'static str, &'static str)]) -> Option<Duration> {
        let headers = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        // 1994-11-06T08:49:37Z, the date that RFC 9110 writes.
        asked(&headers.collect(), SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777))
    }

    #[test]
    fn each_providers_words_are_understood() {
        let ms = |ms| Some(Duration::from_millis(ms));
        for (headers, delay) in [
            (&[("retry-after", "7")][..], ms(7_000)),
            (&[("retry-after", " 0.5 ")], ms(500)),
            (&[("retry-after", "Sun, 06 Nov 1994 08:49:47 GMT")], ms(10_000)),
            (&[("retry-after", "Sun, 06 Nov 1994 08:00:00 GMT")], ms(0)),
            (&[("retry-after-ms", "250"), ("retry-after", "1")], ms(250)),
            (
                &[
                    ("anthropic-ratelimit-requests-remaining", "12"),
                    ("anthropic-ratelimit-requests-reset", "1994-11-06T09:49:37Z"),
                    ("anthropic-ratelimit-input-tokens-remaining", "0"),
                    ("anthropic-ratelimit-input-tokens-reset", "1994-11-06T08:50:07Z"),
                ],
                ms(30_000),
            ),
            (&[("retry-after", "soon")], None),
            (&[("retry-after", "-1")], None),
            (&[("retry-after", "NaN")], None),
            (&[("retry-after", "1e400")], None),
            (&[], None),
        ] {
            assert_eq!(of(headers), delay, "{headers:?}");
        }
    }
}
