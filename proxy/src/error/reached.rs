//! Limits of policies that were reached, and the headers in which clients are told how they stand.
//!
//! OpenAI's libraries read `x-ratelimit-…` with times such as `6m0s`, Anthropic's read `anthropic-ratelimit-…` with points in
//! time. Of several limits of one kind the client is told the tightest: the one of which the least share is left.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderName, HeaderValue};

use super::{Dialect, Error};
use crate::text::decimal;

/// A limit that is reached.
#[derive(Clone, Debug)]
pub(crate) struct LimitReached {
    /// The policy's name.
    pub policy: Arc<str>,
    /// The limit's name.
    pub limit: Arc<str>,
    /// When there will be enough; `None` where trying again is of no use.
    pub retry_after: Option<Duration>,
    /// What the request lacks, if that is why it is refused.
    pub missing: Option<Cow<'static, str>>,
    /// How the limit stands, where clients are told of its kind.
    pub figures: Option<Figures>,
}

/// What a limit counts, as far as clients are told of limits by headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// Requests.
    Requests,
    /// Tokens of prompts.
    InputTokens,
    /// Tokens generated.
    OutputTokens,
    /// Both.
    Tokens,
}

/// How a limit stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Figures {
    /// What it counts.
    pub told: Told,
    /// The most.
    pub amount: u64,
    /// What is left.
    pub remaining: u64,
    /// When all of it is there again.
    pub reset: Duration,
}

/// The tightest limit of each kind, by the headers that tell of it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tightest([Option<Figures>; 4]);

type Names = [HeaderName; 3];

const OPEN_AI_REQUESTS: Names = [
    HeaderName::from_static("x-ratelimit-limit-requests"),
    HeaderName::from_static("x-ratelimit-remaining-requests"),
    HeaderName::from_static("x-ratelimit-reset-requests"),
];
const OPEN_AI_TOKENS: Names = [
    HeaderName::from_static("x-ratelimit-limit-tokens"),
    HeaderName::from_static("x-ratelimit-remaining-tokens"),
    HeaderName::from_static("x-ratelimit-reset-tokens"),
];
const ANTHROPIC: [Names; 4] = [
    [
        HeaderName::from_static("anthropic-ratelimit-requests-limit"),
        HeaderName::from_static("anthropic-ratelimit-requests-remaining"),
        HeaderName::from_static("anthropic-ratelimit-requests-reset"),
    ],
    [
        HeaderName::from_static("anthropic-ratelimit-input-tokens-limit"),
        HeaderName::from_static("anthropic-ratelimit-input-tokens-remaining"),
        HeaderName::from_static("anthropic-ratelimit-input-tokens-reset"),
    ],
    [
        HeaderName::from_static("anthropic-ratelimit-output-tokens-limit"),
        HeaderName::from_static("anthropic-ratelimit-output-tokens-remaining"),
        HeaderName::from_static("anthropic-ratelimit-output-tokens-reset"),
    ],
    [
        HeaderName::from_static("anthropic-ratelimit-tokens-limit"),
        HeaderName::from_static("anthropic-ratelimit-tokens-remaining"),
        HeaderName::from_static("anthropic-ratelimit-tokens-reset"),
    ],
];

impl LimitReached {
    /// What the request lacks, in words.
    pub(super) fn missing(&self) -> &str {
        self.missing.as_deref().unwrap_or("a value")
    }

    /// The headers that tell how it stands.
    pub(super) fn headers(&self, dialect: Dialect) -> Vec<(HeaderName, HeaderValue)> {
        let mut tightest = Tightest::default();
        self.figures.into_iter().for_each(|figures| tightest.add(figures, dialect));
        let mut headers = Vec::new();
        tightest.tell(dialect, |name, value| headers.push((name, value)));
        headers
    }
}

impl Error {
    /// The limit of a policy that is reached, if that is it.
    pub(crate) fn reached(&self) -> Option<&LimitReached> {
        match self {
            Self::RateLimited(reached)
            | Self::BudgetExhausted(reached)
            | Self::NeverFits(reached)
            | Self::NothingToCountBy(reached)
            | Self::StreamCut(reached) => Some(reached),
            _ => None,
        }
    }
}

impl Tightest {
    /// Takes note of one more limit.
    pub(crate) fn add(&mut self, figures: Figures, dialect: Dialect) {
        let at = match dialect {
            Dialect::Anthropic => figures.told as usize,
            // There is one set of headers for all tokens.
            _ if figures.told == Told::Requests => Told::Requests as usize,
            _ => Told::Tokens as usize,
        };
        match &mut self.0[at] {
            Some(known) if !figures.is_tighter(known) => {}
            place => *place = Some(figures),
        }
    }

    /// Tells the headers that clients of this dialect read.
    pub(crate) fn tell(self, dialect: Dialect, mut tell: impl FnMut(HeaderName, HeaderValue)) {
        for (at, figures) in self.0.into_iter().enumerate() {
            let Some(figures) = figures else { continue };
            let names = match dialect {
                Dialect::Anthropic => ANTHROPIC[at].clone(),
                _ if at == Told::Requests as usize => OPEN_AI_REQUESTS,
                _ => OPEN_AI_TOKENS,
            };
            for (name, value) in names.into_iter().zip(figures.values(dialect)) {
                tell(name, value);
            }
        }
    }
}

impl Figures {
    /// The values of the headers that tell of it: parts of one text, so that one piece of memory has them all.
    fn values(&self, dialect: Dialect) -> [HeaderValue; 3] {
        let mut text = Vec::with_capacity(64);
        decimal(self.amount, &mut text);
        let amount_ends = text.len();
        decimal(self.remaining, &mut text);
        let remaining_ends = text.len();
        if dialect == Dialect::Anthropic {
            text.extend_from_slice(time(self.reset).as_bytes());
        } else {
            span(self.reset, &mut text);
        }
        let text = Bytes::from(text);
        let parts = [0..amount_ends, amount_ends..remaining_ends, remaining_ends..text.len()];
        parts.map(|part| {
            let value = HeaderValue::from_maybe_shared(text.slice(part));
            value.unwrap_or_else(|_| HeaderValue::from_static("0"))
        })
    }

    /// Whether a smaller share is left than of another.
    fn is_tighter(&self, other: &Self) -> bool {
        let share = |of: &Self, amount: u64| u128::from(of.remaining) * u128::from(amount);
        share(self, other.amount) < share(other, self.amount)
    }
}

/// A time as OpenAI writes it: `17ms`, `1s`, `6m0s`, `1h0m0s`.
fn span(time: Duration, out: &mut Vec<u8>) {
    let seconds = time.as_secs();
    if seconds == 0 && time.subsec_millis() > 0 {
        decimal(u64::from(time.subsec_millis()), out);
        out.extend_from_slice(b"ms");
        return;
    }
    let seconds = seconds.saturating_add(u64::from(time.subsec_nanos() > 0));
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 {
        decimal(hours, out);
        out.push(b'h');
    }
    if hours > 0 || minutes > 0 {
        decimal(minutes, out);
        out.push(b'm');
    }
    decimal(seconds, out);
    out.push(b's');
}

/// The point in time after `time`, in RFC 3339.
fn time(time: Duration) -> String {
    /// Where a point in time has no name any more: in the year 9999.
    const LAST: Duration = Duration::from_secs(253_402_300_799);
    let now = SystemTime::now();
    let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let at = since.saturating_add(time).saturating_add(Duration::from_millis(999)).min(LAST);
    humantime::format_rfc3339_seconds(SystemTime::UNIX_EPOCH + Duration::from_secs(at.as_secs())).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(told: Told, amount: u64, remaining: u64) -> Figures {
        Figures { told, amount, remaining, reset: Duration::from_secs(61) }
    }

    fn told(figures: &[Figures], dialect: Dialect) -> Vec<(String, String)> {
        let mut tightest = Tightest::default();
        figures.iter().for_each(|figures| tightest.add(*figures, dialect));
        let mut told = Vec::new();
        tightest.tell(dialect, |name, value| {
            told.push((name.as_str().to_owned(), value.to_str().unwrap().to_owned()));
        });
        told
    }

    fn written(time: Duration) -> String {
        let mut text = Vec::new();
        span(time, &mut text);
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn times_are_written_as_openai_does() {
        for (millis, text) in
            [(0, "0s"), (17, "17ms"), (1000, "1s"), (1001, "2s"), (360_000, "6m0s"), (3_600_000, "1h0m0s")]
        {
            assert_eq!(written(Duration::from_millis(millis)), text, "{millis}");
        }
        assert!(written(Duration::MAX).ends_with('s'));
    }

    #[test]
    fn times_of_anthropic_are_points_in_time_and_have_an_end() {
        let soon = time(Duration::from_secs(5));
        let at = humantime::parse_rfc3339(&soon).unwrap().duration_since(SystemTime::now()).unwrap();
        assert!(at <= Duration::from_secs(6), "{soon}");
        assert_eq!(time(Duration::MAX), "9999-12-31T23:59:59Z");
    }

    #[test]
    fn of_several_limits_the_tightest_is_told() {
        let all = [
            figures(Told::Requests, 100, 50),
            figures(Told::Requests, 10, 4),
            figures(Told::Tokens, 1000, 900),
            figures(Told::InputTokens, 1000, 100),
            figures(Told::Requests, 0, 0),
        ];
        let open_ai = told(&all[..4], Dialect::OpenAi);
        let expected = [("limit", "10"), ("remaining", "4"), ("reset", "1m1s")];
        let expected =
            expected.map(|(name, value)| (format!("x-ratelimit-{name}-requests"), value.to_owned()));
        assert_eq!(open_ai[..3], expected);
        assert_eq!(open_ai[3], ("x-ratelimit-limit-tokens".to_owned(), "1000".to_owned()));
        assert_eq!(open_ai[4], ("x-ratelimit-remaining-tokens".to_owned(), "100".to_owned()));
        assert_eq!(open_ai.len(), 6);
        let anthropic = told(&all, Dialect::Anthropic);
        let remaining = |name: &str| {
            let name = format!("anthropic-ratelimit-{name}-remaining");
            anthropic.iter().find(|(of, _)| *of == name).map(|(_, value)| value.as_str())
        };
        assert_eq!(
            [
                remaining("requests"),
                remaining("input-tokens"),
                remaining("output-tokens"),
                remaining("tokens")
            ],
            [Some("4"), Some("100"), None, Some("900")]
        );
        assert!(told(&[], Dialect::Anthropic).is_empty());
    }
}
