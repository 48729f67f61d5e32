//! Knobs of the whole process.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::knob::{Address, Size, Span, knobs};
use crate::settings::choice::{DebugAccess, GenAiConvention};

knobs! {
    /// What one client, and all clients together, may ask of the gateway. Each limit that is hit is counted in
    /// `penstock_limit_hits_total` and named in the error that it causes.
    pub struct Limits, raw RawLimits {
        /// The most bytes that a request's head (request line and headers) may have. Answer: 431.
        header_bytes: Size = Size::kib(64), in "1KiB"..="1MiB";
        /// The most header fields that a request may have. Answer: 431.
        header_count: u32 = 128, in 8..=256;
        /// How long a client may take to send a whole head, counted from its first byte. The connection is closed.
        header_timeout: Span = Span::secs(10), in "100ms"..="5m";
        /// How long an idle keep-alive connection of a client stays open.
        keep_alive_timeout: Span = Span::secs(60), in "1s"..="1h";
        /// The most bytes that a request's body may have. Answer: 413.
        body_bytes: Size = Size::mib(64), in "1KiB"..="4GiB";
        /// How long a client may take for the next KiB of a body, for the 64th part of what it has sent if that is more, or
        /// for what is left. Answer: 408.
        body_idle_timeout: Span = Span::secs(30), in "100ms"..="1h";
        /// How long a client may take for a whole body. Answer: 408.
        body_timeout: Span = Span::secs(600), in "1s"..="24h";
        /// The most bytes of request bodies held in memory at one time, over all requests; an eighth is for bodies of up to
        /// 64 KiB alone. Answer: 503.
        bodies_in_flight_bytes: Size = Size::gib(1), in "1MiB"..="1024GiB";
        /// The most requests served at one time. Answer: 503.
        concurrent_requests: u32 = 10_000, in 1..=1_000_000;
        /// The most connections that clients may have open, over all listeners. Further ones are closed at once.
        connections: u32 = 100_000, in 1..=10_000_000;
        /// How long a client may take to accept the next bytes of a response before it is cut off.
        write_timeout: Span = Span::secs(60), in "100ms"..="1h";
        /// The most bytes that a model's name may have. Answer: 400.
        model_bytes: Size = Size(256), in "1"..="4KiB";
        /// The most bytes that a compressed body may have once decoded. Answer: 413.
        decoded_body_bytes: Size = Size::mib(64), in "1KiB"..="4GiB";
        /// How many times its own size a compressed body may have once decoded, beyond 256 KiB that each may have. Prompts
        /// that repeat themselves have 20 to 100 times. Answer: 413.
        decoded_body_ratio: u32 = 200, in 2..=100_000;
        /// How long a compressed body may wait for its turn to be decoded (answer: 503), and how long decoding it may take
        /// (answer: 413).
        decode_timeout: Span = Span::secs(5), in "10ms"..="5m";
        /// The most bytes of an unread body that are drained after an early answer, to keep the connection; a larger
        /// rest closes it.
        drain_bytes: Size = Size::mib(1), in "0"..="1GiB";
        /// How long draining such a rest may take before the connection is closed.
        drain_timeout: Span = Span::secs(5), in "10ms"..="5m";
        /// The most streams that one HTTP/2 connection of a client may have open.
        http2_streams: u32 = 256, in 1..=10_000;
        /// The most HTTP/2 frames that carry nothing (PING, SETTINGS, PRIORITY, WINDOW_UPDATE, RST_STREAM, unknown ones, empty
        /// DATA) from a client at once. Requests and what is sent to the client allow for more, a hundredth grows back
        /// each second. The connection is closed.
        http2_control_frames: u32 = 10_000, in 100..=10_000_000;
        /// The most gateways that a request may have passed before this one, this one's own listeners included. One that has
        /// passed more goes in circles. Answer: 508.
        hops: u32 = 8, in 1..=64;
        /// The most copies of requests for mirrors that are on their way at one time. Further ones are not sent.
        mirrored_requests: u32 = 1000, in 0..=1_000_000;
        /// The most counters of policies' limits that are kept in memory: one for each set of values that a limit counts by,
        /// some 300 bytes, those of sliding windows 800. Where there is no room, further values of a limit share one counter,
        /// which `penstock_limit_counters_overflowed_total` counts.
        limit_counters: u32 = 1_000_000, in 1..=100_000_000;
        /// The most idle connections to upstreams that are kept for reuse. Takes effect at start.
        idle_upstream_connections: u32 = 4096, in 0..=1_000_000;
    }
}

knobs! {
    /// What the scanner of request bodies gathers for prefix-aware picking.
    pub struct PeekSpec, raw RawPeek {
        /// The bytes of prompt that one prefix block covers. About four bytes make a token.
        prefix_block_bytes: Size = Size(256), in "64"..="64KiB";
        /// The most prefix blocks that one prompt contributes; what lies beyond does not help picking.
        prefix_max_blocks: u32 = 2048, in 0..=65_536;
        /// How deep lists and objects of a body may be nested. Answer: 400.
        max_depth: u32 = 256, in 8..=1024;
        /// What prompts are hashed with. Gateways that serve the same pools side by side should have the same number:
        /// then they agree where to send what none of them has seen. 0 draws one anew at every start.
        hash_seed: u32 = 0, in 0..=2_147_483_647;
    }
}

knobs! {
    /// One JSON line for each request. Bodies, prompts and credentials are never part of it.
    pub struct AccessLog, raw RawAccessLog {
        /// Whether lines are written.
        enabled: bool = true;
        /// Where to: `stdout`, `stderr`, or the path of a file, with a `/` in it, that is appended to.
        path: String = "stdout".to_owned();
        /// How many lines may wait for the writer. Further ones are dropped and counted.
        queue_entries: u32 = 8192, in 16..=1_000_000;
    }
}

knobs! {
    /// The listener for health, metrics and debugging.
    pub struct AdminSpec, raw RawAdmin {
        /// Whether it listens at all.
        enabled: bool = true;
        /// Its address. It has no authentication: keep it on loopback or behind a network policy.
        address: Address = Address(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9901));
        /// Names by which it may be asked (`Host`), beside IP addresses and `localhost`. Answer to others: 421, so that no
        /// web page can read it through a browser by a name that leads here (DNS rebinding).
        hosts: Vec<String> = Vec::new();
        /// Who is answered on `/debug/...`. Others get 403.
        debug: DebugAccess = DebugAccess::Local;
    }
}

knobs! {
    /// What others' tools expect to see of requests.
    pub struct Telemetry, raw RawTelemetry {
        /// By whose names `/metrics` has how long operations of models take and how many tokens they use, beside the metrics
        /// of this gateway's own.
        gen_ai_metrics: Vec<GenAiConvention> = vec![GenAiConvention::OpenTelemetry];
    }
}

knobs! {
    /// What happens at SIGTERM.
    pub struct ShutdownSpec, raw RawShutdown {
        /// How long requests in flight may take to finish. The process ends as soon as none is left.
        drain_timeout: Span = Span::secs(30), in "0s"..="24h";
        /// How long idle connections are kept open for clients that have not heard of the end yet. A request that comes
        /// meanwhile is served, and its answer closes the connection.
        linger: Span = Span::secs(1), in "0s"..="5m";
    }
}
