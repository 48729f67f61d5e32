//! Why attempts at an endpoint failed: what is kept for people, and which failures are worth a line in the log.
//!
//! A server that is misconfigured fails every request in the same way. Its operator needs the cause once, and the log must
//! not grow with the requests: one line a minute for each kind of cause. By kind and not by text, because the text is in
//! part the server's and may differ each time.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use serde::{Serialize, Serializer};
use tokio::time::Instant;

/// The time after which the same kind of cause is told again.
const TOLD_AGAIN_AFTER: Duration = Duration::from_secs(60);

/// The longest cause that is kept, in bytes. A server has a say in it.
pub const MAX_CAUSE_BYTES: usize = 256;

/// The failures of one endpoint.
#[derive(Debug, Default)]
pub struct Failures(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    last: Option<LastFailure>,
    /// The kinds that were told, and when. As many as there are kinds: a handful.
    told: Vec<(&'static str, Instant)>,
}

/// The last attempt that failed.
#[derive(Debug, Clone, Serialize)]
pub struct LastFailure {
    /// The kind of failure, as metrics call it.
    pub reason: &'static str,
    /// What lies beneath it, bounded and without control characters.
    pub cause: Arc<str>,
    /// When it was.
    #[serde(serialize_with = "as_rfc3339")]
    pub at: SystemTime,
}

impl Failures {
    /// Keeps the cause of a failure. It is to be told where this gives what is to be said: the cause as it was kept.
    pub fn note(&self, reason: &'static str, cause: &str) -> Option<Arc<str>> {
        let cause: Arc<str> = presentable(cause).into();
        let now = Instant::now();
        let mut state = self.0.lock();
        state.last = Some(LastFailure { reason, cause: cause.clone(), at: SystemTime::now() });
        match state.told.iter_mut().find(|(told, _)| *told == reason) {
            Some((_, at)) if now.duration_since(*at) < TOLD_AGAIN_AFTER => return None,
            Some((_, at)) => *at = now,
            None => state.told.push((reason, now)),
        }
        Some(cause)
    }

    /// The last one.
    pub fn last(&self) -> Option<LastFailure> {
        self.0.lock().last.clone()
    }
}

/// At most [`MAX_CAUSE_BYTES`] of `text`, in one line.
fn presentable(text: &str) -> String {
    let mut kept = String::new();
    for letter in text.chars() {
        let letter = if letter.is_control() { ' ' } else { letter };
        if kept.len() + letter.len_utf8() > MAX_CAUSE_BYTES {
            break;
        }
        kept.push(letter);
    }
    kept
}

fn as_rfc3339<S: Serializer>(at: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&humantime::format_rfc3339_millis(*at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_kind_of_cause_is_told_once_a_minute() {
        let failures = Failures::default();
        assert!(failures.last().is_none());
        assert_eq!(failures.note("tls", "expired").as_deref(), Some("expired"));
        assert_eq!(failures.note("tls", "expired"), None);
        assert_eq!(failures.note("tls", "another text"), None);
        assert_eq!(failures.note("connect", "refused").as_deref(), Some("refused"));
        assert_eq!(failures.note("tls", "expired"), None);
        let last = failures.last().unwrap();
        assert_eq!((last.reason, &*last.cause), ("tls", "expired"));
        tokio::time::advance(TOLD_AGAIN_AFTER).await;
        assert!(failures.note("tls", "expired").is_some());
        assert_eq!(failures.note("tls", "expired"), None);
    }

    #[test]
    fn causes_are_bounded_and_of_one_line() {
        let failures = Failures::default();
        failures.note("reset", &format!("a\r\nb\u{1b}[2J{}", "ä".repeat(MAX_CAUSE_BYTES)));
        let last = failures.last().unwrap();
        assert!(last.cause.starts_with("a  b [2Jä"), "{}", last.cause);
        assert!(last.cause.len() <= MAX_CAUSE_BYTES);
        let json = serde_json::to_value(&last).unwrap();
        assert!(json["at"].as_str().unwrap().ends_with('Z'), "{json}");
    }
}
