//! What a gateway without the picker knows: what it sent where, and what came back.

use penstock_picker::prefix::PrefixIndex;
use rustc_hash::FxHashMap;

use super::Ask;
use crate::simulate::request::BLOCK_TOKENS;

/// What is known of one server.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sent {
    /// Requests there.
    pub(super) requests: u32,
    /// Prompt tokens to be computed of requests whose answer has not begun.
    pub(super) prefill: u64,
}

/// What is known of all servers.
#[derive(Debug)]
pub(super) struct Known {
    /// Servers that there are, by number.
    pub(super) members: Vec<usize>,
    servers: Vec<Sent>,
    flights: FxHashMap<usize, Flight>,
    index: PrefixIndex,
    /// Blocks that a server's cache holds.
    blocks: usize,
    /// Blocks of the prompt at hand that each server holds.
    matched: Vec<u32>,
}

#[derive(Debug, Clone, Copy)]
struct Flight {
    server: usize,
    prefill: u64,
}

impl Known {
    pub(super) fn new(blocks: usize) -> Self {
        Self {
            members: Vec::new(),
            servers: Vec::new(),
            flights: FxHashMap::default(),
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
        self.servers.resize(count, Sent::default());
    }

    pub(super) fn sent(&self, server: usize) -> Sent {
        self.servers[server]
    }

    /// Looks up what each server holds of the prompt.
    pub(super) fn look_up(&mut self, ask: &Ask<'_>) {
        self.matched.clear();
        self.matched.resize(self.servers.len(), 0);
        let chain = self.index.chain("", ask.hashes, 1, usize::MAX);
        self.index.matches(&chain, &mut self.matched);
    }

    /// Prompt tokens that a server would have to compute, by the last look-up.
    pub(super) fn uncached(&self, server: usize, ask: &Ask<'_>) -> u64 {
        u64::from(ask.prompt_tokens.saturating_sub(self.matched[server] * BLOCK_TOKENS).max(1))
    }

    /// Notes where a request went.
    pub(super) fn send(&mut self, server: usize, ask: &Ask<'_>, uses_prefixes: bool) {
        let prefill = if uses_prefixes {
            let chain = self.index.chain("", ask.hashes, 1, usize::MAX);
            self.index.record(&chain, server as u16, self.blocks);
            self.uncached(server, ask)
        } else {
            u64::from(ask.prompt_tokens)
        };
        let sent = &mut self.servers[server];
        sent.requests += 1;
        sent.prefill += prefill;
        self.flights.insert(ask.id, Flight { server, prefill });
    }

    pub(super) fn first_token(&mut self, id: usize) {
        if let Some(flight) = self.flights.get_mut(&id) {
            self.servers[flight.server].prefill -= std::mem::take(&mut flight.prefill);
        }
    }

    pub(super) fn finished(&mut self, id: usize) {
        if let Some(flight) = self.flights.remove(&id) {
            let sent = &mut self.servers[flight.server];
            sent.requests -= 1;
            sent.prefill -= flight.prefill;
        }
    }
}
