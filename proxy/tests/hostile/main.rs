//! The gateway against clients and upstreams that mean harm, over raw sockets and the whole request path.
//!
//! Each file is one kind of attack. [`gate`] puts a gateway between a client that writes any bytes ([`wire`]) and
//! an upstream that is either simulated or answers whatever it likes ([`villain`]).

#![expect(clippy::unwrap_used, reason = "a test that panics is a test that fails")]

mod admin;
mod body;
mod framing;
mod gate;
mod h2;
#[path = "../harness/mod.rs"]
mod harness;
mod hoarding;
mod leaving;
mod limits;
mod linger;
mod target;
mod upstream;
mod upstream_h2;
mod villain;
mod wire;
