//! What the phases of one request share with its [`ReplaySession`](crate::session::ReplaySession): the body
//! that is held for replay, the deadlines of the running attempt, and the snapshot that serves the request.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use pingora_core::protocols::http::ServerSession;
use pingora_error::{Error as PingoraError, ErrorType};
use tokio::time::Instant;

use crate::error::Error;
use crate::runtime::Runtime;

/// Held chunks that are together no longer than this are joined, in bytes.
const JOINED_BYTES: usize = 1024;

/// A deadline that passed while an attempt was running.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expiry {
    /// The whole request, over all its attempts, took longer than the route allows.
    Request,
    /// The upstream sent no response header within the time for one attempt.
    Attempt,
    /// The upstream went silent in the middle of its response.
    StreamIdle,
}

/// Memory held by all request bodies in flight, in bytes, and its bound.
#[derive(Debug, Default)]
pub struct BodyMemory {
    held: AtomicUsize,
}

impl BodyMemory {
    /// Bytes that are held now.
    pub fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    fn take(&self, bytes: usize, limit: usize) -> bool {
        let before = self.held.fetch_add(bytes, Ordering::Relaxed);
        if before.saturating_add(bytes) <= limit {
            return true;
        }
        self.held.fetch_sub(bytes, Ordering::Relaxed);
        false
    }

    fn give_back(&self, bytes: usize) {
        self.held.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// One request's shared state; see the module's documentation.
pub struct Exchange {
    runtime: Arc<Runtime>,
    /// The listener that accepted the connection, by its index in the snapshot.
    listener: usize,
    memory: Arc<BodyMemory>,
    draining: Arc<AtomicBool>,
    state: Mutex<State>,
}

struct State {
    held: Vec<Bytes>,
    held_bytes: usize,
    /// What the attempt sends instead of the held chunks, where a rule renames the model.
    outgoing: Option<Vec<Bytes>>,
    is_complete: bool,
    parked: Option<Box<ServerSession>>,
    deadlines: Deadlines,
    expired: Option<Expiry>,
    /// Why the gateway itself ended the request. Pingora's errors carry no types of ours by reference.
    refusal: Option<Error>,
}

/// When the running attempt has to end.
#[derive(Debug, Clone, Copy)]
struct Deadlines {
    request: Option<Instant>,
    attempt: Option<Instant>,
    stream_idle: Option<Duration>,
    last_activity: Instant,
}

impl Exchange {
    /// Starts the exchange of a request that arrived at `listener` and is served by `runtime`.
    pub fn new(
        runtime: Arc<Runtime>,
        listener: usize,
        memory: Arc<BodyMemory>,
        draining: Arc<AtomicBool>,
    ) -> Arc<Self> {
        let deadlines =
            Deadlines { request: None, attempt: None, stream_idle: None, last_activity: Instant::now() };
        let state = State {
            held: Vec::new(),
            held_bytes: 0,
            outgoing: None,
            is_complete: false,
            parked: None,
            deadlines,
            expired: None,
            refusal: None,
        };
        Arc::new(Self { runtime, listener, memory, draining, state: Mutex::new(state) })
    }

    /// The snapshot that serves this request from its start to its end.
    pub fn runtime(&self) -> &Arc<Runtime> {
        &self.runtime
    }

    /// The index of the listener in the snapshot.
    pub fn listener(&self) -> usize {
        self.listener
    }

    /// Whether the gateway is shutting down, so that the connection must not be kept alive.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// How long the client may take for the next piece of its body.
    pub fn body_idle_timeout(&self) -> Duration {
        self.runtime.limits().body_idle_timeout
    }

    /// Ends the request with an error of the gateway's own: keeps it here, and returns what makes Pingora stop.
    pub fn refuse(&self, error: Error) -> Box<PingoraError> {
        self.state.lock().refusal = Some(error);
        carrier()
    }

    /// The error that ended the request, if it was the gateway's own.
    pub fn take_refusal(&self) -> Option<Error> {
        self.state.lock().refusal.take()
    }

    /// Keeps `chunk` for replay.
    ///
    /// # Errors
    /// The body, or all bodies in flight together, would exceed their limit.
    pub fn hold(&self, chunk: Bytes) -> Result<(), Box<PingoraError>> {
        let limits = self.runtime.limits();
        let mut state = self.state.lock();
        let size = state.held_bytes.saturating_add(chunk.len());
        if size > limits.body_bytes {
            state.refusal = Some(Error::BodyTooLarge { limit_bytes: limits.body_bytes });
            return Err(carrier());
        }
        if !self.memory.take(chunk.len(), limits.bodies_in_flight_bytes) {
            state.refusal = Some(Error::BodyMemoryExhausted);
            return Err(carrier());
        }
        state.held_bytes = size;
        keep(&mut state.held, chunk);
        Ok(())
    }

    /// Notes that the body has been read to its end.
    pub fn complete(&self) {
        self.state.lock().is_complete = true;
    }

    /// Whether the body has been read to its end.
    pub fn is_complete(&self) -> bool {
        self.state.lock().is_complete
    }

    /// The chunks as they came from the client. Cheap: reference counts.
    pub fn held(&self) -> Vec<Bytes> {
        self.state.lock().held.clone()
    }

    /// Length of the body as read so far, in bytes.
    pub fn held_bytes(&self) -> usize {
        self.state.lock().held_bytes
    }

    /// Length of what the attempt sends, in bytes.
    pub fn outgoing_bytes(&self) -> usize {
        let state = self.state.lock();
        state.outgoing.as_ref().map_or(state.held_bytes, |chunks| chunks.iter().map(Bytes::len).sum())
    }

    /// What the next attempt sends: `None` for the body as it came.
    pub fn set_outgoing(&self, chunks: Option<Vec<Bytes>>) {
        self.state.lock().outgoing = chunks;
    }

    pub(crate) fn chunk(&self, index: usize) -> Option<Bytes> {
        let state = self.state.lock();
        state.outgoing.as_ref().unwrap_or(&state.held).get(index).cloned()
    }

    pub(crate) fn chunk_count(&self) -> usize {
        let state = self.state.lock();
        state.outgoing.as_ref().unwrap_or(&state.held).len()
    }

    /// Lets go of the body once no attempt can need it again: a long stream must not keep its prompt in memory.
    pub fn release(&self) {
        let mut state = self.state.lock();
        if state.is_complete {
            self.memory.give_back(std::mem::take(&mut state.held_bytes));
            state.held = Vec::new();
            state.outgoing = None;
        }
    }

    /// Lets go of the body because nothing will be tried with it any more.
    pub fn discard(&self) {
        let mut state = self.state.lock();
        self.memory.give_back(std::mem::take(&mut state.held_bytes));
        state.held = Vec::new();
        state.outgoing = None;
    }

    pub(crate) fn park(&self, session: Box<ServerSession>) {
        self.state.lock().parked = Some(session);
    }

    pub(crate) fn take_parked(&self) -> Option<Box<ServerSession>> {
        self.state.lock().parked.take()
    }

    /// Sets when the request has to be over, whatever is tried for it.
    pub fn set_request_deadline(&self, at: Option<Instant>) {
        self.state.lock().deadlines.request = at;
    }

    /// Whether the request has to be over.
    pub fn is_out_of_time(&self, now: Instant) -> bool {
        self.state.lock().deadlines.request.is_some_and(|at| at <= now)
    }

    /// Starts the clock of one attempt: time to its response header, and silence allowed after it.
    pub fn start_attempt(&self, per_try: Option<Duration>, stream_idle: Option<Duration>) {
        let now = Instant::now();
        let mut state = self.state.lock();
        state.deadlines.attempt = per_try.map(|limit| now + limit);
        state.deadlines.stream_idle = stream_idle;
        state.deadlines.last_activity = now;
        state.expired = None;
    }

    /// Stops the clock of the attempt: what comes before the next one does not count against it.
    pub fn end_attempt(&self) {
        self.state.lock().deadlines.attempt = None;
    }

    /// Notes that response bytes arrived.
    pub fn touch(&self, now: Instant) {
        self.state.lock().deadlines.last_activity = now;
    }

    /// The deadline that ended the attempt, if one did.
    pub fn expired(&self) -> Option<Expiry> {
        self.state.lock().expired
    }

    pub(crate) fn next_deadline(&self, is_answered: bool) -> Option<Instant> {
        self.state.lock().deadlines.next(is_answered)
    }

    pub(crate) fn expire(&self, is_answered: bool) {
        let now = Instant::now();
        let mut state = self.state.lock();
        let is_request = state.deadlines.request.is_some_and(|at| at <= now);
        state.expired = Some(match (is_request, is_answered) {
            (true, _) => Expiry::Request,
            (false, true) => Expiry::StreamIdle,
            (false, false) => Expiry::Attempt,
        });
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.memory.give_back(self.state.get_mut().held_bytes);
    }
}

impl Deadlines {
    fn next(&self, is_answered: bool) -> Option<Instant> {
        let phase =
            if is_answered { self.stream_idle.map(|idle| self.last_activity + idle) } else { self.attempt };
        match (self.request, phase) {
            (Some(request), Some(phase)) => Some(request.min(phase)),
            (request, phase) => request.or(phase),
        }
    }
}

/// Adds a chunk to those held. Small ones are joined: each costs many times its length beside its bytes, and a client
/// that cuts its body into single bytes would take up far more memory than is counted.
fn keep(held: &mut Vec<Bytes>, chunk: Bytes) {
    if chunk.is_empty() {
        return;
    }
    match held.last_mut() {
        Some(last) if last.len() + chunk.len() <= JOINED_BYTES => {
            let mut joined = Vec::with_capacity(JOINED_BYTES);
            joined.extend_from_slice(last);
            joined.extend_from_slice(&chunk);
            *last = Bytes::from(joined);
        }
        _ => held.push(chunk),
    }
}

/// What Pingora sees of a refusal.
fn carrier() -> Box<PingoraError> {
    PingoraError::explain(ErrorType::Custom("refused"), "the gateway refused the request").into_in()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_in_single_bytes_is_held_in_few_chunks() {
        let mut held = Vec::new();
        for byte in 0..100_000u32 {
            keep(&mut held, Bytes::copy_from_slice(&[byte as u8]));
            keep(&mut held, Bytes::new());
        }
        assert!(held.len() <= 100_000 / JOINED_BYTES + 1, "{}", held.len());
        let body = held.concat();
        assert!(body.iter().enumerate().all(|(at, byte)| *byte == at as u8) && body.len() == 100_000);
    }

    #[test]
    fn large_chunks_are_held_as_they_come() {
        let chunk = Bytes::from(vec![1; 4096]);
        let mut held = Vec::new();
        keep(&mut held, chunk.clone());
        keep(&mut held, chunk.clone());
        assert_eq!(held.len(), 2);
        assert_eq!(held[1].as_ptr(), chunk.as_ptr());
    }
}
