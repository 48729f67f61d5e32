//! A routing document without a file: `penstock up URL… PROVIDER…`.
//!
//! Each model server is asked which models it serves, and the answers become a routing document like
//! one that a person would write: it goes through the same compiler, and can be printed to start from. The servers are
//! asked again every few seconds, and at SIGHUP at once; a document that has changed takes the place of the one before.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{FuturesUnordered, StreamExt as _};
use futures::{Stream, stream};
use penstock_config::{Fault, Faults, ProfileCheck, Snapshot};
use thiserror::Error;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::applier::Applier;
use crate::status::StatusCell;

mod ask;
mod document;
mod hosted;
mod inventory;
mod key;
mod listing;
mod probe;
mod url;

use ask::{Answers, Failure, Prober};
use document::{Endpoint, Frame};
pub use hosted::{Hosted, HostedApi};
use inventory::{Server, Update};
pub use key::{ApiKey, ApiKeyError};
use listing::Listing;
pub use probe::{Probe, ProbeAnswer, ProbeError, ProbeRequest, ProbeTransport};
pub use url::{BaseUrl, ServerUrl, UrlError};

/// Which servers are asked, and where clients are served.
#[derive(Debug)]
pub struct UpOptions {
    /// Servers that are asked what they serve.
    pub urls: Vec<ServerUrl>,
    /// Models that are served at a URL, which is not asked.
    pub models: Vec<(String, ServerUrl)>,
    /// Hosted APIs, first those that are preferred for a model that several have.
    pub hosted: Vec<Hosted>,
    /// Where clients are served.
    pub listen: SocketAddr,
    /// Where the admin listener is.
    pub admin_listen: SocketAddr,
    /// How long a server may take to answer.
    pub timeout: Duration,
    /// What all servers are shown to be let in, for their list and for requests.
    pub key: Option<ApiKey>,
}

/// Why there is nothing to serve.
#[derive(Debug, Error)]
pub enum UpError {
    /// No server can be used, and asking again does not help.
    #[error("no model server can be used:\n{}", .0.join("\n"))]
    NoServer(Vec<String>),
    /// A URL that was given a model has no address.
    #[error("{0}")]
    Unresolved(String),
    /// The key cannot be used.
    #[error(transparent)]
    Key(#[from] ApiKeyError),
    /// The document cannot be written.
    #[error("cannot write the routing document: {0}")]
    Write(#[from] serde_saphyr::ser_error::Error),
    /// The document is faulty. What makes it so is left out of it where that is known.
    #[error("the servers make no sound routing document:\n{0}")]
    Invalid(#[from] Faults),
}

/// Model servers, and the document that serves what they have.
pub struct UpSource {
    asker: Arc<Asker>,
    profiles: Arc<dyn ProfileCheck + Send + Sync>,
    status: Arc<StatusCell>,
    servers: Vec<Server>,
    /// The document that was judged last.
    judged: Option<String>,
}

/// What the servers are asked with.
struct Asker {
    options: UpOptions,
    probe: Arc<dyn Probe>,
}

impl UpSource {
    /// The servers of `options`, asked through `probe`, with pools whose picker profiles `profiles` checks.
    #[must_use]
    pub fn new(
        mut options: UpOptions,
        probe: Arc<dyn Probe>,
        profiles: Arc<dyn ProfileCheck + Send + Sync>,
    ) -> Self {
        let named = options.models.iter().map(|(model, url)| Server::new(url.clone(), Some(model.clone())));
        let asked = options.urls.iter().map(|url| Server::new(url.clone(), None));
        let mut servers: Vec<Server> = named.chain(asked).collect();
        servers.extend(std::mem::take(&mut options.hosted).into_iter().map(Server::hosted));
        let asker = Arc::new(Asker { options, probe });
        Self { asker, profiles, status: Arc::default(), servers, judged: None }
    }

    /// How loading goes, kept up to date.
    #[must_use]
    pub fn status(&self) -> &Arc<StatusCell> {
        &self.status
    }

    /// Where clients and where administrators are served.
    #[must_use]
    pub fn addresses(&self) -> (SocketAddr, SocketAddr) {
        (self.asker.options.listen, self.asker.options.admin_listen)
    }

    /// Asks every server once. Returns the document that serves what they have, and what is wrong with servers that are
    /// not in it; there is no document if no server can be used yet.
    ///
    /// # Errors
    /// See [`UpError`].
    pub async fn discover(&mut self) -> Result<(Option<String>, Vec<String>), UpError> {
        if let Some(key) = &self.asker.options.key {
            key.authorization()?;
        }
        let asks = self.servers.iter().map(|server| self.asker.ask(Question::of(server)));
        let answers = futures::future::join_all(asks).await;
        let mut problems = Vec::new();
        for (server, answers) in self.servers.iter_mut().zip(answers) {
            let update = server.update(answers);
            if server.model.is_some() && !update.problems.is_empty() {
                // A person named this model: leaving it out would not be what they asked for.
                return Err(UpError::Unresolved(update.problems.join("\n")));
            }
            problems.extend(update.problems);
        }
        match self.write()? {
            None if self.servers.iter().all(Server::is_lost) => Err(UpError::NoServer(problems)),
            document => Ok((document, problems)),
        }
    }

    /// Asks every server once, for the start. Returns the snapshot that serves what they have, as [`Self::discover`]
    /// does the document.
    ///
    /// # Errors
    /// See [`UpError`].
    pub async fn start(&mut self) -> Result<(Option<Arc<Snapshot>>, Vec<String>), UpError> {
        let (document, problems) = self.discover().await?;
        let Some(document) = document else {
            self.status.waits(self.what_is_missing());
            return Ok((None, problems));
        };
        let snapshot = Arc::new(Snapshot::compile(&document, &*self.profiles)?);
        self.status.succeeded(&snapshot);
        self.judged = Some(document);
        Ok((Some(snapshot), problems))
    }

    /// Goes on asking, and keeps `applier` up to date until `stop` is cancelled.
    ///
    /// # Errors
    /// SIGHUP cannot be listened for.
    pub async fn watch(mut self, applier: Arc<dyn Applier>, stop: CancellationToken) -> io::Result<()> {
        let mut hangup = signal(SignalKind::hangup())?;
        let hangups = stream::poll_fn(move |context| hangup.poll_recv(context));
        stop.run_until_cancelled(self.keep_up(&*applier, hangups)).await;
        Ok(())
    }

    /// Each item of `hangups`, which never ends, asks all servers at once.
    async fn keep_up(&mut self, applier: &dyn Applier, mut hangups: impl Stream<Item = ()> + Unpin) {
        let hung_up = Notify::new();
        let ask_after_delay = |index: usize, server: &Server, asker: Arc<Asker>| {
            let (delay, question) = (server.delay(), Question::of(server));
            let hung_up = &hung_up;
            async move {
                let _ = tokio::time::timeout(delay, hung_up.notified()).await;
                (index, asker.ask(question).await)
            }
        };
        let asks = self.servers.iter().enumerate();
        let mut asks: FuturesUnordered<_> =
            asks.map(|(index, server)| ask_after_delay(index, server, self.asker.clone())).collect();
        loop {
            tokio::select! {
                Some((index, answers)) = asks.next() => {
                    let server = &mut self.servers[index];
                    let update = server.update(answers);
                    report(server, update);
                    asks.push(ask_after_delay(index, server, self.asker.clone()));
                    if self.asker.options.key.is_some() {
                        applier.reload_files();
                    }
                    self.apply(applier);
                }
                Some(()) = hangups.next() => hung_up.notify_waiters(),
            }
        }
    }

    /// Puts the document in force that the servers make now, if it is another one.
    fn apply(&mut self, applier: &dyn Applier) {
        let document = match self.write() {
            Ok(Some(document)) => document,
            Ok(None) => {
                if self.judged.is_none() {
                    self.status.waits(self.what_is_missing());
                }
                return;
            }
            Err(error) => return self.refuse(vec![Fault::new("", error.to_string())], applier),
        };
        if self.judged.as_ref() == Some(&document) {
            return;
        }
        let snapshot = match Snapshot::compile(&document, &*self.profiles) {
            Ok(snapshot) => Arc::new(snapshot),
            Err(faults) => {
                self.judged = Some(document);
                return self.refuse(faults.iter().cloned().collect(), applier);
            }
        };
        match applier.apply(&snapshot) {
            Ok(()) => {
                self.judged = Some(document);
                let generation = self.status.succeeded(&snapshot);
                let models = snapshot.rules().iter().map(|rule| rule.models.len()).sum::<usize>();
                tracing::info!(generation, models, "what the model servers have is served");
            }
            // An address may be free again the next time.
            Err(faults) => self.refuse(faults, applier),
        }
    }

    fn refuse(&self, faults: Vec<Fault>, applier: &dyn Applier) {
        for fault in &faults {
            tracing::error!(%fault, "what the model servers have cannot be served; the running document stays");
        }
        self.status.failed(faults);
        applier.refused();
    }

    fn write(&self) -> Result<Option<String>, UpError> {
        let endpoints = self.servers.iter().flat_map(|server| {
            let of = |(address, listing)| Endpoint { url: &server.url, address, listing };
            server.listings().map(of)
        });
        let endpoints: Vec<Endpoint<'_>> = endpoints.collect();
        let hosted: Vec<_> = self.servers.iter().filter_map(Server::usable_hosted).collect();
        let UpOptions { listen, admin_listen, key, .. } = &self.asker.options;
        let key_file = key.as_ref().map(ApiKey::file);
        Ok(document::write(
            &endpoints,
            &hosted,
            &Frame { listen: *listen, admin_listen: *admin_listen, key_file },
        )?)
    }

    /// Why there is no document yet.
    fn what_is_missing(&self) -> String {
        let problems: Vec<&str> =
            self.servers.iter().flat_map(Server::problems).map(String::as_str).collect();
        format!("no model server can be used yet: {}", problems.join("; "))
    }
}

/// Which server is asked, apart from what is known of it, which changes meanwhile.
struct Question {
    url: ServerUrl,
    model: Option<String>,
    hosted: Option<Arc<Hosted>>,
}

impl Question {
    fn of(server: &Server) -> Self {
        Self { url: server.url.clone(), model: server.model.clone(), hosted: server.hosted.clone() }
    }
}

impl Asker {
    async fn ask(&self, Question { url, model, hosted }: Question) -> Answers {
        if let Some(hosted) = hosted {
            return self.ask_hosted(&hosted).await;
        }
        let UpOptions { key, timeout, .. } = &self.options;
        // Read each time: it may have been renewed.
        let authorization = key.as_ref().map(ApiKey::authorization).transpose();
        let authorization = authorization.map_err(|error| Failure::lasting(error.to_string()))?;
        let headers = authorization.map(|value| (http::header::AUTHORIZATION, value));
        let (path, headers) = (ask::MODELS_PATH, headers.as_slice());
        let prober = Prober { probe: &*self.probe, timeout: *timeout, path, headers };
        prober.ask(&url, model.as_deref()).await
    }

    async fn ask_hosted(&self, hosted: &Hosted) -> Answers {
        let Some(path) = hosted.list_path() else {
            return Ok(ask::one_answer(Ok(Listing::named(&hosted.models))));
        };
        let headers = hosted.headers().map_err(|error| Failure::lasting(error.to_string()))?;
        let timeout = self.options.timeout;
        let prober = Prober { probe: &*self.probe, timeout, path: &path, headers: &headers };
        prober.ask_hosted(hosted).await
    }
}

fn report(server: &Server, update: Update) {
    for problem in update.problems {
        tracing::warn!(%problem, "model server; it is asked again every few seconds");
    }
    if update.has_recovered {
        tracing::info!(server = %server.label(), "the model server answers again");
    }
}

impl std::fmt::Debug for UpSource {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("UpSource").field("servers", &self.servers).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
