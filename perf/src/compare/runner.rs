//! Goes through scenarios, repeats and peers, and keeps what each measurement found.

use std::{
    collections::BTreeSet,
    env, fs, io,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use super::{
    Error,
    install::{Installed, install},
    machine::Machine,
    peer::Peer,
    scenario::{Pressure, Scenario},
    stack::{Cores, Gateway, Upstream, certificate, models, pinned},
    summary::{COMPARE_SCHEMA, Comparison, MissingPeer, PeerVersion, Run},
    template::Tls,
};
use crate::report::schema::Report;

/// What is sent before each measurement is not measured, for so long.
const WARMUP: &str = "500ms";

/// How many scenarios one start of a gateway serves. More of them would part the gateways' turns at a scenario by
/// minutes, in which a machine that is shared becomes another one.
const STRETCH: usize = 5;

/// A comparison, decided in all its parts.
pub(super) struct Plan {
    pub(super) scenarios: Vec<Scenario>,
    pub(super) peers: Vec<Peer>,
    pub(super) repeats: usize,
    pub(super) duration: Duration,
    pub(super) rate: f64,
    pub(super) cores: Cores,
    pub(super) may_install: bool,
    pub(super) out: PathBuf,
}

/// A peer that is there.
type Candidate<'a> = (&'a Peer, Installed);

pub(super) fn run(plan: &Plan) -> Result<Comparison, Error> {
    let this = env::current_exe().map_err(Error::Prepare)?;
    let directory = tempfile::tempdir().map_err(Error::Prepare)?;
    let tls = certificate(directory.path()).map_err(Error::Prepare)?;
    let raw = plan.out.join("raw");
    fs::create_dir_all(&raw).map_err(|error| Error::Write(raw.clone(), error))?;

    let mut comparison = Comparison {
        schema: COMPARE_SCHEMA.to_owned(),
        machine: Machine::detect(&plan.cores.gateway, &plan.cores.load),
        repeats: plan.repeats,
        duration_s: plan.duration.as_secs_f64(),
        rate: plan.rate,
        scenarios: plan.scenarios.clone(),
        versions: Vec::new(),
        missing: Vec::new(),
        runs: Vec::new(),
    };
    let candidates = candidates(plan, &mut comparison);
    let bench = Bench { plan, this, raw, tls, directory: directory.path() };
    let mut given_up = BTreeSet::new();
    for stretch in stretches(&plan.scenarios) {
        let upstream = Upstream::start(&plan.cores, stretch[0].topology.endpoints, &bench.this)
            .map_err(|error| Error::Prepare(io::Error::other(error)))?;
        for repeat in 1..=plan.repeats {
            for candidate in &candidates {
                if !given_up.contains(&candidate.0.name) {
                    let result = bench.visit(candidate, &stretch, &upstream, repeat, &mut comparison.runs);
                    if let Err(reason) = result {
                        eprintln!("compare: {}: {reason}", candidate.0.name);
                        given_up.insert(candidate.0.name.clone());
                        comparison.missing.push(MissingPeer { peer: candidate.0.name.clone(), reason });
                    }
                }
            }
        }
    }
    Ok(comparison)
}

/// Scenarios of one topology each, in their order.
fn stretches(scenarios: &[Scenario]) -> Vec<Vec<&Scenario>> {
    let mut all: Vec<Vec<&Scenario>> = Vec::new();
    for scenario in scenarios {
        let has_room = |stretch: &&mut Vec<&Scenario>| {
            stretch[0].topology == scenario.topology && stretch.len() < STRETCH
        };
        match all.iter_mut().find(has_room) {
            Some(stretch) => stretch.push(scenario),
            None => all.push(vec![scenario]),
        }
    }
    all
}

/// Installs the peers; those that cannot be are written down as missing.
fn candidates<'a>(plan: &'a Plan, comparison: &mut Comparison) -> Vec<Candidate<'a>> {
    let mut candidates = Vec::new();
    for peer in &plan.peers {
        match install(peer, plan.may_install) {
            Ok(installed) => {
                comparison.versions.push(PeerVersion {
                    peer: peer.name.clone(),
                    about: peer.about.clone(),
                    version: installed.version.clone(),
                });
                candidates.push((peer, installed));
            }
            Err(error) => {
                let reason = error.to_string();
                eprintln!("compare: {} is missing: {reason}", peer.name);
                comparison.missing.push(MissingPeer { peer: peer.name.clone(), reason });
            }
        }
    }
    candidates
}

struct Bench<'a> {
    plan: &'a Plan,
    this: PathBuf,
    raw: PathBuf,
    tls: Tls,
    directory: &'a Path,
}

impl Bench<'_> {
    /// Starts a peer and measures it in the scenarios of a stretch.
    fn visit(
        &self,
        (peer, installed): &Candidate<'_>,
        stretch: &[&Scenario],
        upstream: &Upstream,
        repeat: usize,
        runs: &mut Vec<Run>,
    ) -> Result<(), String> {
        let scenarios: Vec<&Scenario> =
            stretch.iter().filter(|scenario| scenario.suits(peer)).copied().collect();
        let Some(topology) = scenarios.first().map(|scenario| scenario.topology) else { return Ok(()) };
        let directory = self.directory.join(&peer.name);
        fs::create_dir_all(&directory).map_err(|error| error.to_string())?;
        let cores = &self.plan.cores;
        let gateway =
            Gateway::start(peer, installed, topology, &upstream.endpoints, &self.tls, cores, &directory)
                .map_err(|error| chain(&error))?;
        for scenario in scenarios {
            let report = self.measure(peer, &gateway, scenario, repeat)?;
            let run = Run { scenario: scenario.name.clone(), peer: peer.name.clone(), repeat, report };
            eprintln!("compare: {}", run.line());
            runs.push(run);
        }
        Ok(())
    }

    fn measure(
        &self,
        peer: &Peer,
        gateway: &Gateway,
        scenario: &Scenario,
        repeat: usize,
    ) -> Result<Report, String> {
        let name = format!("{}-{}-{repeat}.json", scenario.name.replace([' ', ','], "_"), peer.name);
        let json = self.raw.join(name);
        // A report of an earlier run must not pass for this one's.
        let _ = fs::remove_file(&json);
        let mut command = pinned(&self.plan.cores.load, &self.this);
        command
            .arg("load")
            .arg(&gateway.url)
            .args(arguments(self.plan, peer, scenario))
            .arg("--json")
            .arg(&json);
        if let Some(pid) = gateway.pid() {
            crate::process::forget_peaks(pid);
            command.args(["--account", &pid.to_string()]);
        }
        let output = command.stdout(Stdio::null()).stderr(Stdio::piped()).output();
        let output = output.map_err(|error| format!("the load generator does not run: {error}"))?;
        let report = fs::read_to_string(&json).ok().and_then(|text| serde_json::from_str(&text).ok());
        report.ok_or_else(|| {
            let stderr = String::from_utf8_lossy(&output.stderr);
            format!("{}: no report: {}", scenario.name, stderr.trim().replace('\n', " | "))
        })
    }
}

/// The load generator's command line.
fn arguments(plan: &Plan, peer: &Peer, scenario: &Scenario) -> Vec<String> {
    let mut arguments: Vec<String> =
        ["--quiet", "--cut", "--model-header", "x-model", "--warmup", WARMUP, "--duration"]
            .map(str::to_owned)
            .into();
    arguments.push(format!("{}ms", plan.duration.as_millis()));
    let mut push = |name: &str, value: String| {
        arguments.push(format!("--{name}"));
        arguments.push(value);
    };
    push("input-bytes", scenario.body_bytes.to_string());
    let routes = models(scenario.topology.routes);
    match &routes[..] {
        [only] => push("model", only.clone()),
        more => push("model", format!("model-{{1..{}}}", more.len())),
    }
    match scenario.stream_tokens {
        Some(tokens) => push("output-tokens", tokens.to_string()),
        None => push("output-tokens", "100".to_owned()),
    }
    match scenario.pressure {
        Pressure::Saturate => push("concurrency", scenario.connections.to_string()),
        Pressure::Rate => push("rate", peer.rate.unwrap_or(plan.rate).min(plan.rate).to_string()),
    }
    push("threads", "1".to_owned());
    if scenario.stream_tokens.is_some() {
        arguments.push("--stream".to_owned());
    }
    if scenario.new_connections {
        arguments.push("--new-connections".to_owned());
    }
    arguments
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::scenario::{full, headline};

    #[test]
    fn a_stretch_is_short_and_of_one_topology_and_the_headline_is_one() {
        let all = full();
        let stretches = stretches(&all);
        assert_eq!(stretches.iter().map(Vec::len).sum::<usize>(), all.len());
        for stretch in &stretches {
            assert!(stretch.len() <= STRETCH);
            assert!(stretch.iter().all(|scenario| scenario.topology == stretch[0].topology));
        }
        assert!(stretches[0].iter().copied().eq(&headline()));
    }
}
