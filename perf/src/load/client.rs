//! Sends requests from one thread: connections that wait for the next one, answers that are judged, and the record.

use std::{
    cell::{Cell, RefCell},
    sync::Arc,
};

use tokio::{
    sync::Mutex,
    time::{Instant, sleep, timeout_at},
};

use super::{
    answer::{AnswerReader, AnswerTokens},
    exchange::{ClientConnection, exchange},
    outcome::{Failure, FailureKind, Outcome},
    plan::Plan,
    record::Recorder,
    shared::{Phase, Shared},
    target::Protocol,
    workload::{PreparedRequest, Session},
};

/// One thread's client.
pub(super) struct Client {
    shared: Arc<Shared>,
    /// HTTP/1.1 connections without a request.
    idle: RefCell<Vec<ClientConnection>>,
    /// HTTP/2 connections, which are shared.
    streams: Vec<Mutex<Option<ClientConnection>>>,
    next_stream: Cell<usize>,
    readers: RefCell<Vec<AnswerReader>>,
    recorder: RefCell<Recorder>,
}

impl Client {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        let plan = &shared.plan;
        let streams = (0..plan.h2_connections).map(|_| Mutex::new(None)).collect();
        let recorder = RefCell::new(Recorder::new(shared.began, plan.slo, plan.keeps_rows));
        Self {
            idle: RefCell::default(),
            streams,
            next_stream: Cell::new(0),
            readers: RefCell::default(),
            recorder,
            shared,
        }
    }

    pub(super) fn into_record(self) -> Recorder {
        self.recorder.into_inner()
    }

    /// Counts a request that could not be begun in time.
    pub(super) fn not_sent(&self, intended: Instant, is_measured: bool) {
        let now = Instant::now();
        if is_measured {
            let failure = Failure::new(FailureKind::NotSent, "the generator was too far behind");
            self.recorder.borrow_mut().record(&unanswered(0, intended, now, now, failure), &[]);
        }
    }

    /// Sends a request and, in a conversation, those that follow it.
    pub(super) async fn converse(&self, number: u64, intended: Instant, is_measured: bool) {
        let Some(mut request) = self.shared.plan.workload.request(number) else { return };
        let mut intended = intended;
        while let Some((session, answer)) = self.perform(&mut request, intended, is_measured).await {
            let Some((think, next)) = self.shared.plan.workload.follow_up(session, answer) else { return };
            sleep(think).await;
            if matches!(self.shared.phase(), Phase::Draining | Phase::Cutting) {
                return;
            }
            request = next;
            intended = Instant::now();
        }
    }

    /// Sends one request. Returns its conversation and the answer, if there is one that can go on.
    async fn perform(
        &self,
        request: &mut PreparedRequest,
        intended: Instant,
        is_measured: bool,
    ) -> Option<(Session, String)> {
        let shared = &self.shared;
        let mut reader = self.readers.borrow_mut().pop().unwrap_or_else(AnswerReader::new);
        let session = request.session.take();
        let sent = Instant::now();
        shared.counters.begin();
        let deadline = intended + shared.plan.timeout;
        let attempt = timeout_at(deadline, self.attempt(request, &mut reader, session.is_some()));
        let result = if shared.plan.cuts {
            tokio::select! {
                result = attempt => Some(result),
                () = shared.cut() => None,
            }
        } else {
            Some(attempt.await)
        };
        let ended = Instant::now();
        let result = result.map(|result| {
            result.unwrap_or_else(|_| {
                Err(Failure::new(FailureKind::Timeout, format!("no answer within {:?}", shared.plan.timeout)))
            })
        });
        shared.counters.end(matches!(result, Some(Ok(_))), shared.phase());
        let is_answered = matches!(result, Some(Ok(_)));
        if is_measured {
            let mut recorder = self.recorder.borrow_mut();
            match result {
                None => recorder.cut += 1,
                Some(Err(failure)) => {
                    recorder.record(&unanswered(request.input_tokens, intended, sent, ended, failure), &[]);
                }
                Some(Ok(found)) => {
                    recorder
                        .record(&answered(request, intended, sent, ended, &reader, &found), reader.gaps());
                }
            }
        }
        let answer = reader.take_text();
        self.readers.borrow_mut().push(reader);
        Some((*session.filter(|_| is_answered)?, answer?))
    }

    /// One try, and another on a fresh connection where the first had been closed while it was idle.
    async fn attempt(
        &self,
        request: &PreparedRequest,
        reader: &mut AnswerReader,
        keeps_text: bool,
    ) -> Result<AnswerTokens, Failure> {
        let shared = &self.shared;
        loop {
            let (mut connection, slot) = self.connection().await?;
            reader.begin(request.expected, keeps_text);
            let on_tokens = |count| shared.counters.tokens(count, shared.phase());
            match exchange(&mut connection, &shared.plan.template, request, reader, on_tokens).await {
                Ok(()) => {
                    self.give_back(connection, slot);
                    return reader.end();
                }
                Err(_) if connection.was_stale() => {
                    self.recorder.borrow_mut().resent += 1;
                    // Others of its age are likely to be closed too.
                    self.idle.borrow_mut().clear();
                }
                Err(failure) => return Err(failure),
            }
        }
    }

    /// A connection, and the slot it is shared from.
    async fn connection(&self) -> Result<(ClientConnection, Option<usize>), Failure> {
        let plan: &Plan = &self.shared.plan;
        if plan.target.protocol == Protocol::Http2 {
            let slot = self.next_stream.get() % self.streams.len();
            self.next_stream.set(slot + 1);
            let mut shared = self.streams[slot].lock().await;
            if !shared.as_ref().is_some_and(ClientConnection::is_reusable) {
                *shared = Some(ClientConnection::open(&plan.target).await?);
            }
            let connection = shared.as_ref().and_then(ClientConnection::share);
            return connection
                .map(|connection| (connection, Some(slot)))
                .ok_or_else(|| Failure::new(FailureKind::Protocol, "a connection that cannot be shared"));
        }
        let idle = if plan.new_connections { None } else { self.idle.borrow_mut().pop() };
        match idle {
            Some(connection) => Ok((connection, None)),
            None => Ok((ClientConnection::open(&plan.target).await?, None)),
        }
    }

    fn give_back(&self, connection: ClientConnection, slot: Option<usize>) {
        if slot.is_none() && !self.shared.plan.new_connections && connection.is_reusable() {
            self.idle.borrow_mut().push(connection);
        }
    }
}

fn unanswered(
    input_tokens: u64,
    intended: Instant,
    sent: Instant,
    ended: Instant,
    failure: Failure,
) -> Outcome {
    Outcome {
        intended,
        sent,
        ended,
        first_token: None,
        last_token: None,
        input_tokens,
        output_tokens: 0,
        failure: Some(failure),
    }
}

fn answered(
    request: &PreparedRequest,
    intended: Instant,
    sent: Instant,
    ended: Instant,
    reader: &AnswerReader,
    found: &AnswerTokens,
) -> Outcome {
    Outcome {
        intended,
        sent,
        ended,
        first_token: reader.first_token(),
        last_token: reader.last_token(),
        input_tokens: found.input_tokens.unwrap_or(request.input_tokens),
        output_tokens: found.output_tokens,
        failure: None,
    }
}
