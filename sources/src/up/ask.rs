//! Asking model servers what they serve, and finding out why one cannot be used.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use http::{HeaderName, HeaderValue, StatusCode};

use super::hosted::Hosted;
use super::listing::Listing;
use super::probe::{Probe, ProbeAnswer, ProbeError, ProbeRequest, ProbeTransport};
use super::url::ServerUrl;

/// Where OpenAI's API lists models.
pub(super) const MODELS_PATH: &str = "/v1/models";

/// The most bytes of an answer that are read: some ten thousand adapters.
const ANSWER_LIMIT_BYTES: usize = 4 << 20;

/// The most addresses of one name that are used.
const ADDRESSES_PER_NAME: usize = 256;

/// The most addresses of a hosted API that are tried for its list.
const HOSTED_ADDRESSES: usize = 3;

/// Stands for all addresses of a hosted API: they are one server.
const HOSTED: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// What servers are asked with.
pub(super) struct Prober<'a> {
    pub(super) probe: &'a dyn Probe,
    pub(super) timeout: Duration,
    /// What is asked for.
    pub(super) path: &'a str,
    /// What shows who asks. Empty: nothing.
    pub(super) headers: &'a [(HeaderName, HeaderValue)],
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
                let listing = Listing::named(&[model.to_owned()]);
                addresses.map(|address| (address, Ok(listing.clone()))).collect()
            }
            None => {
                let answers = addresses.map(async |address| (address, self.ask_address(url, address).await));
                futures::future::join_all(answers).await
            }
        })
    }

    /// Asks a hosted API, at the first of its addresses that answers.
    pub(super) async fn ask_hosted(&self, hosted: &Hosted) -> Answers {
        let url = hosted.url();
        let transport = if url.is_tls { ProbeTransport::Tls } else { ProbeTransport::Plain };
        let mut failed = None;
        for address in self.resolve(url).await?.into_iter().take(HOSTED_ADDRESSES) {
            match self.get(url, address, transport).await {
                Ok(answer) => return Ok(one_answer(self.hosted_listing(hosted, &answer))),
                Err(error) => failed = Some((address, error)),
            }
        }
        let Some((address, error)) = failed else {
            return Err(Failure::passing("the name has no addresses"));
        };
        Err(self.explain(url, address, &error).await)
    }

    fn hosted_listing(&self, hosted: &Hosted, answer: &ProbeAnswer) -> Result<Listing, Failure> {
        let (path, status) = (self.path, answer.status);
        match status {
            StatusCode::OK => Listing::parse_hosted(&answer.body).map_err(|error| {
                Failure::passing(format!("{path} answered something other than a list of models: {error}"))
            }),
            // Google's API answers 400 to a key that is none.
            StatusCode::UNAUTHORIZED | StatusCode::BAD_REQUEST => Err(Failure::lasting(format!(
                "{path} answered {status}: is the key in {} right?",
                hosted.key_variable
            ))),
            // A key may be good for requests without being good for the list.
            _ => Err(Failure::passing(format!(
                "{path} answered {status}: its models are not known by their names"
            ))),
        }
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
                Err(Failure::lasting(match self.headers {
                    [_, ..] => format!("/v1/models answered {status}: the API key is not the server's"),
                    [] => format!(
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
            path: self.path,
            headers: if is_meant { self.headers } else { &[] },
            limit_bytes: ANSWER_LIMIT_BYTES,
            timeout: self.timeout,
        };
        self.probe.get(request).await
    }
}

/// What a hosted API answered, as one of a server with one address.
pub(super) fn one_answer(answer: Result<Listing, Failure>) -> Vec<(SocketAddr, Result<Listing, Failure>)> {
    vec![(HOSTED, answer)]
}

fn expects_tls(url: &ServerUrl) -> Failure {
    let tls = ServerUrl { is_tls: true, ..url.clone() };
    Failure::lasting(format!("it speaks TLS on this port: write {tls}"))
}
