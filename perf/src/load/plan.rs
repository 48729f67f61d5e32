//! A run, decided in all its parts: what [`super::flags`] makes of the command line.

use std::{sync::Arc, time::Duration};

use super::{
    arrival::{Rate, Spacing},
    exchange::RequestTemplate,
    target::Target,
    workload::Workload,
};
use crate::report::schema::Slo;

/// How requests are begun.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Mode {
    /// So many users, each of whom asks again when answered.
    Closed {
        /// Users.
        concurrency: usize,
    },
    /// At times that do not depend on answers.
    Open {
        /// Which times.
        times: Times,
        /// Requests in flight at most; those that wait for it grow older meanwhile.
        max_concurrency: Option<usize>,
    },
}

/// The times of an open loop.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Times {
    /// An arrival process.
    Process(Rate, Spacing),
    /// The trace's own.
    Trace,
}

/// A run.
#[derive(Clone)]
pub(crate) struct Plan {
    pub(crate) target: Target,
    pub(crate) template: Arc<RequestTemplate>,
    pub(crate) workload: Workload,
    pub(crate) mode: Mode,
    /// A connection for each request, HTTP/1.1 only.
    pub(crate) new_connections: bool,
    /// Connections of each thread over HTTP/2.
    pub(crate) h2_connections: usize,
    pub(crate) warmup: Duration,
    pub(crate) duration: Option<Duration>,
    pub(crate) requests: Option<u64>,
    /// For one request, from its intended time of sending to the end of its answer.
    pub(crate) timeout: Duration,
    /// Cut off what is in flight when the time is over, instead of waiting for it.
    pub(crate) cuts: bool,
    pub(crate) threads: usize,
    pub(crate) slo: Slo,
    pub(crate) keeps_rows: bool,
    /// Processes under test.
    pub(crate) accounts: Vec<u32>,
    pub(crate) is_quiet: bool,
}
