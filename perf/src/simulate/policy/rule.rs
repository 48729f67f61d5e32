//! Policies that go by what the gateway sent, without the picker.

use super::{Policy, PolicyConfig, RoutingRequest, Scraping, sent_load::SentLoad};
use crate::simulate::{
    request::{BLOCK_TOKENS, Random, mix},
    server::Gauges,
};

/// Tokens from the prompt's head that stand for it where a policy hashes it. Shorter ones make all conversations
/// behind one system prompt the same; KubeAI's default of 100 characters would.
const HEAD_TOKENS: u32 = 1024;
/// How much more than the mean a server may have with bounded loads (KubeAI's `meanLoadFactor`).
const LOAD_FACTOR: f64 = 1.25;

/// A rule that chooses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule {
    Random,
    RoundRobin,
    LeastRequest,
    PowerOfTwo,
    ConsistentHash,
    Lmetric,
    DualMap,
}

/// A gateway that goes by a rule.
#[derive(Debug)]
pub(super) struct RulePolicy {
    rule: Rule,
    load: SentLoad,
    random: Random,
    turn: usize,
    token_ns: f64,
    slo_ttft_ns: f64,
}

impl Rule {
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "random" => Self::Random,
            "round-robin" => Self::RoundRobin,
            "least-request" => Self::LeastRequest,
            "p2c" => Self::PowerOfTwo,
            "consistent-hash" => Self::ConsistentHash,
            "lmetric" => Self::Lmetric,
            "dualmap" => Self::DualMap,
            _ => return None,
        })
    }

    fn uses_prefixes(self) -> bool {
        matches!(self, Self::Lmetric | Self::DualMap)
    }
}

impl RulePolicy {
    pub(super) fn new(rule: Rule, config: &PolicyConfig) -> Self {
        Self {
            rule,
            load: SentLoad::new(config.blocks),
            random: Random::new(config.seed),
            // Gateways that start together would otherwise send to the same server at the same time.
            turn: config.seed as usize % 997,
            token_ns: config.token_ns,
            slo_ttft_ns: config.slo_ttft_ns,
        }
    }

    fn choose(&mut self, request: &RoutingRequest<'_>) -> Option<usize> {
        let count = self.load.members.len();
        if count == 0 {
            return None;
        }
        let at = |place: usize| self.load.members[place % count];
        Some(match self.rule {
            Rule::Random => at(self.random.below(count)),
            Rule::RoundRobin => {
                self.turn += 1;
                at(self.turn)
            }
            Rule::LeastRequest => self.least(|load, server| f64::from(load.of(server).requests)),
            Rule::PowerOfTwo => {
                let first = self.random.below(count);
                let second = (first + 1 + self.random.below(count - 1)) % count;
                let requests = |place: usize| self.load.of(self.load.members[place]).requests;
                self.load.members[if requests(second) < requests(first) { second } else { first }]
            }
            Rule::ConsistentHash => self.bounded(head(request)),
            Rule::Lmetric => self.least(|load, server| {
                let sent = load.of(server);
                // The request is in the batch that it makes: an idle server's product would be 0 otherwise.
                (sent.prefill + load.uncached(server, request)) as f64 * f64::from(sent.requests + 1)
            }),
            Rule::DualMap => self.dual(request),
        })
    }

    /// The server of the least cost, any of several.
    fn least(&mut self, cost: impl Fn(&SentLoad, usize) -> f64) -> usize {
        let (mut best, mut least, mut ties) = (self.load.members[0], f64::INFINITY, 0);
        for server in &self.load.members {
            let cost = cost(&self.load, *server);
            if cost < least {
                (best, least, ties) = (*server, cost, 1);
            } else if cost == least {
                ties += 1;
                if self.random.below(ties) == 0 {
                    best = *server;
                }
            }
        }
        best
    }

    /// The first server on the key's way that has not much more than the mean.
    fn bounded(&self, key: u64) -> usize {
        let members = &self.load.members;
        let total: u32 = members.iter().map(|server| self.load.of(*server).requests).sum();
        let bound = (f64::from(total + 1) / members.len() as f64 * LOAD_FACTOR).ceil();
        let fits = |server: &&usize| f64::from(self.load.of(**server).requests) < bound;
        let rank = |server: &&usize| mix(key ^ mix(**server as u64));
        members.iter().filter(fits).max_by_key(rank).copied().unwrap_or(members[0])
    }

    /// The better cached of two candidates, unless it is late and the other is not as much.
    fn dual(&self, request: &RoutingRequest<'_>) -> usize {
        let key = head(request);
        let by_rank = |salt: u64| {
            let rank = move |server: &&usize| mix(key ^ mix(**server as u64 ^ salt));
            self.load.members.iter().max_by_key(rank).copied()
        };
        let one = by_rank(0x1111).unwrap_or(self.load.members[0]);
        let other = by_rank(0x2222_0000).unwrap_or(one);
        let new = |server| self.load.uncached(server, request);
        let ttft_ns = |server| (self.load.of(server).prefill + new(server)) as f64 * self.token_ns;
        let later = |server: usize| (ttft_ns(server), self.load.of(server).requests);
        let (better, worse) = match new(one).cmp(&new(other)) {
            std::cmp::Ordering::Less => (one, other),
            std::cmp::Ordering::Greater => (other, one),
            std::cmp::Ordering::Equal if later(other) < later(one) => (other, one),
            std::cmp::Ordering::Equal => (one, other),
        };
        if ttft_ns(better) > self.slo_ttft_ns && ttft_ns(worse) < ttft_ns(better) { worse } else { better }
    }
}

impl Policy for RulePolicy {
    fn pick(&mut self, request: &RoutingRequest<'_>) -> Option<usize> {
        if self.rule.uses_prefixes() {
            self.load.look_up(request);
        }
        let server = self.choose(request)?;
        self.load.send(server, request, self.rule.uses_prefixes());
        Some(server)
    }

    fn first_token(&mut self, id: usize) {
        self.load.first_token(id);
    }

    fn finished(&mut self, id: usize) {
        self.load.finished(id);
    }

    fn scrape_began(&mut self, _: usize) -> bool {
        false
    }

    fn scrape_ended(&mut self, _: usize, _: Gauges) {}

    fn set_members(&mut self, servers: &[usize]) {
        self.load.join(servers);
    }

    fn scraping_mode(&self) -> Scraping {
        Scraping::Never
    }
}

/// What stands for a prompt's head.
fn head(request: &RoutingRequest<'_>) -> u64 {
    let blocks = request.hashes.len().min((HEAD_TOKENS / BLOCK_TOKENS) as usize);
    match blocks {
        // Too short to share anything: any server will do.
        0 => mix(request.id as u64),
        blocks => request.hashes[blocks - 1],
    }
}
