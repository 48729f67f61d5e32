//! Statuses: written when they differ, entry by entry where several controllers share one.
//!
//! What is known from the watch tells whether anything has to be written; what is written is merged into the object as it
//! is at that moment, under its resource version. So nobody else's entries are lost, whoever writes at the same time, and
//! an idle operator writes nothing.

mod gateway;
mod leftover;
mod writer;

pub use gateway::{GatewayFacts, complete};
pub use leftover::leftovers;
pub use writer::{Desired, StatusWriter};
