//! Tells what was tried for a request: in headers of its response, in a metric and in the access log.

use http::{HeaderName, HeaderValue};
use penstock_config::TargetHeaders;

use crate::access_log;
use crate::context::{Arrived, Attempt, Routed, TargetAt};
use crate::runtime::Runtime;

/// Names the pool or backend that answered.
const TARGET: HeaderName = HeaderName::from_static("x-penstock-target");

/// Names those that were tried before, each with the reason why it was left.
const TRIED: HeaderName = HeaderName::from_static("x-penstock-tried");

/// The longest list of those, in bytes.
const MAX_TRIED_BYTES: usize = 1024;

/// Headers about what was tried, and about the target that answers, if one does, where the listener wants them.
pub(crate) fn headers(
    arrived: &Arrived,
    routed: &Routed,
    answers: Option<&Attempt>,
) -> impl Iterator<Item = (HeaderName, HeaderValue)> + use<> {
    let runtime = arrived.runtime();
    let is_shown = match runtime.snapshot().listeners[arrived.listener].target_headers {
        TargetHeaders::Never => false,
        TargetHeaders::Failover => !routed.trail.is_empty(),
        TargetHeaders::Always => true,
    };
    let shown = is_shown.then(|| {
        let target = answers.and_then(|attempt| target(arrived, attempt)).map(|value| (TARGET, value));
        let tried = tried(arrived, routed).map(|value| (TRIED, value));
        target.into_iter().chain(tried)
    });
    shown.into_iter().flatten()
}

fn target(arrived: &Arrived, attempt: &Attempt) -> Option<HeaderValue> {
    HeaderValue::from_str(&arrived.runtime().upstream(attempt.upstream).name).ok()
}

fn tried(arrived: &Arrived, routed: &Routed) -> Option<HeaderValue> {
    let mut list = String::new();
    for tried in routed.trail.all() {
        let item = format!("{};{}", arrived.runtime().upstream(tried.upstream).name, tried.reason);
        if list.len() + item.len() + 2 > MAX_TRIED_BYTES {
            break;
        }
        if !list.is_empty() {
            list.push_str(", ");
        }
        list.push_str(&item);
    }
    HeaderValue::from_str(&list).ok().filter(|list| !list.is_empty())
}

/// Counts the targets that were left for the one at `target`.
pub(crate) fn count(runtime: &Runtime, routed: &mut Routed, target: TargetAt, to: penstock_config::Upstream) {
    for left in routed.trail.count().filter(|left| left.target != target) {
        runtime.upstream(left.upstream).metrics.failed_over(&runtime.upstream(to).metrics, left.reason);
    }
}

/// The same, for the access log.
pub(crate) fn logged(runtime: &Runtime, routed: &Routed) -> Vec<access_log::Tried> {
    let logged = routed.trail.all().iter().map(|tried| {
        let upstream = runtime.upstream(tried.upstream);
        access_log::Tried { kind: upstream.kind, name: upstream.name.clone(), reason: tried.reason }
    });
    logged.collect()
}
