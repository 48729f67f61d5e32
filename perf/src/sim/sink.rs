//! `/sim/sink`: takes any method, framing and body, and tells what arrived.

use http::Response;

use super::{body::SimBody, record::Seen};

/// The description of a request as JSON.
pub(crate) fn answer(seen: &Seen) -> Response<SimBody> {
    super::router::json(http::StatusCode::OK, seen)
}
