//! The attempts of a request: prepare, exchange, and another one where the first failed.

use std::future::poll_fn;

use bytes::Bytes;
use penstock_wire::{Connection, Connections, Error as WireError, Peers};

use crate::client::Client;
use crate::context::{Arrived, Attempt, Response, Routed};
use crate::error::{Dialect, Error};
use crate::overrides;
use crate::prepare::{self, Prepared, Recipient};
use crate::relay::{self, Exchanged};
use crate::respond;
use crate::retry::{self, Failure, Onward, Replacement};
use crate::runtime::Runtime;
use crate::upstreams::Chosen;

/// Runs attempts, of which the first is chosen, until one was answered, and passes its response on.
///
/// # Errors
/// The request cannot be answered by an upstream, or the response broke off.
pub(crate) async fn run(
    connections: &Connections,
    client: &mut Client<'_>,
    arrived: &mut Arrived,
    routed: &mut Routed,
    attempt: &mut Attempt,
    response: &mut Response,
) -> Result<(), Error> {
    loop {
        match try_once(connections, client, arrived, routed, attempt, response).await {
            Ok(Exchanged::Relayed) => return Ok(()),
            Ok(Exchanged::Overridden(found)) => {
                let reply = overrides::answer(client, arrived, routed, attempt, found)?;
                return Box::pin(respond::reply(client, arrived, response, reply)).await;
            }
            Ok(Exchanged::Dropped(Replacement { attempt: next, back_off })) => {
                *attempt = *next;
                if back_off {
                    retry::back_off(client, arrived, routed).await?;
                }
            }
            Err(failure) => {
                let onward = retry::after(client, arrived, routed, attempt, failure)?;
                if matches!(onward, Onward::Retry(_)) {
                    retry::back_off(client, arrived, routed).await?;
                }
                *attempt = retry::follow(client, arrived, routed, attempt, onward).await?;
            }
        }
    }
}

/// The dialect of the response that the attempt gets: that of the path there, unless a decoder makes it the client's.
pub(crate) fn dialect(arrived: &Arrived, routed: &Routed, attempt: &Attempt) -> Dialect {
    let asked = Dialect::of_path(arrived.target.path());
    if attempt.decoder.is_some() {
        return asked;
    }
    let target =
        prepare::rewritten_path(arrived, recipient(arrived.runtime(), arrived.listener, routed, attempt));
    target.map_or(asked, |target| Dialect::of_path(target.path()))
}

async fn try_once(
    connections: &Connections,
    client: &mut Client<'_>,
    arrived: &mut Arrived,
    routed: &mut Routed,
    attempt: &mut Attempt,
    response: &mut Response,
) -> Result<Exchanged, Failure> {
    let Prepared { outgoing, body, decoder, dropped, hides_usage } = start(client, arrived, routed, attempt)?;
    (attempt.decoder, attempt.dropped, attempt.hides_usage) = (decoder, dropped, hides_usage);
    if attempt.decoder.is_some() {
        // A body that is written anew is there twice.
        attempt.hold(body.iter().map(Bytes::len).sum(), arrived)?;
    }
    let mut connection = connect(connections, client, arrived, routed, attempt).await?;
    let exchanged = match connection.start(outgoing, body) {
        Ok(()) => {
            routed.sent += 1;
            attempt.is_sent = true;
            relay::exchange(&mut connection, client, arrived, routed, attempt, response).await
        }
        Err(error) => Err(error.into()),
    };
    let is_stale = connection.is_stale();
    if matches!(exchanged, Err(Error::UpstreamTimeout | Error::StreamIdle)) {
        connection.distrust();
    }
    connections.release(connection);
    exchanged.map_err(|error| Failure { error, is_stale })
}

/// Starts the attempt: its clock, its account, and what it sends.
fn start(
    client: &Client<'_>,
    arrived: &mut Arrived,
    routed: &mut Routed,
    attempt: &mut Attempt,
) -> Result<Prepared, Error> {
    let runtime = arrived.runtime().clone();
    let prepared = prepare::prepare(client, arrived, recipient(&runtime, arrived.listener, routed, attempt))?;
    let rule = &runtime.snapshot().rules()[routed.rule];
    let upstream = runtime.upstream(attempt.upstream);
    arrived.deadlines.start_attempt(&rule.timeouts, upstream.peers.connection());
    routed.attempts += 1;
    routed.candidates.begin_attempt(attempt.target);
    attempt.start(&upstream.metrics);
    Ok(prepared)
}

/// Whom the attempt is for.
fn recipient<'a>(
    runtime: &'a Runtime,
    listener: usize,
    routed: &Routed,
    attempt: &'a Attempt,
) -> Recipient<'a> {
    let rule = &runtime.snapshot().rules()[routed.rule];
    Recipient {
        rule,
        prefix_length: routed.prefix_length,
        target: Some(&rule.tiers()[attempt.target.0].targets[attempt.target.1]),
        upstream: runtime.upstream(attempt.upstream),
        endpoint: &attempt.endpoint,
        model: attempt.model.as_deref(),
        credential: runtime.rule(routed.rule).credential.as_deref(),
        body_edits: runtime.rule(routed.rule).body_edits(attempt.target),
        asks_for_usage: runtime.counts_usage(listener, rule),
    }
}

async fn connect(
    connections: &Connections,
    client: &mut Client<'_>,
    arrived: &mut Arrived,
    routed: &Routed,
    attempt: &mut Attempt,
) -> Result<Connection, Error> {
    let runtime = arrived.runtime().clone();
    let upstream = runtime.upstream(attempt.upstream);
    let Some(circuit) = attempt.endpoint.circuit().cloned() else {
        let connecting = connection(connections, &upstream.peers, &attempt.endpoint);
        return unless_ended(connecting, client, arrived, routed, attempt).await?.map_err(Error::from);
    };
    let connecting = circuit.connect(connection(connections, &upstream.peers, &attempt.endpoint));
    match unless_ended(connecting, client, arrived, routed, attempt).await? {
        Ok((connection, place)) => {
            place.into_iter().for_each(|place| attempt.endpoint.keep(place));
            Ok(connection)
        }
        Err(error) => {
            if let Error::CircuitOpen { bound } = error {
                upstream.metrics.circuit_open(bound);
            }
            Err(error)
        }
    }
}

fn connection<'a>(
    connections: &'a Connections,
    peers: &'a Peers,
    endpoint: &'a Chosen,
) -> impl Future<Output = Result<Connection, WireError>> + 'a {
    connections.connect(peers, endpoint.address(), endpoint.generation(), endpoint.tls_name())
}

/// Waits for a connection, unless the client, the time or the endpoint is gone before.
async fn unless_ended<T>(
    connecting: impl Future<Output = T>,
    client: &mut Client<'_>,
    arrived: &mut Arrived,
    routed: &Routed,
    attempt: &Attempt,
) -> Result<T, Error> {
    let endpoint = &attempt.endpoint;
    let mut connecting = std::pin::pin!(connecting);
    let mut watches_pool = true;
    loop {
        let deadlines = &mut arrived.deadlines;
        tokio::select! {
            biased;
            connected = &mut connecting => return Ok(connected),
            // A pod that is gone may leave an address behind that never answers: nobody shall wait for that to time out.
            () = endpoint.left(), if watches_pool => {
                if retry::has_other_endpoint(arrived, routed, attempt) {
                    return Err(Error::UpstreamConnect(Some("the endpoint left its pool".into())));
                }
                watches_pool = false;
            }
            gone = client.gone() => return Err(gone),
            error = poll_fn(|cx| deadlines.poll(cx, None)) => return Err(error),
        }
    }
}
