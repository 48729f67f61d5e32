//! Metrics by the names that people's dashboards know: OpenTelemetry's conventions for generative AI, by which a gateway is a
//! client, and Envoy AI Gateway's, which take it for a server.
//!
//! A request finds its handles among the few that its model has at its upstream. Errors look theirs up: they have a label more.
//! `gen_ai_client_token_usage` has one name in both, and so one set of labels; those that only Envoy AI Gateway knows are empty
//! where it is not asked for, which to Prometheus is to have none.

mod families;
mod operation;
mod provider;

use std::{borrow::Cow, sync::Arc, time::Duration};

use parking_lot::RwLock;
use penstock_config::GenAiConvention;
use penstock_tap::Usage;

pub(super) use self::families::GenAiFamilies;
use self::families::{CLIENT, SERVER};
use self::operation::Operation;
pub(crate) use self::provider::{of_backend, of_pool};
use super::{clock::StreamClock, histogram::Histogram};
use crate::error::Row;

/// Envoy AI Gateway knows errors by this alone.
const SOME_ERROR: &str = "_OTHER";
/// A stream in which the upstream told of an error.
const STREAM_ERROR: &str = "stream_error";

/// By whose names there are metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Conventions {
    open_telemetry: bool,
    envoy_ai_gateway: bool,
}

/// What is recorded of a request beyond what other metrics have of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GenAiCall<'a> {
    /// The path by which the client asked.
    pub path: &'a str,
    /// What the model is called at the upstream, where that is another name.
    pub target: Option<&'a Arc<str>>,
    /// Whether the model server counted the tokens itself: others are not told of here.
    pub is_reported: bool,
    /// Whether the answer's stream told of an error.
    pub has_error_event: bool,
}

/// How a request ended that is recorded.
#[derive(Clone, Copy, Debug)]
pub(super) struct GenAiEnd<'a> {
    pub status: u16,
    pub error: Option<Row>,
    pub duration: Duration,
    pub stream: Option<&'a StreamClock>,
    pub usage: &'a Usage,
}

/// One model at one upstream.
#[derive(Debug)]
pub(super) struct GenAiModel {
    families: GenAiFamilies,
    conventions: Conventions,
    provider: &'static str,
    /// What clients call it.
    asked: Box<str>,
    known: RwLock<Vec<Known>>,
}

/// An operation that was asked for before, by what the model is called at the upstream.
#[derive(Debug)]
struct Known {
    operation: Operation,
    target: Option<Arc<str>>,
    series: Arc<Series>,
}

/// The handles of an operation with a model.
#[derive(Debug)]
struct Series {
    client: Option<Client>,
    server: Option<Server>,
    input: Arc<Histogram>,
    output: Arc<Histogram>,
}

#[derive(Debug)]
struct Client {
    duration: Arc<Histogram>,
    first_chunk: Arc<Histogram>,
    per_chunk: Arc<Histogram>,
}

#[derive(Debug)]
struct Server {
    duration: Arc<Histogram>,
    first_token: Arc<Histogram>,
    per_token: Arc<Histogram>,
    cached_input: Arc<Histogram>,
    cache_creation_input: Arc<Histogram>,
    reasoning: Arc<Histogram>,
}

impl Conventions {
    pub(crate) fn of(named: &[GenAiConvention]) -> Self {
        Self {
            open_telemetry: named.contains(&GenAiConvention::OpenTelemetry),
            envoy_ai_gateway: named.contains(&GenAiConvention::EnvoyAIGateway),
        }
    }

    fn are_none(self) -> bool {
        self == Self::default()
    }
}

impl GenAiFamilies {
    /// A model that clients call `asked`, at an upstream of `provider`; `None` if nothing is recorded.
    pub(super) fn model(
        &self,
        conventions: Conventions,
        provider: &'static str,
        asked: &str,
    ) -> Option<GenAiModel> {
        (!conventions.are_none()).then(|| GenAiModel {
            families: self.clone(),
            conventions,
            provider,
            asked: asked.into(),
            known: RwLock::default(),
        })
    }
}

impl GenAiModel {
    pub(super) fn record(&self, call: GenAiCall<'_>, end: GenAiEnd<'_>) {
        let Some(operation) = Operation::of_path(call.path) else { return };
        let series = self.series(operation, call.target);
        match error_type(call, end) {
            None => series.succeeded(end),
            Some(error) => self.failed(operation, call.target, &error, end),
        }
        if call.is_reported {
            series.used(end.usage);
        }
    }

    fn series(&self, operation: Operation, target: Option<&Arc<str>>) -> Arc<Series> {
        let is_it = |known: &&Known| {
            known.operation == operation && known.target.as_deref() == target.map(|name| &**name)
        };
        if let Some(known) = self.known.read().iter().find(is_it) {
            return Arc::clone(&known.series);
        }
        let mut all = self.known.write();
        if let Some(known) = all.iter().find(is_it) {
            return Arc::clone(&known.series);
        }
        let series = Arc::new(self.made(operation, target));
        all.push(Known { operation, target: target.cloned(), series: Arc::clone(&series) });
        series
    }

    fn made(&self, operation: Operation, target: Option<&Arc<str>>) -> Series {
        let families = &self.families;
        let (client, server) = (self.client(operation, target, ""), self.server(operation, target, ""));
        let (original, response) = match self.conventions.envoy_ai_gateway {
            true => (&*self.asked, self.at_upstream(target)),
            false => ("", ""),
        };
        let tokens = |kind| {
            let request = self.at_upstream(target);
            families.tokens.get(&[operation.name(), self.provider, original, request, response, kind])
        };
        Series {
            client: self.conventions.open_telemetry.then(|| Client {
                duration: families.duration.get(&client),
                first_chunk: families.first_chunk.get(&client),
                per_chunk: families.per_chunk.get(&client),
            }),
            server: self.conventions.envoy_ai_gateway.then(|| Server {
                duration: families.server_duration.get(&server),
                first_token: families.first_token.get(&server),
                per_token: families.per_token.get(&server),
                cached_input: tokens("cached_input"),
                cache_creation_input: tokens("cache_creation_input"),
                reasoning: tokens("reasoning"),
            }),
            input: tokens("input"),
            output: tokens("output"),
        }
    }

    /// What ended with an error: how long it took, and what of its stream had come.
    fn failed(&self, operation: Operation, target: Option<&Arc<str>>, error: &str, end: GenAiEnd<'_>) {
        if self.conventions.open_telemetry {
            let labels = self.client(operation, target, error);
            self.families.duration.get(&labels).observe(end.duration);
            if let Some(first) = end.stream.and_then(StreamClock::time_to_first_token) {
                self.families.first_chunk.get(&labels).observe(first);
            }
        }
        if self.conventions.envoy_ai_gateway {
            let labels = self.server(operation, target, SOME_ERROR);
            self.families.server_duration.get(&labels).observe(end.duration);
        }
    }

    fn client<'a>(
        &'a self,
        operation: Operation,
        target: Option<&'a Arc<str>>,
        error: &'a str,
    ) -> [&'a str; CLIENT.len()] {
        [operation.name(), self.provider, self.at_upstream(target), error]
    }

    /// The response's model is the one that was asked for: what answers say of it is not read.
    fn server<'a>(
        &'a self,
        operation: Operation,
        target: Option<&'a Arc<str>>,
        error: &'a str,
    ) -> [&'a str; SERVER.len()] {
        let request = self.at_upstream(target);
        [operation.envoy_name(), self.provider, &self.asked, request, request, error]
    }

    fn at_upstream<'a>(&'a self, target: Option<&'a Arc<str>>) -> &'a str {
        target.map_or(&*self.asked, |name| name)
    }
}

impl Series {
    fn succeeded(&self, end: GenAiEnd<'_>) {
        let first = end.stream.and_then(StreamClock::time_to_first_token);
        if let Some(client) = &self.client {
            client.duration.observe(end.duration);
            if let (Some(stream), Some(first)) = (end.stream, first) {
                client.first_chunk.observe(first);
                client.per_chunk.merge(stream.gaps());
            }
        }
        if let Some(server) = &self.server {
            server.duration.observe(end.duration);
            if let Some(first) = first {
                server.first_token.observe(first);
                let more = end.usage.output.and_then(|output| u32::try_from(output).ok()?.checked_sub(1));
                if let Some(per_token) =
                    more.and_then(|more| end.duration.saturating_sub(first).checked_div(more))
                {
                    server.per_token.observe(per_token);
                }
            }
        }
    }

    fn used(&self, usage: &Usage) {
        let observe = |histogram: &Histogram, tokens: Option<u64>| {
            if let Some(tokens) = tokens {
                histogram.observe_number(tokens);
            }
        };
        observe(&self.input, usage.input);
        observe(&self.output, usage.output);
        if let Some(server) = &self.server {
            observe(&server.cached_input, usage.cached_input);
            observe(&server.cache_creation_input, usage.cache_creation);
            observe(&server.reasoning, usage.reasoning);
        }
    }
}

/// Why an operation failed, in a few words that there are; `None` if it did not.
fn error_type(call: GenAiCall<'_>, end: GenAiEnd<'_>) -> Option<Cow<'static, str>> {
    match (end.error, end.status) {
        (Some(row), _) => Some(row.reason.into()),
        (None, 400..) => Some(end.status.to_string().into()),
        (None, _) if call.has_error_event => Some(STREAM_ERROR.into()),
        (None, _) => None,
    }
}

#[cfg(test)]
mod tests;
