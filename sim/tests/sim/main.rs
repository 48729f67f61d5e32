//! The simulator over real sockets: what a gateway in front of it would see.

#![expect(clippy::unwrap_used, reason = "a test that panics is a test that fails")]

mod client;
mod faults;
mod inference;
mod issuing;
mod life;
mod providers;
mod sink;
mod testupstream;
mod tls;

use penstock_sim::{Handle, Sim, options::Options};

const MODEL: &str = "meta-llama/Llama-3.1-8B-Instruct";

async fn start(options: Options) -> Handle {
    Sim::start(options).await.unwrap()
}
