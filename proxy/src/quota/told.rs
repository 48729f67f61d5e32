//! What clients are told of limits by headers of answers.

use http::HeaderMap;
use penstock_policies::limits::{CountKind, Standing};
use tokio::time::Instant;

use crate::context::{Arrived, Attempt};
use crate::error::{Dialect, Figures, Tightest, Told};

/// Sets the headers that tell how the limits of a request stand that count what clients know.
#[inline]
pub(crate) fn tell(arrived: &Arrived, attempt: &Attempt, headers: &mut HeaderMap) {
    if arrived.tab.is_some() || attempt.holds.is_some() {
        tell_tightest(arrived, attempt, headers);
    }
}

fn tell_tightest(arrived: &Arrived, attempt: &Attempt, headers: &mut HeaderMap) {
    let dialect = Dialect::of_path(arrived.target.path());
    let mut tightest = Tightest::default();
    let now = arrived.runtime().meter().at((arrived.started, arrived.started_at), Instant::now());
    let is_told = |count| told(count).is_some();
    let of_request = arrived.tab.iter().flat_map(|tab| tab.holds.enforced(now, is_told));
    let of_attempt = attempt.holds.iter().flat_map(|holds| holds.enforced(now, is_told));
    for standing in of_request.chain(of_attempt) {
        if let Some(figures) = figures(&standing) {
            tightest.add(figures, dialect);
        }
    }
    tightest.tell(dialect, |name, value| drop(headers.insert(name, value)));
}

/// How a limit stands, if clients are told of its kind.
pub(super) fn figures(standing: &Standing) -> Option<Figures> {
    if standing.is_shadow {
        return None;
    }
    let Standing { count, amount, remaining, reset, .. } = *standing;
    Some(Figures { told: told(count)?, amount, remaining, reset })
}

/// As what clients are told of a limit, if they are.
fn told(count: CountKind) -> Option<Told> {
    match count {
        CountKind::Requests => Some(Told::Requests),
        CountKind::InputTokens | CountKind::CachedInputTokens | CountKind::CacheWriteTokens => {
            Some(Told::InputTokens)
        }
        CountKind::OutputTokens | CountKind::ReasoningTokens => Some(Told::OutputTokens),
        CountKind::TotalTokens => Some(Told::Tokens),
        CountKind::Cost | CountKind::Expression | CountKind::Concurrency => None,
    }
}
