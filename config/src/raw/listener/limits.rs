//! Limits of one listener.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::knob::{Size, Span};
use crate::settings::RawLimits;

/// What clients of one listener may ask of the gateway, where that differs from the document's `limits`. Each has the
/// meaning and the answer that it has there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RawListenerLimits {
    /// The most bytes that a request's head may have. Listeners that share an address have the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-minimum" = "1KiB", "x-maximum" = "1MiB"))]
    pub header_bytes: Option<Size>,
    /// How long a client may take to send a whole head. Listeners that share an address have the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-minimum" = "100ms", "x-maximum" = "5m"))]
    pub header_timeout: Option<Span>,
    /// How long an idle keep-alive connection of a client stays open; with HTTP/2 from the start of the process on.
    /// Listeners that share an address have the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-minimum" = "1s", "x-maximum" = "1h"))]
    pub keep_alive_timeout: Option<Span>,
    /// The most bytes that a request's body may have.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-minimum" = "1KiB", "x-maximum" = "4GiB"))]
    pub body_bytes: Option<Size>,
    /// How long a client may take for a whole body.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-minimum" = "1s", "x-maximum" = "24h"))]
    pub body_timeout: Option<Span>,
    /// The most streams that one HTTP/2 connection of a client may have open. Listeners that share an address have the
    /// same.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000))]
    pub http2_streams: Option<u32>,
    /// The most connections that clients of this address may have open, within what all listeners together may. Further
    /// ones are closed at once. Listeners that share an address have the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub connections: Option<u32>,
}

impl RawListenerLimits {
    /// For documents that leave defaults out.
    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// What holds at the listener, where `all` holds for the document. The number of connections is another one than that
    /// of the document, and not part of it.
    pub(crate) fn over(&self, all: &RawLimits) -> RawLimits {
        RawLimits {
            header_bytes: self.header_bytes.unwrap_or(all.header_bytes),
            header_timeout: self.header_timeout.unwrap_or(all.header_timeout),
            keep_alive_timeout: self.keep_alive_timeout.unwrap_or(all.keep_alive_timeout),
            body_bytes: self.body_bytes.unwrap_or(all.body_bytes),
            body_timeout: self.body_timeout.unwrap_or(all.body_timeout),
            http2_streams: self.http2_streams.unwrap_or(all.http2_streams),
            ..all.clone()
        }
    }

    /// What holds before it is known which listener of an address a request is for.
    pub(crate) fn of_connections(&self) -> Self {
        Self { body_bytes: None, body_timeout: None, ..self.clone() }
    }
}
