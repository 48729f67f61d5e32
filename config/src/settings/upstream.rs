//! Knobs of a pool or a backend.

use crate::knob::{Size, Span, Timeout, knobs};
use crate::settings::SaturationAction;

knobs! {
    /// Connections to an upstream.
    pub struct ConnectionSpec, raw RawConnection {
        /// How long establishing a connection may take, its TLS handshake included. A node that is gone costs each of its
        /// first requests that long; less than `1100ms` fails whenever one packet is lost.
        connect_timeout: Span = Span::secs(2), in "1ms"..="5m";
        /// How long an unused connection is kept for reuse.
        idle_timeout: Span = Span::secs(60), in "1s"..="1h";
        /// How long a read may wait for bytes; `0s` leaves it to the rule's timeouts.
        read_timeout: Timeout = Timeout::OFF, in "1ms"..="24h";
        /// How long a write may wait for the upstream to accept bytes; `0s` is no deadline.
        write_timeout: Timeout = Timeout::secs(60), in "1ms"..="24h";
        /// The most requests that share one HTTP/2 connection.
        http2_streams: u32 = 100, in 1..=10_000;
    }
}

knobs! {
    /// Passive ejection: an endpoint that keeps failing gets no requests for a while, then one on trial.
    pub struct EjectionSpec, raw RawEjection {
        /// How many failures in a row eject an endpoint; 0 turns ejection off.
        consecutive_failures: u32 = 5, in 0..=1000;
        /// How long the first ejection lasts. Each further one lasts twice as long as the one before.
        base_time: Span = Span::secs(5), in "10ms"..="1h";
        /// The longest that an ejection lasts.
        max_time: Span = Span::secs(60), in "10ms"..="24h";
        /// The largest share of the endpoints that may be ejected at one time, in percent.
        max_ejected_percent: u32 = 50, in 0..=100;
    }
}

knobs! {
    /// Reading the load of a pool's endpoints.
    pub struct MetricsSpec, raw RawMetrics {
        /// Whether endpoints are scraped. Without, a pool is balanced by what was sent to it.
        enabled: bool = true;
        /// The path of the metrics page.
        path: String = "/metrics".to_owned();
        /// The interval at which a busy endpoint is scraped. With more than 25 of them it is longer: the busy endpoints of all
        /// pools are scraped 500 times a second together.
        min_interval: Span = Span::ms(50), in "10ms"..="1m";
        /// The interval at which an idle endpoint is scraped.
        max_interval: Span = Span::secs(5), in "10ms"..="10m";
        /// How long one scrape may take.
        timeout: Span = Span::secs(1), in "10ms"..="1m";
        /// The most bytes that a metrics page may have.
        max_bytes: Size = Size::mib(4), in "1KiB"..="256MiB";
    }
}

knobs! {
    /// The queue in which requests wait for a saturated pool.
    pub struct QueueSpec, raw RawQueue {
        /// The most requests that wait. Answer to a further one: 429.
        max_requests: u32 = 1000, in 1..=1_000_000;
        /// The most bytes of body that waiting requests hold. Answer to a further one: 429.
        max_bytes: Size = Size::mib(256), in "1KiB"..="1024GiB";
        /// How long a request waits. Answer: 429.
        timeout: Span = Span::secs(30), in "1ms"..="1h";
    }
}

knobs! {
    /// What happens when every endpoint of a pool is full.
    pub struct SaturationSpec, raw RawSaturation {
        /// What happens to a further request.
        action: SaturationAction = SaturationAction::Reject;
        /// The queue, for `action: Queue`.
        queue: RawQueue = RawQueue::default();
        /// What a refused client is told to wait (`Retry-After`, in whole seconds, rounded up).
        retry_after: Span = Span::secs(1), in "0s"..="1h";
    }
}
