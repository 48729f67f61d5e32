//! Asking model servers what they serve, and finding out why one cannot be used.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use http::{HeaderValue, StatusCode};
use penstock_config::Engine;

use super::listing::{Listing, Model};
use super::probe::{Probe, ProbeAnswer, ProbeError, ProbeRequest, ProbeTransport};
use super::url::ServerUrl;

/// Where OpenAI's API lists models.
const MODELS_PATH: &str = "/v1/models";

/// The most bytes of an answer that are read: some ten thousand adapters.
const ANSWER_LIMIT_BYTES: usize = 4 << 20;

/// The most addresses of one name that are used.
const ADDRESSES_PER_NAME: usize = 256;

/// What servers are asked with.
pub(super) struct Prober<'a> {
    pub(super) probe: &'a dyn Probe,
    pub(super) timeout: Duration,
    pub(super) authorization: Option<&'a HeaderValue>,
}

/// What asking a server came to: each of its addresses with its list, or why there are no addresses.
pub(super) type Answers = Result<Vec<(SocketAddr, Result<Listing, Failure>)>, Failure>;

/// Why a server cannot be used now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    reason: String,
    /// Whether somebody has to mend something, so that asking again alone does not help.
    pub(super) is_lasting: bool,
}

impl Failure {
    /// One that may be over when the server is asked again.
    fn passing(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), is_lasting: false }
    }

    /// One that stays until somebody mends something.
    pub(super) fn lasting(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), is_lasting: true }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.reason)
    }
}

impl Prober<'_> {
    /// Asks every address of `url`. With a `model` nothing is asked: it is taken for granted that it is served there.
    pub(super) async fn ask(&self, url: &ServerUrl, model: Option<&str>) -> Answers {
        let addresses = self.resolve(url).await?.into_iter();
        Ok(match model {
            Some(model) => {
                let listing = || Listing {
                    engine: Engine::default(),
                    models: vec![Model::named(model)],
                    refused: Vec::new(),
                };
                addresses.map(|address| (address, Ok(listing()))).collect()
            }
            None => {
                let answers = addresses.map(async |address| (address, self.ask_address(url, address).await));
                futures::future::join_all(answers).await
            }
        })
    }

    async fn resolve(&self, url: &ServerUrl) -> Result<Vec<SocketAddr>, Failure> {
        let lookup = tokio::net::lookup_host((&*url.host, url.port));
        let found = match tokio::time::timeout(self.timeout, lookup).await {
            Ok(Ok(found)) => found,
            Ok(Err(error)) => return Err(Failure::passing(format!("cannot resolve the name: {error}"))),
            Err(_) => {
                return Err(Failure::passing(format!("the name was not resolved within {:?}", self.timeout)));
            }
        };
        let mut addresses: Vec<SocketAddr> = found.collect();
        addresses.sort_unstable();
        addresses.dedup();
        addresses.truncate(ADDRESSES_PER_NAME);
        if addresses.is_empty() {
            return Err(Failure::passing("the name has no addresses"));
        }
        Ok(addresses)
    }

    async fn ask_address(&self, url: &ServerUrl, address: SocketAddr) -> Result<Listing, Failure> {
        let transport = if url.is_tls { ProbeTransport::Tls } else { ProbeTransport::Plain };
        let answer = match self.get(url, address, transport).await {
            Ok(answer) => answer,
            Err(error) => return Err(self.explain(url, address, &error).await),
        };
        match answer.status {
            StatusCode::OK => Listing::parse(&answer.body).map_err(|error| {
                let what = "/v1/models answered something other than OpenAI's list of models";
                Failure::lasting(format!("{what}: {error}"))
            }),
            status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
                Err(Failure::lasting(match self.authorization {
                    Some(_) => format!("/v1/models answered {status}: the API key is not the server's"),
                    None => format!(
                        "/v1/models answered {status}: it asks for a key; give it with --api-key-file, or in \
                         PENSTOCK_API_KEY"
                    ),
                }))
            }
            // So servers answer that are spoken to without TLS where they expect it.
            StatusCode::BAD_REQUEST if !url.is_tls && self.speaks_tls(url, address).await => {
                Err(expects_tls(url))
            }
            status if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
                Err(Failure::passing(format!("/v1/models answered {status}")))
            }
            status => Err(Failure::lasting(format!("/v1/models answered {status}: is it a model server?"))),
        }
    }

    /// Why there was no answer, and what would mend it.
    async fn explain(&self, url: &ServerUrl, address: SocketAddr, error: &ProbeError) -> Failure {
        match error {
            ProbeError::Refused => {
                return Failure::passing(format!(
                    "{error}: nothing listens on port {}; start the server, or mend the URL",
                    url.port
                ));
            }
            ProbeError::TimedOut(_) => {
                let advice = "is the address right, and does a firewall let it through?";
                return Failure::passing(format!("{error}: {advice}"));
            }
            ProbeError::Failed(_) => {}
        }
        if !url.is_tls {
            return match self.speaks_tls(url, address).await {
                true => expects_tls(url),
                false => Failure::passing(error.to_string()),
            };
        }
        if self.speaks_tls(url, address).await {
            let advice = "name the authority that signed it in SSL_CERT_FILE";
            return Failure::lasting(format!("its certificate is not trusted ({error}): {advice}"));
        }
        if self.get(url, address, ProbeTransport::Plain).await.is_ok() {
            let plain = ServerUrl { is_tls: false, ..url.clone() };
            return Failure::lasting(format!("it does not speak TLS on this port: write {plain}"));
        }
        Failure::passing(error.to_string())
    }

    async fn speaks_tls(&self, url: &ServerUrl, address: SocketAddr) -> bool {
        self.get(url, address, ProbeTransport::UnverifiedTls).await.is_ok()
    }

    async fn get(
        &self,
        url: &ServerUrl,
        address: SocketAddr,
        transport: ProbeTransport,
    ) -> Result<ProbeAnswer, ProbeError> {
        // Only to whom the key was meant for: nobody who merely has the address, and not in the clear.
        let is_meant = match transport {
            ProbeTransport::Plain => !url.is_tls,
            ProbeTransport::Tls => url.is_tls,
            ProbeTransport::UnverifiedTls => false,
        };
        let request = ProbeRequest {
            address,
            transport,
            host: &url.host,
            authority: &url.authority(),
            path: MODELS_PATH,
            authorization: self.authorization.filter(|_| is_meant),
            limit_bytes: ANSWER_LIMIT_BYTES,
            timeout: self.timeout,
        };
        self.probe.get(request).await
    }
}

fn expects_tls(url: &ServerUrl) -> Failure {
    let tls = ServerUrl { is_tls: true, ..url.clone() };
    Failure::lasting(format!("it speaks TLS on this port: write {tls}"))
}
