//! `/sim/…`: faults, fake metrics and records of a server that a test cannot reach as a library.

use http::{HeaderValue, Method, Response, StatusCode, header};
use serde::Serialize;

use super::{body::SimBody, faults::Fault, issuing::Vault, metrics::FakeMetrics, state::ServerState};

/// A path of the simulator's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AdminPage {
    /// `GET` shows the faults, `POST` replaces them by a JSON list, `DELETE` takes them away.
    Faults,
    /// `GET` shows the requests remembered, `DELETE` forgets them.
    Requests,
    /// The counters.
    Stats,
    /// `GET` shows the tokens issued, `DELETE` revokes them.
    Issued,
    /// `GET` shows the gauges that are made up, `POST` replaces them, `DELETE` brings the real ones back.
    Metrics,
}

impl AdminPage {
    pub(crate) fn of(path: &str) -> Option<Self> {
        match path {
            "/sim/faults" => Some(Self::Faults),
            "/sim/requests" => Some(Self::Requests),
            "/sim/stats" => Some(Self::Stats),
            "/sim/issued" => Some(Self::Issued),
            "/sim/metrics" | "/fake_metrics" => Some(Self::Metrics),
            _ => None,
        }
    }
}

/// Answers a request to one of the simulator's own pages.
pub(crate) fn answer(
    server: &ServerState,
    page: AdminPage,
    method: &Method,
    body: &[u8],
) -> Response<SimBody> {
    let result = match page {
        AdminPage::Faults => change(method, body, |faults: Option<Vec<Fault>>| {
            server.faults.set(faults.unwrap_or_default());
        }),
        AdminPage::Metrics => {
            change(method, body, |fakes: Option<FakeMetrics>| *server.api.fakes.lock() = fakes)
        }
        AdminPage::Requests => {
            if *method == Method::DELETE {
                server.record.forget();
            }
            Ok(())
        }
        AdminPage::Issued => {
            if *method == Method::DELETE {
                server.vault.iter().for_each(Vault::revoke);
            }
            Ok(())
        }
        AdminPage::Stats => Ok(()),
    };
    if let Err(error) = result {
        return json(StatusCode::BAD_REQUEST, &serde_json::json!({"error": error.to_string()}));
    }
    match page {
        AdminPage::Faults => json(StatusCode::OK, &server.faults.list()),
        AdminPage::Metrics => json(StatusCode::OK, &*server.api.fakes.lock()),
        AdminPage::Requests => json(StatusCode::OK, &server.record.requests()),
        AdminPage::Stats => json(StatusCode::OK, &server.record.stats()),
        AdminPage::Issued => {
            json(StatusCode::OK, &server.vault.as_ref().map(Vault::issued).unwrap_or_default())
        }
    }
}

/// `value` as a JSON answer.
pub(crate) fn json(status: StatusCode, value: &impl Serialize) -> Response<SimBody> {
    // Only maps with keys other than strings fail, and no answer has one.
    let body = serde_json::to_vec(value).unwrap_or_default();
    let mut response = Response::new(SimBody::whole(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn change<'a, T: serde::Deserialize<'a>>(
    method: &Method,
    body: &'a [u8],
    apply: impl FnOnce(Option<T>),
) -> Result<(), serde_json::Error> {
    match *method {
        Method::POST | Method::PUT => apply(Some(serde_json::from_slice(body)?)),
        Method::DELETE => apply(None),
        _ => {}
    }
    Ok(())
}
