//! One run: a workload, servers, gateways with one policy, and what came of it.
//!
//! Everything happens in one thread in the order of virtual time, and of creation within one moment; all chance comes
//! from the seed. So the same run gives the same records, bit by bit.

use std::{cmp::Reverse, collections::BinaryHeap, sync::Arc, time::Duration};

use penstock_picker::simulation::{Budget, ManualClock, Pace, Pause, ScrapeOutcome, jittered, seed_thread};

use super::{
    measure::{Outcome, Record},
    model::ModelSpec,
    policy::{self, Policy, PolicyConfig, RoutingRequest, Scraping, UnknownPolicy},
    request::{BLOCK_TOKENS, Random, Request},
    server::{Gauges, Progress, Sequence, Server},
    workload::{PoolChange, Workload},
};

/// What a scrape takes from asking to having read the page.
const SCRAPE: Duration = Duration::from_millis(2);

/// What a run is made of, the workload aside.
#[derive(Debug, Clone)]
pub(crate) struct RunConfig {
    pub(crate) model: ModelSpec,
    pub(crate) gateways: u32,
    pub(crate) slo_ttft_ns: f64,
    pub(crate) seed: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// A server's plan ends.
    Step { server: usize, version: u64 },
    /// A gateway asks for a metrics page.
    Scrape { gateway: usize, server: usize, version: u64 },
    /// The page is read.
    Sample { gateway: usize, server: usize },
    /// The pool changes.
    PoolChange { number: usize },
}

struct Gateway {
    policy: Box<dyn Policy>,
    /// By server.
    scrapes: Vec<Scrape>,
}

/// A gateway's view of one server's metrics page.
struct Scrape {
    pace: Option<Pace>,
    /// The page that is on its way.
    page: Gauges,
    was_busy: bool,
    /// Counts pauses, so that one that was cut short can be told.
    version: u64,
    /// From when a request ends the pause.
    wakes_at: Option<u64>,
}

struct World {
    clock: ManualClock,
    now_ns: u64,
    events: BinaryHeap<Reverse<(u64, u64, Event)>>,
    created: u64,
    servers: Vec<Server>,
    gateways: Vec<Gateway>,
    /// The gateway that serves each request, in order of arrival.
    sent_by: Vec<u32>,
    changes: Vec<PoolChange>,
    outcome: Outcome,
    random: Random,
    progress: Vec<Progress>,
    unfinished: usize,
}

/// Runs `workload` with gateways of that policy.
pub(crate) fn run(config: &RunConfig, policy: &str, workload: &Workload) -> Result<Outcome, UnknownPolicy> {
    seed_thread(config.seed);
    let clock = ManualClock::default();
    let model = |server: usize| config.model.slowed(workload.slowdown(server));
    let servers: Vec<Server> = (0..workload.servers()).map(|server| Server::new(model(server))).collect();
    let mut gateways = Vec::new();
    for number in 0..config.gateways {
        let policy_config = PolicyConfig {
            clock: clock.clone(),
            seed: config.seed.wrapping_mul(31).wrapping_add(u64::from(number)),
            blocks: (config.model.kv_tokens / BLOCK_TOKENS) as usize,
            token_ns: config.model.token_ns,
            slo_ttft_ns: config.slo_ttft_ns,
            replicas: config.gateways,
        };
        let mut policy = policy::make(policy, &policy_config)?;
        policy.set_members(&workload.members());
        let budget = Arc::new(Budget::default());
        let scrapes = servers.iter().map(|_| Scrape::new(policy.scraping_mode(), &budget)).collect();
        gateways.push(Gateway { policy, scrapes });
    }
    let mut world = World {
        clock,
        now_ns: 0,
        events: BinaryHeap::new(),
        created: 0,
        servers,
        gateways,
        sent_by: Vec::new(),
        changes: workload.changes(),
        outcome: Outcome::default(),
        random: Random::new(config.seed ^ 0x5eed),
        progress: Vec::new(),
        unfinished: 0,
    };
    world.schedule_first();
    world.run(workload.requests());
    Ok(world.end())
}

impl World {
    fn schedule_first(&mut self) {
        for number in 0..self.changes.len() {
            self.at(self.changes[number].at_ns, Event::PoolChange { number });
        }
        for gateway in 0..self.gateways.len() {
            let first = match self.gateways[gateway].policy.scraping_mode() {
                Scraping::Never => continue,
                Scraping::Every(interval) | Scraping::Adaptive(interval, _) => interval.as_nanos() as f64,
            };
            for server in 0..self.servers.len() {
                let at_ns = (first * self.random.unit()) as u64;
                self.at(at_ns, Event::Scrape { gateway, server, version: 0 });
            }
        }
    }

    fn run(&mut self, requests: impl Iterator<Item = Request>) {
        let mut requests = requests.peekable();
        loop {
            let next = self.events.peek().map(|Reverse((at_ns, ..))| *at_ns);
            match (requests.peek().map(|request| request.at_ns), next) {
                (None, _) if self.unfinished == 0 => return,
                (Some(arrival), next) if next.is_none_or(|next| arrival <= next) => {
                    let Some(request) = requests.next() else { return };
                    self.advance_clock(arrival);
                    self.arrive(&request);
                }
                _ => {
                    let Some(Reverse((at_ns, _, event))) = self.events.pop() else { return };
                    self.advance_clock(at_ns);
                    self.handle(event);
                }
            }
        }
    }

    fn end(mut self) -> Outcome {
        self.outcome.busy_ns = self.servers.iter().map(|server| server.busy_ns).collect();
        self.outcome.preemptions = self.servers.iter().map(|server| server.preemptions).sum();
        self.outcome
    }

    fn advance_clock(&mut self, at_ns: u64) {
        self.now_ns = at_ns;
        self.clock.set_ns(at_ns);
    }

    fn at(&mut self, at_ns: u64, event: Event) {
        self.created += 1;
        self.events.push(Reverse((at_ns, self.created, event)));
    }

    fn arrive(&mut self, request: &Request) {
        let id = self.sent_by.len();
        let gateway = self.random.below(self.gateways.len());
        let mut hashes = Vec::with_capacity(request.full_blocks());
        request.hashes(&mut hashes);
        let longest = self.servers.first().map_or(0, Server::longest_context);
        let routing = RoutingRequest { id, hashes: &hashes, prompt_tokens: request.prompt_tokens };
        let fits = request.prompt_tokens.saturating_add(request.output_tokens) <= longest;
        let picked = if fits { self.gateways[gateway].policy.pick(&routing) } else { None };
        self.sent_by.push(gateway as u32);
        let mut record = Record::new(request, picked);
        let Some(server) = picked else {
            record.finished_ns = 0;
            self.outcome.refused += 1;
            self.outcome.records.push(record);
            return;
        };
        self.outcome.records.push(record);
        self.unfinished += 1;
        self.wake(gateway, server);
        let sequence = Sequence::new(id, request.prompt_tokens, request.output_tokens, hashes);
        if let Some(at_ns) = self.servers[server].enqueue(self.now_ns, sequence) {
            let version = self.servers[server].version();
            self.at(at_ns, Event::Step { server, version });
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Step { server, version } => self.step(server, version),
            Event::Scrape { gateway, server, version } => self.scrape(gateway, server, version),
            Event::Sample { gateway, server } => self.sample(gateway, server),
            Event::PoolChange { number } => {
                let members = self.changes[number].members.clone();
                for gateway in &mut self.gateways {
                    gateway.policy.set_members(&members);
                }
            }
        }
    }

    fn step(&mut self, server: usize, version: u64) {
        if self.servers[server].version() != version {
            return;
        }
        let mut progress = std::mem::take(&mut self.progress);
        let next = self.servers[server].advance(self.now_ns, &mut progress);
        if let Some(at_ns) = next {
            let version = self.servers[server].version();
            self.at(at_ns, Event::Step { server, version });
        }
        for progress in progress.drain(..) {
            match progress {
                Progress::First { id, cached } => {
                    let record = &mut self.outcome.records[id];
                    (record.first_ns, record.cached) = (self.now_ns, cached);
                    self.gateways[self.sent_by[id] as usize].policy.first_token(id);
                }
                Progress::Finished { id } => {
                    self.outcome.records[id].finished_ns = self.now_ns;
                    self.gateways[self.sent_by[id] as usize].policy.finished(id);
                    self.unfinished -= 1;
                }
            }
        }
        self.progress = progress;
    }

    fn scrape(&mut self, gateway: usize, server: usize, version: u64) {
        let Gateway { policy, scrapes } = &mut self.gateways[gateway];
        let scrape = &mut scrapes[server];
        if scrape.version != version {
            return;
        }
        self.outcome.scrapes += 1;
        scrape.was_busy = policy.scrape_began(server);
        scrape.page = self.servers[server].gauges(self.now_ns);
        scrape.wakes_at = None;
        self.at(self.now_ns + SCRAPE.as_nanos() as u64, Event::Sample { gateway, server });
    }

    fn sample(&mut self, gateway: usize, server: usize) {
        let unit = self.random.unit();
        let Gateway { policy, scrapes } = &mut self.gateways[gateway];
        let scrape = &mut scrapes[server];
        policy.scrape_ended(server, scrape.page);
        let pause = match policy.scraping_mode() {
            Scraping::Never => return,
            Scraping::Every(interval) => Pause { length: interval.saturating_sub(SCRAPE), wakes_after: None },
            Scraping::Adaptive(..) => {
                let Some(pace) = &mut scrape.pace else { return };
                let is_occupied = scrape.page.waiting > 0 || scrape.page.running > 0;
                let pause = pace.next(ScrapeOutcome::Load { took: SCRAPE, is_occupied }, scrape.was_busy);
                Pause { length: jittered(pause.length, unit), ..pause }
            }
        };
        scrape.version += 1;
        let wakes_at = pause.wakes_after.map(|after| self.now_ns + after.as_nanos() as u64);
        scrape.wakes_at = wakes_at;
        let version = scrape.version;
        self.at(self.now_ns + pause.length.as_nanos() as u64, Event::Scrape { gateway, server, version });
    }

    /// A request ends the pause of an idle server's scraping.
    fn wake(&mut self, gateway: usize, server: usize) {
        let scrape = &mut self.gateways[gateway].scrapes[server];
        let Some(wakes_at) = scrape.wakes_at.take() else { return };
        scrape.version += 1;
        let version = scrape.version;
        self.at(self.now_ns.max(wakes_at), Event::Scrape { gateway, server, version });
    }
}

impl Scrape {
    fn new(scraping: Scraping, budget: &Arc<Budget>) -> Self {
        let pace = match scraping {
            Scraping::Adaptive(min, max) => Some(Pace::new(min, max, Arc::clone(budget))),
            _ => None,
        };
        Self { pace, page: Gauges::default(), was_busy: false, version: 0, wakes_at: None }
    }
}

#[cfg(test)]
mod tests;
