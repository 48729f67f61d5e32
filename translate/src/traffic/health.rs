//! What a BackendTrafficPolicy says of how endpoints that are well are told from others.
//!
//! Three things differ from Envoy. An endpoint that was left out is tried with one request before it is in use again, and is
//! left out for twice as long each time, up to five minutes or the first time, whichever is longer. Requests are judged as
//! they end, so that `interval` has nothing to say. And without `panicThreshold` endpoints that are not well get nothing,
//! however many they are: the rule's next target is there for that.

use penstock_config::raw::{RawBackend, RawEjection, RawFailureRuns, RawHealthCheck};
use penstock_config::{HealthCheckKind, HealthCheckMethod, HealthyStatuses, Span};

use super::span;
use crate::api::{TrafficActiveCheck, TrafficHealthCheck, TrafficHttpCheck, TrafficPassiveCheck};
use crate::world::shorten;

/// What Envoy has for what is left out.
const DEFAULT_RUN: i64 = 5;
const DEFAULT_EJECTION: Span = Span::secs(30);
const DEFAULT_EJECTED_PERCENT: i64 = 10;
const LONGEST_EJECTION: Span = Span::secs(300);
const DEFAULT_INTERVAL: Span = Span::secs(3);
const DEFAULT_TIMEOUT: Span = Span::secs(1);

/// The most bytes that documents let be expected of a body.
const MAX_EXPECTED_BYTES: usize = 4096;

/// How endpoints that are well are told from others.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Health {
    active: Option<Active>,
    passive: Option<Passive>,
    panic_percent: Option<u32>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Active {
    kind: HealthCheckKind,
    method: HealthCheckMethod,
    host: String,
    path: String,
    statuses: Vec<u16>,
    contains: String,
    interval: Span,
    timeout: Span,
    thresholds: (u32, u32),
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Passive {
    server_errors: u32,
    gateway_errors: u32,
    unanswered: u32,
    is_unanswered_apart: bool,
    base_time: Span,
    max_ejected_percent: u32,
}

impl Health {
    /// Reads what a policy says.
    ///
    /// # Errors
    /// It says something that cannot be: what, by its field.
    pub(super) fn read(wanted: &TrafficHealthCheck) -> Result<Self, String> {
        Ok(Self {
            active: wanted.active.as_ref().map(active).transpose()?.flatten(),
            passive: wanted.passive.as_ref().map(passive).transpose()?,
            panic_percent: wanted.panic_threshold.map(|percent| number(percent, 0, 100)),
        })
    }

    /// Changes a backend.
    pub(super) fn apply(&self, backend: &mut RawBackend) {
        if let Some(active) = &self.active {
            backend.health_check = Some(active.raw());
        }
        if let Some(passive) = &self.passive {
            backend.ejection = RawEjection {
                consecutive_failures: 0,
                base_time: passive.base_time,
                max_time: passive.base_time.max(LONGEST_EJECTION),
                max_ejected_percent: passive.max_ejected_percent,
            };
            backend.failure_runs = Some(RawFailureRuns {
                server_errors: passive.server_errors,
                gateway_errors: passive.gateway_errors,
                unanswered: passive.unanswered,
                is_unanswered_apart: passive.is_unanswered_apart,
            });
        }
        backend.panic_percent = self.panic_percent.unwrap_or(backend.panic_percent);
    }
}

impl Active {
    fn raw(&self) -> RawHealthCheck {
        RawHealthCheck {
            kind: self.kind,
            method: self.method,
            host: self.host.clone(),
            path: self.path.clone(),
            statuses: HealthyStatuses(self.statuses.clone()),
            contains: self.contains.clone(),
            interval: self.interval,
            timeout: self.timeout,
            unhealthy_threshold: self.thresholds.0,
            healthy_threshold: self.thresholds.1,
        }
    }
}

/// What a policy says of this and is not acted on, as its status names it.
pub(super) fn idle(wanted: &TrafficHealthCheck) -> Vec<String> {
    let mut idle = Vec::new();
    let mut add =
        |place: &str, name: &str| idle.push(format!("spec.healthCheck{place}.{}", shorten(name, 40)));
    wanted.others.keys().for_each(|name| add("", name));
    if let Some(active) = &wanted.active {
        if kind(active).is_none() {
            add(".active", &format!("type: {}", active.kind));
        }
        active.others.keys().for_each(|name| add(".active", name));
        active.tcp.iter().flat_map(|tcp| tcp.keys()).for_each(|name| add(".active.tcp", name));
        let http = active.http.as_ref();
        if let Some(other) = http.and_then(|http| http.method.as_ref()).filter(|name| method(name).is_none())
        {
            add(".active.http", &format!("method: {other}"));
        }
        http.iter().flat_map(|http| http.others.keys()).for_each(|name| add(".active.http", name));
        let binary = http.and_then(|http| http.expected_response.as_ref()?.binary.as_ref());
        binary.iter().for_each(|_| add(".active.http.expectedResponse", "binary"));
    }
    let passive = wanted.passive.iter().flat_map(|passive| passive.others.keys());
    passive.for_each(|name| add(".passive", name));
    idle
}

/// `None` where it is asked in a way that there is none of: a check that is another one would tell lies.
fn active(wanted: &TrafficActiveCheck) -> Result<Option<Active>, String> {
    const PLACE: &str = "healthCheck.active";
    let Some(kind) = kind(wanted) else { return Ok(None) };
    let none = TrafficHttpCheck::default();
    let http = match kind {
        HealthCheckKind::Http => wanted.http.as_ref(),
        HealthCheckKind::Tcp => None,
    };
    let http = http.unwrap_or(&none);
    let Some(method) = method(http.method.as_deref().unwrap_or("GET")) else { return Ok(None) };
    let path = if http.path.is_empty() { "/" } else { &http.path };
    if !path.starts_with('/') || !path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') {
        return Err(format!("{PLACE}.http.path: has to begin with / and to have no spaces"));
    }
    let host = http.hostname.clone().unwrap_or_default();
    if !host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte)) || host.len() > 253
    {
        return Err(format!("{PLACE}.http.hostname: is no name of a host"));
    }
    let contains =
        http.expected_response.as_ref().and_then(|expected| expected.text.clone()).unwrap_or_default();
    if contains.len() > MAX_EXPECTED_BYTES {
        return Err(format!("{PLACE}.http.expectedResponse.text: {MAX_EXPECTED_BYTES} bytes are the most"));
    }
    if method == HealthCheckMethod::Head && !contains.is_empty() {
        return Err(format!("{PLACE}.http.expectedResponse.text: answers to HEAD have no body"));
    }
    let mut statuses = http.expected_statuses.clone().unwrap_or_else(|| vec![200]);
    statuses.retain(|status| (200..600).contains(status));
    statuses.truncate(64);
    let of = |text: Option<&String>, field: &str, default, least: Span, most: Span| {
        let said = span(text.map(String::as_str), &format!("{PLACE}.{field}"))?;
        Ok::<_, String>(said.unwrap_or(default).max(least).min(most))
    };
    Ok(Some(Active {
        kind,
        method,
        host,
        path: path.to_owned(),
        statuses,
        contains,
        interval: of(
            wanted.interval.as_ref(),
            "interval",
            DEFAULT_INTERVAL,
            Span::ms(100),
            Span::secs(3600),
        )?,
        timeout: of(wanted.timeout.as_ref(), "timeout", DEFAULT_TIMEOUT, Span::ms(10), Span::secs(300))?,
        thresholds: (
            number(wanted.unhealthy_threshold.unwrap_or(3), 1, 100),
            number(wanted.healthy_threshold.unwrap_or(1), 1, 100),
        ),
    }))
}

fn passive(wanted: &TrafficPassiveCheck) -> Result<Passive, String> {
    let run = |number: Option<i64>, default| self::number(number.unwrap_or(default), 0, 1_000_000);
    let base_time = span(wanted.base_ejection_time.as_deref(), "healthCheck.passive.baseEjectionTime")?;
    let is_unanswered_apart = wanted.split_external_local_origin_errors;
    Ok(Passive {
        server_errors: run(wanted.consecutive_server_errors, DEFAULT_RUN),
        gateway_errors: run(wanted.consecutive_gateway_errors, 0),
        unanswered: match is_unanswered_apart {
            true => run(wanted.consecutive_local_origin_failures, DEFAULT_RUN),
            false => 0,
        },
        is_unanswered_apart,
        base_time: base_time.unwrap_or(DEFAULT_EJECTION).max(Span::ms(10)).min(Span::secs(3600)),
        max_ejected_percent: number(wanted.max_ejection_percent.unwrap_or(DEFAULT_EJECTED_PERCENT), 0, 100),
    })
}

fn kind(wanted: &TrafficActiveCheck) -> Option<HealthCheckKind> {
    match wanted.kind.as_str() {
        "HTTP" | "" => Some(HealthCheckKind::Http),
        "TCP" => Some(HealthCheckKind::Tcp),
        _ => None,
    }
}

fn method(name: &str) -> Option<HealthCheckMethod> {
    Some(match name {
        "GET" => HealthCheckMethod::Get,
        "HEAD" => HealthCheckMethod::Head,
        "OPTIONS" => HealthCheckMethod::Options,
        "POST" => HealthCheckMethod::Post,
        _ => return None,
    })
}

fn number(number: i64, least: u32, most: u32) -> u32 {
    u32::try_from(number.clamp(least.into(), most.into())).unwrap_or(most)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::service::raw_backend;

    fn wanted(wanted: Value) -> TrafficHealthCheck {
        serde_json::from_value(wanted).unwrap()
    }

    fn applied(said: Value) -> RawBackend {
        let mut backend = raw_backend("b".to_owned());
        Health::read(&wanted(said)).unwrap().apply(&mut backend);
        backend
    }

    #[test]
    fn passive_checks_are_runs_of_failures_with_the_defaults_of_envoy() {
        let backend = applied(json!({"passive": {}}));
        let runs = RawFailureRuns { server_errors: 5, ..RawFailureRuns::default() };
        assert_eq!(backend.failure_runs, Some(runs));
        let ejection = RawEjection {
            consecutive_failures: 0,
            base_time: Span::secs(30),
            max_time: Span::secs(300),
            max_ejected_percent: 10,
        };
        assert_eq!(backend.ejection, ejection);
        let backend = applied(json!({"passive": {
            "splitExternalLocalOriginErrors": true, "consecutiveLocalOriginFailures": 2, "consecutive5XxErrors": 0,
            "consecutiveGatewayErrors": 7, "baseEjectionTime": "10m", "maxEjectionPercent": 100, "interval": "2s",
        }}));
        let runs =
            RawFailureRuns { server_errors: 0, gateway_errors: 7, unanswered: 2, is_unanswered_apart: true };
        assert_eq!(backend.failure_runs, Some(runs));
        assert_eq!(
            (backend.ejection.base_time, backend.ejection.max_time),
            (Span::secs(600), Span::secs(600))
        );
    }

    #[test]
    fn active_checks_ask_as_is_said() {
        let backend = applied(json!({"panicThreshold": 30, "active": {
            "type": "HTTP", "interval": "1s", "timeout": "500ms", "unhealthyThreshold": 2, "healthyThreshold": 4,
            "http": {
                "path": "/ready?deep=1", "method": "POST", "hostname": "models.test", "expectedStatuses": [200, 204],
                "expectedResponse": {"type": "Text", "text": "fine"},
            },
        }}));
        let check = RawHealthCheck {
            kind: HealthCheckKind::Http,
            method: HealthCheckMethod::Post,
            host: "models.test".to_owned(),
            path: "/ready?deep=1".to_owned(),
            statuses: HealthyStatuses(vec![200, 204]),
            contains: "fine".to_owned(),
            interval: Span::secs(1),
            timeout: Span::ms(500),
            unhealthy_threshold: 2,
            healthy_threshold: 4,
        };
        assert_eq!((backend.health_check, backend.panic_percent), (Some(check), 30));
        let tcp = applied(json!({"active": {"type": "TCP", "tcp": {}}})).health_check.unwrap();
        assert_eq!(
            (tcp.kind, tcp.interval, tcp.timeout),
            (HealthCheckKind::Tcp, Span::secs(3), Span::secs(1))
        );
    }

    #[test]
    fn what_cannot_be_asked_is_named_and_not_asked_otherwise() {
        for (said, named) in [
            (json!({"active": {"type": "GRPC", "grpc": {}}}), &["active.type: GRPC", "active.grpc"][..]),
            (
                json!({"active": {"type": "HTTP", "http": {"path": "/", "method": "PUT"}}}),
                &["active.http.method: PUT"],
            ),
        ] {
            assert_eq!(applied(said.clone()).health_check, None, "{said}");
            let named: Vec<String> = named.iter().map(|name| format!("spec.healthCheck.{name}")).collect();
            assert_eq!(idle(&wanted(said)), named);
        }
        let said = json!({
            "later": 1,
            "active": {"type": "TCP", "tcp": {"send": {}}, "initialJitter": "1s"},
            "passive": {"failurePercentageThreshold": 80, "interval": "3s"},
        });
        let named =
            ["later", "active.initialJitter", "active.tcp.send", "passive.failurePercentageThreshold"];
        assert_eq!(idle(&wanted(said)), named.map(|name| format!("spec.healthCheck.{name}")));
    }

    #[test]
    fn what_is_no_check_is_told_with_its_field() {
        for (said, field) in [
            (json!({"active": {"http": {"path": "ready"}}}), "active.http.path"),
            (json!({"active": {"http": {"path": "/a b"}}}), "active.http.path"),
            (json!({"active": {"http": {"path": "/", "hostname": "a/b"}}}), "active.http.hostname"),
            (json!({"active": {"interval": "often"}}), "active.interval"),
            (json!({"passive": {"baseEjectionTime": "long"}}), "passive.baseEjectionTime"),
        ] {
            let error = Health::read(&wanted(said)).unwrap_err();
            assert!(error.starts_with(&format!("healthCheck.{field}: ")), "{error}");
        }
    }
}
