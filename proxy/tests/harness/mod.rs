//! The integration harness: the real gateway in this process, clients that speak HTTP/1.1 and h2c, and upstreams.
//!
//! Model servers are `penstock_sim`; [`RawServer`] does byte for byte what the simulator cannot be told to do.
//! Everything listens on port 0. Nothing sleeps: a test waits for what it wants to see, for [`PATIENCE`] at most, so
//! that what never comes is a failure with a name and not a run that hangs. Panics do not get lost: those of tasks come
//! out of `join`, those of the gateway out of [`Gateway::stop`].

#![allow(dead_code, unused_imports, reason = "each test binary uses a part of it")]

mod client;
mod gateway;
mod load;
mod raw;
mod server;
mod tasks;

pub(crate) use client::{
    Body, Client, Protocol, Reply, Stream, body, chunked, chunked_forever, get, post, post_json, request,
};
pub(crate) use gateway::{Gateway, compile};
pub(crate) use load::Load;
pub(crate) use raw::{RawClient, RawReply};
pub(crate) use server::{RawConnection, RawServer, RefusedPort, SilentPort};
pub(crate) use tasks::{Task, eventually, spawn, within};

use std::time::Duration;

use penstock_sim::{Handle, Sim, options::Options, record::Stats};
use serde_json::{Value, json};

/// How long a test waits for something before it gives up. Only a failing test ever waits as long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The model that simulators serve unless told otherwise.
pub(crate) const MODEL: &str = "meta-llama/Llama-3.1-8B-Instruct";

/// A simulated model server with this model.
pub(crate) async fn sim(model: &str) -> Handle {
    sim_with(Options { model: model.to_owned(), ..Options::default() }).await
}

/// A simulated model server.
pub(crate) async fn sim_with(options: Options) -> Handle {
    Sim::start(options).await.unwrap()
}

/// As many simulated servers of [`MODEL`].
pub(crate) async fn sims<const N: usize>() -> [Handle; N] {
    let mut handles = Vec::with_capacity(N);
    for _ in 0..N {
        handles.push(sim(MODEL).await);
    }
    handles.try_into().unwrap_or_else(|_| unreachable!("as many as were asked for"))
}

/// Waits until a simulator's counters fulfil `condition`.
pub(crate) async fn until(server: &Handle, condition: impl Fn(&Stats) -> bool) -> Stats {
    within("the simulator's counters", server.until(condition)).await
}

/// A chat request.
pub(crate) fn chat(model: &str, stream: bool) -> Value {
    json!({
        "model": model,
        "stream": stream,
        "max_tokens": 8,
        "messages": [{"role": "user", "content": "Why is the sky blue?"}],
    })
}

/// A pool of these endpoints, without scraping: tests that want it say so.
pub(crate) fn pool(name: &str, endpoints: &[std::net::SocketAddr]) -> Value {
    let endpoints: Vec<Value> =
        endpoints.iter().map(|address| json!({"address": address.to_string()})).collect();
    json!({"name": name, "endpoints": endpoints, "metrics": {"enabled": false}})
}

/// A backend of these endpoints.
pub(crate) fn backend(name: &str, endpoints: &[std::net::SocketAddr]) -> Value {
    let endpoints: Vec<Value> = endpoints
        .iter()
        .map(|address| json!({"host": address.ip().to_string(), "port": address.port()}))
        .collect();
    json!({"name": name, "endpoints": endpoints})
}

/// `base` with the members of `changes` put over it, object by object.
pub(crate) fn with(mut base: Value, changes: Value) -> Value {
    merge(&mut base, changes);
    base
}

fn merge(base: &mut Value, changes: Value) {
    match (base, changes) {
        (Value::Object(base), Value::Object(changes)) => {
            for (name, change) in changes {
                merge(base.entry(name).or_insert(Value::Null), change);
            }
        }
        (base, change) => *base = change,
    }
}
