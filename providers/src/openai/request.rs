//! Requests: read from clients, and written for upstreams.

mod read;
mod write;

pub(crate) use self::read::read;
pub(crate) use self::write::{Upstream, write};

#[cfg(test)]
mod tests;
