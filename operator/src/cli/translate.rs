//! `penstock-operator translate`: routing documents from manifests, for those who have no cluster, or want to see what
//! theirs means.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use penstock_config::raw::{Document, RawEndpoint, RawLimitStore};
use penstock_config::{Address, Snapshot};
use penstock_picker::EpcCheck;
use penstock_translate::GenAiMetrics;
use penstock_translate::{
    Adoption, Condition, ConditionStatus, DEFAULT_CONTROLLER, ENVOY_GATEWAY_CONTROLLER, EndpointSource,
    Endpoints, GatewayOutput, Options, Severity, Status, StatusUpdate, Translation, endpoints, render,
    translate,
    world::{Key, World},
};

use super::manifests;
use crate::exit::{EXIT_USAGE, fail};

/// What stands below `translate --help`.
const AFTER: &str = "\
The routing document goes to standard output, what the objects' statuses would say to standard error. \
Objects of kinds that Penstock does not read are left out, and so are files without objects, such as Helm values.

InferencePools get the Pods among the manifests that they select and that are ready (status.podIP, and the condition \
Ready), as `kubectl get pods -o yaml` prints them; or name endpoints with --endpoint. Services without EndpointSlices \
become their DNS names.

Examples:
  penstock-operator translate manifests/*.yaml > penstock.yaml
  kubectl get gateways,httproutes,inferencepools,services,pods -A -o yaml | penstock-operator translate -
  penstock-operator translate pool.yaml --endpoint default/llama=10.0.0.7:8000";

/// Options of `translate`.
#[derive(Debug, Args)]
#[command(after_long_help = AFTER)]
pub(super) struct TranslateOptions {
    /// Manifests in YAML or JSON, of as many objects as you like; `-` is the standard input
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Whose GatewayClasses are translated; may be given several times
    #[arg(long = "controller-name", value_name = "NAME",
          default_values_t = [DEFAULT_CONTROLLER.to_owned(), ENVOY_GATEWAY_CONTROLLER.to_owned()])]
    controller_names: Vec<String>,
    /// The only Gateway that is translated; each has a document of its own
    #[arg(long, value_name = "NS/NAME", value_parser = key)]
    gateway: Option<Key>,
    /// The namespace of objects that name none
    #[arg(short, long, value_name = "NS", default_value = "default")]
    namespace: String,
    /// An endpoint of an InferencePool, such as `default/llama=10.0.0.7:8000`; may be given several times
    #[arg(long = "endpoint", value_name = "POOL=ADDR", value_parser = pool_endpoint)]
    endpoints: Vec<(Key, SocketAddr)>,
    /// The domain of the cluster's Services
    #[arg(long, value_name = "DOMAIN", default_value = "cluster.local")]
    cluster_domain: String,
    /// The Redis or Valkey in which data planes share the counters of limits, such as `redis://HOST:PORT`
    #[arg(long, value_name = "URL", value_parser = penstock_translate::limit_store)]
    limit_store: Option<RawLimitStore>,
    /// By whose names data planes have metrics of generative AI: `OpenTelemetry`, `EnvoyAIGateway`, both with a comma between
    /// them, or `None`. Left out: OpenTelemetry's, and Envoy AI Gateway's too where its classes are taken over
    #[arg(long, value_name = "NAMES", value_parser = penstock_translate::gen_ai_metrics)]
    gen_ai_metrics: Option<GenAiMetrics>,
}

pub(super) fn run(arguments: &TranslateOptions) -> io::Result<ExitCode> {
    let mut world = World::default();
    let mut notes = Vec::new();
    for file in &arguments.files {
        if let Err(error) = manifests::read(file, &arguments.namespace, &mut world, &mut notes) {
            return Ok(fail(EXIT_USAGE, &error));
        }
    }
    let options = options(arguments);
    let translation = translate(&world, &options);
    report(&translation, &notes)?;
    if translation.gateways.is_empty() {
        let names = arguments.controller_names.join(" and ");
        let message =
            format!("no Gateway that can be served, of a GatewayClass of {names}, is among the objects");
        return Ok(fail(EXIT_USAGE, &message));
    }
    let mut documents = Vec::new();
    for (key, gateway) in &translation.gateways {
        let document = standalone(&world, gateway, arguments, &options);
        let text = match render(&document) {
            Ok(text) => text,
            Err(error) => return Ok(fail(EXIT_USAGE, &format!("Gateway {key}: {error}"))),
        };
        if let Err(faults) = Snapshot::compile(&text, &EpcCheck) {
            return Ok(fail(EXIT_USAGE, &format!("Gateway {key}: {faults}")));
        }
        documents.push(text);
    }
    io::stdout().write_all(documents.join("---\n").as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

fn options(arguments: &TranslateOptions) -> Options {
    let names = &arguments.controller_names;
    let own = names.iter().find(|name| *name != ENVOY_GATEWAY_CONTROLLER);
    let takes_over = names.iter().any(|name| name == ENVOY_GATEWAY_CONTROLLER);
    Options {
        controller_name: own.unwrap_or(&DEFAULT_CONTROLLER.to_owned()).clone(),
        adoption: if takes_over { Adoption::EnvoyGateway } else { Adoption::None },
        gateway: arguments.gateway.clone(),
        cluster_domain: arguments.cluster_domain.clone(),
        limit_store: arguments.limit_store.clone(),
        gen_ai_metrics: arguments.gen_ai_metrics.clone().map(|named| named.0),
        use_dns_without_slices: true,
        allow_loopback: true,
        admin: None,
        profiles: Arc::new(EpcCheck),
        ..Options::default()
    }
}

/// A Gateway's document with everything in it.
fn standalone(
    world: &World,
    gateway: &GatewayOutput,
    arguments: &TranslateOptions,
    options: &Options,
) -> Document {
    let mut document = gateway.document.clone();
    let found: BTreeMap<&str, Endpoints> = gateway
        .endpoints
        .iter()
        .map(|(name, source)| (name.as_str(), endpoints(world, source, options)))
        .collect();
    for pool in &mut document.pools {
        pool.endpoints_from.clear();
        if let Some(Endpoints::Pool(endpoints)) = found.get(pool.name.as_str()) {
            pool.endpoints.clone_from(endpoints);
        }
        let Some(EndpointSource::Pool(key)) = gateway.endpoints.get(&pool.name) else { continue };
        for (_, address) in arguments.endpoints.iter().filter(|(pool, _)| pool == key) {
            let address = Address(*address);
            if pool.endpoints.iter().all(|known| known.address != address) {
                let labels = BTreeMap::new();
                pool.endpoints.push(RawEndpoint {
                    address,
                    name: None,
                    engine: None,
                    metrics_port: None,
                    labels,
                });
            }
        }
    }
    for backend in &mut document.backends {
        if let Some(Endpoints::Backend(endpoints)) = found.get(backend.name.as_str())
            && !endpoints.is_empty()
        {
            backend.endpoints.clone_from(endpoints);
            backend.endpoints_from.clear();
        }
    }
    document
}

/// Says on standard error what people should know.
fn report(translation: &Translation, notes: &[String]) -> io::Result<()> {
    let mut out = io::stderr().lock();
    for note in notes {
        writeln!(out, "{note}")?;
    }
    for update in &translation.statuses {
        report_status(&mut out, update)?;
    }
    for event in translation.events.iter().filter(|event| event.severity == Severity::Warning) {
        writeln!(out, "{}: {}: {}", event.object, event.reason, event.message)?;
    }
    for (key, gateway) in &translation.gateways {
        for (name, source) in &gateway.secrets {
            writeln!(out, "Gateway {key}: put {source} into the file secrets/{name}")?;
        }
    }
    Ok(())
}

fn report_status(out: &mut impl io::Write, update: &StatusUpdate) -> io::Result<()> {
    let object = &update.object;
    let mut conditions = |of: &str, conditions: &[Condition]| {
        for Condition { kind, status, reason, message } in conditions {
            let status = match status {
                ConditionStatus::True => "True",
                ConditionStatus::False => "False",
                ConditionStatus::Unknown => "Unknown",
            };
            writeln!(out, "{object}{of}: {kind}={status} ({reason}): {message}")?;
        }
        Ok::<(), io::Error>(())
    };
    match &update.status {
        Status::Conditions(all) | Status::Class { conditions: all, .. } => conditions("", all),
        Status::Gateway { conditions: all, listeners } => {
            conditions("", all)?;
            for listener in listeners {
                let of = format!(", listener {}, {} routes", listener.name, listener.attached_routes);
                conditions(&of, &listener.conditions)?;
            }
            Ok(())
        }
        Status::Parents(entries) | Status::Ancestors(entries) => {
            for entry in &entries.entries {
                let name = entry.parent_ref.get("name").and_then(serde_json::Value::as_str);
                conditions(&format!(", Gateway {}", name.unwrap_or_default()), &entry.conditions)?;
            }
            Ok(())
        }
    }
}

fn key(text: &str) -> Result<Key, String> {
    match text.split_once('/') {
        Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() => Ok(Key::new(namespace, name)),
        _ => Err("write it as NAMESPACE/NAME".to_owned()),
    }
}

fn pool_endpoint(text: &str) -> Result<(Key, SocketAddr), String> {
    let (pool, address) = text.split_once('=').ok_or("write it as NAMESPACE/POOL=IP:PORT")?;
    let pool = if pool.contains('/') { key(pool)? } else { Key::new("default", pool) };
    let address = address.parse().map_err(|_| format!("{address:?} is not an IP address with a port"))?;
    Ok((pool, address))
}
