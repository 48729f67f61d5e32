//! Knobs of one routing rule.

use crate::knob::{Timeout, knobs};

knobs! {
    /// Deadlines of a request. `0s` turns one off.
    pub struct Timeouts, raw RawTimeouts {
        /// From the request's head to the last byte of the response, over all attempts.
        request: Timeout = Timeout::secs(900), in "1ms"..="24h";
        /// From the start of one attempt to the first byte of its response. A further attempt may follow.
        per_try: Timeout = Timeout::OFF, in "1ms"..="24h";
        /// Between two pieces of a response. A stream that pauses longer is ended with an error event.
        stream_idle: Timeout = Timeout::secs(300), in "1ms"..="24h";
    }
}
