//! Policies that go by what the gateway sent, without the picker.

use super::{Ask, Policy, Scraping, Setting, known::Known};
use crate::simulate::{
    request::{BLOCK_TOKENS, Dice, mix},
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
pub(super) struct Direct {
    rule: Rule,
    known: Known,
    dice: Dice,
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

impl Direct {
    pub(super) fn new(rule: Rule, setting: &Setting) -> Self {
        Self {
            rule,
            known: Known::new(setting.blocks),
            dice: Dice::new(setting.seed),
            // Gateways that start together would otherwise send to the same server at the same time.
            turn: setting.seed as usize % 997,
            token_ns: setting.token_ns,
            slo_ttft_ns: setting.slo_ttft_ns,
        }
    }

    fn choose(&mut self, ask: &Ask<'_>) -> Option<usize> {
        let count = self.known.members.len();
        if count == 0 {
            return None;
        }
        let at = |place: usize| self.known.members[place % count];
        Some(match self.rule {
            Rule::Random => at(self.dice.below(count)),
            Rule::RoundRobin => {
                self.turn += 1;
                at(self.turn)
            }
            Rule::LeastRequest => self.least(|known, server| f64::from(known.sent(server).requests)),
            Rule::PowerOfTwo => {
                let first = self.dice.below(count);
                let second = (first + 1 + self.dice.below(count - 1)) % count;
                let requests = |place: usize| self.known.sent(self.known.members[place]).requests;
                self.known.members[if requests(second) < requests(first) { second } else { first }]
            }
            Rule::ConsistentHash => self.bounded(head(ask)),
            Rule::Lmetric => self.least(|known, server| {
                let sent = known.sent(server);
                // The request is in the batch that it makes: an idle server's product would be 0 otherwise.
                (sent.prefill + known.uncached(server, ask)) as f64 * f64::from(sent.requests + 1)
            }),
            Rule::DualMap => self.dual(ask),
        })
    }

    /// The server of the least cost, any of several.
    fn least(&mut self, cost: impl Fn(&Known, usize) -> f64) -> usize {
        let (mut best, mut least, mut ties) = (self.known.members[0], f64::INFINITY, 0);
        for server in &self.known.members {
            let cost = cost(&self.known, *server);
            if cost < least {
                (best, least, ties) = (*server, cost, 1);
            } else if cost == least {
                ties += 1;
                if self.dice.below(ties) == 0 {
                    best = *server;
                }
            }
        }
        best
    }

    /// The first server on the key's way that has not much more than the mean.
    fn bounded(&self, key: u64) -> usize {
        let members = &self.known.members;
        let total: u32 = members.iter().map(|server| self.known.sent(*server).requests).sum();
        let bound = (f64::from(total + 1) / members.len() as f64 * LOAD_FACTOR).ceil();
        let fits = |server: &&usize| f64::from(self.known.sent(**server).requests) < bound;
        let rank = |server: &&usize| mix(key ^ mix(**server as u64));
        members.iter().filter(fits).max_by_key(rank).copied().unwrap_or(members[0])
    }

    /// The better cached of two candidates, unless it is late and the other is not as much.
    fn dual(&self, ask: &Ask<'_>) -> usize {
        let key = head(ask);
        let by_rank = |salt: u64| {
            let rank = move |server: &&usize| mix(key ^ mix(**server as u64 ^ salt));
            self.known.members.iter().max_by_key(rank).copied()
        };
        let one = by_rank(0x1111).unwrap_or(self.known.members[0]);
        let other = by_rank(0x2222_0000).unwrap_or(one);
        let new = |server| self.known.uncached(server, ask);
        let ttft_ns = |server| (self.known.sent(server).prefill + new(server)) as f64 * self.token_ns;
        let later = |server: usize| (ttft_ns(server), self.known.sent(server).requests);
        let (better, worse) = match new(one).cmp(&new(other)) {
            std::cmp::Ordering::Less => (one, other),
            std::cmp::Ordering::Greater => (other, one),
            std::cmp::Ordering::Equal if later(other) < later(one) => (other, one),
            std::cmp::Ordering::Equal => (one, other),
        };
        if ttft_ns(better) > self.slo_ttft_ns && ttft_ns(worse) < ttft_ns(better) { worse } else { better }
    }
}

impl Policy for Direct {
    fn pick(&mut self, ask: &Ask<'_>) -> Option<usize> {
        if self.rule.uses_prefixes() {
            self.known.look_up(ask);
        }
        let server = self.choose(ask)?;
        self.known.send(server, ask, self.rule.uses_prefixes());
        Some(server)
    }

    fn first_token(&mut self, id: usize) {
        self.known.first_token(id);
    }

    fn finished(&mut self, id: usize) {
        self.known.finished(id);
    }

    fn scraping(&mut self, _: usize) -> bool {
        false
    }

    fn sampled(&mut self, _: usize, _: Gauges) {}

    fn members(&mut self, servers: &[usize]) {
        self.known.join(servers);
    }

    fn learns(&self) -> Scraping {
        Scraping::Never
    }
}

/// What stands for a prompt's head.
fn head(ask: &Ask<'_>) -> u64 {
    let blocks = ask.hashes.len().min((HEAD_TOKENS / BLOCK_TOKENS) as usize);
    match blocks {
        // Too short to share anything: any server will do.
        0 => mix(ask.id as u64),
        blocks => ask.hashes[blocks - 1],
    }
}
