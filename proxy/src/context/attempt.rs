//! One attempt at one endpoint.

use std::sync::Arc;

use bytes::Bytes;
use http::HeaderValue;
use penstock_config::Upstream;
use penstock_picker::Outcome;
use penstock_policies::limits::Holds;

use super::{Arrived, TargetAt};
use crate::body::Room;
use crate::codec::Decoder;
use crate::error::Error;
use crate::metrics::{GaugeGuard, UpstreamMetrics};
use crate::upstreams::Chosen;

/// An attempt whose endpoint is chosen.
pub(crate) struct Attempt {
    /// The target that it is for.
    pub(crate) target: TargetAt,
    /// That target's pool or backend.
    pub(crate) upstream: Upstream,
    /// The endpoint.
    pub(crate) endpoint: Chosen,
    /// What the model is called there, where it differs from what the client asked for.
    pub(crate) model: Option<Arc<str>>,
    /// Translates the response, where the upstream speaks another dialect. Set by `prepare`.
    pub(crate) decoder: Option<Box<dyn Decoder>>,
    /// Members of the request that the upstream's API has no place for, as a header tells the client and the
    /// access log its reader. Set by `prepare`.
    pub(crate) dropped: Option<HeaderValue>,
    /// Memory for what is translated and kept.
    room: Option<Box<Room>>,
    /// What of it is for the response.
    held_bytes: usize,
    /// Whether the gateway asked for the usage of a stream whose client did not. Set by `prepare`.
    pub(crate) hides_usage: bool,
    /// What it holds of the limits of its pool or backend.
    pub(crate) holds: Option<Box<Holds>>,
    /// Whether anything of it was sent.
    pub(crate) is_sent: bool,
    /// Counts the attempt among those at its upstream, once it is sent.
    in_flight: Option<GaugeGuard>,
}

impl Attempt {
    pub(crate) fn new(
        target: TargetAt,
        upstream: Upstream,
        endpoint: Chosen,
        model: Option<Arc<str>>,
    ) -> Self {
        Self {
            target,
            upstream,
            endpoint,
            model,
            decoder: None,
            dropped: None,
            room: None,
            held_bytes: 0,
            hides_usage: false,
            holds: None,
            is_sent: false,
            in_flight: None,
        }
    }

    /// Translates a piece of the response's body, if it has to be. What is kept of it until all of it is here is counted with
    /// the bodies of requests.
    ///
    /// # Errors
    /// It cannot be translated, or there is no memory for it.
    pub(crate) fn decode(&mut self, data: Bytes, is_end: bool, arrived: &Arrived) -> Result<Bytes, Error> {
        let Some(decoder) = &mut self.decoder else { return Ok(data) };
        let data = decoder.body(data, is_end)?;
        let held_bytes = decoder.held_bytes();
        if held_bytes > self.held_bytes {
            let more = held_bytes - std::mem::replace(&mut self.held_bytes, held_bytes);
            self.hold(more, arrived)?;
        } else if held_bytes < self.held_bytes {
            (self.held_bytes, self.room) = (0, None);
        }
        Ok(data)
    }

    /// Counts bytes that are kept for this attempt.
    ///
    /// # Errors
    /// There is no memory for them.
    pub(crate) fn hold(&mut self, bytes: usize, arrived: &Arrived) -> Result<(), Error> {
        let room = || Box::new(arrived.body.room(arrived.client(), arrived.runtime().limits()));
        self.room.get_or_insert_with(room).take(bytes)
    }

    /// Lets go of the memory for what is not kept any more.
    pub(crate) fn release(&mut self) {
        // What the decoder still keeps is counted anew with the next piece.
        (self.held_bytes, self.room) = (0, None);
    }

    /// Counts the attempt as sent.
    pub(crate) fn start(&mut self, metrics: &UpstreamMetrics) {
        metrics.attempts.increment();
        self.in_flight = Some(metrics.in_flight.hold(1));
    }

    /// Settles the attempt: the endpoint's account is closed and its health is judged. Later calls do nothing.
    pub(crate) fn settle(&mut self, outcome: Outcome) {
        self.in_flight = None;
        self.endpoint.settle(outcome);
    }
}
