//! Load as a gateway without the picker knows it: from the requests that it sent and the answers to them.

use penstock_picker::prefix::PrefixIndex;
use rustc_hash::FxHashMap;

use super::RoutingRequest;
use crate::simulate::request::BLOCK_TOKENS;

/// What is known of one server.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct ServerLoad {
    /// Requests there.
    pub(super) requests: u32,
    /// Prompt tokens to be computed of requests whose answer has not begun.
    pub(super) prefill: u64,
}

/// What is known of all servers.
#[derive(Debug)]
pub(super) struct SentLoad {
    /// Servers that there are, by number.
    pub(super) members: Vec<usize>,
    servers: Vec<ServerLoad>,
    in_flight: FxHashMap<usize, InFlightRequest>,
    index: PrefixIndex,
    /// Blocks that a server's cache holds.
    blocks: usize,
    /// Blocks of the prompt at hand that each server holds.
    matched: Vec<u32>,
}

#[derive(Debug, Clone, Copy)]
struct InFlightRequest {
    server: usize,
    prefill: u64,
}

impl SentLoad {
    pub(super) fn new(blocks: usize) -> Self {
        Self {
            members: Vec::new(),
            servers: Vec::new(),
            in_flight: FxHashMap::default(),
            index: PrefixIndex::new(),
            blocks,
            matched: Vec::new(),
        }
    }

    pub(super) fn join(&mut self, members: &[usize]) {
        for gone in self.members.iter().filter(|server| !members.contains(server)) {
            self.index.forget(*gone as u16);
        }
        self.members = members.to_vec();
        let count = members.iter().max().map_or(0, |last| last + 1).max(self.servers.len());
        self.servers.resize(count, ServerLoad::default());
    }

    pub(super) fn of(&self, server: usize) -> ServerLoad {
        self.servers[server]
    }

    /// Looks up what each server holds of the prompt.
    pub(super) fn look_up(&mut self, request: &RoutingRequest<'_>) {
        self.matched.clear();
        self.matched.resize(self.servers.len(), 0);
        let chain = self.index.chain("", request.hashes, 1, usize::MAX);
        self.index.matches(&chain, &mut self.matched);
    }

    /// Prompt tokens that a server would have to compute, by the last look-up.
    pub(super) fn uncached(&self, server: usize, request: &RoutingRequest<'_>) -> u64 {
        u64::from(request.prompt_tokens.saturating_sub(self.matched[server] * BLOCK_TOKENS).max(1))
    }

    /// Notes where a request went.
    pub(super) fn send(&mut self, server: usize, request: &RoutingRequest<'_>, uses_prefixes: bool) {
        let prefill = if uses_prefixes {
            let chain = self.index.chain("", request.hashes, 1, usize::MAX);
            self.index.record(&chain, server as u16, self.blocks);
            self.uncached(server, request)
        } else {
            u64::from(request.prompt_tokens)
        };
        let sent = &mut self.servers[server];
        sent.requests += 1;
        sent.prefill += prefill;
        self.in_flight.insert(request.id, InFlightRequest { server, prefill });
    }

    pub(super) fn first_token(&mut self, id: usize) {
        if let Some(request) = self.in_flight.get_mut(&id) {
            self.servers[request.server].prefill -= std::mem::take(&mut request.prefill);
        }
    }

    pub(super) fn finished(&mut self, id: usize) {
        if let Some(request) = self.in_flight.remove(&id) {
            let sent = &mut self.servers[request.server];
            sent.requests -= 1;
            sent.prefill -= request.prefill;
        }
    }
}
