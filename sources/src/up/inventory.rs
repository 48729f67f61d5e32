//! What is known of the model servers, from one time that they were asked to the next.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::ask::{Answers, Failure};
use super::hosted::Hosted;
use super::listing::{Listing, Model};
use super::url::ServerUrl;

/// How often a server is asked that answers: an adapter that is loaded is served that much later.
const POLL: Duration = Duration::from_secs(5);

/// How often a hosted API is asked: new models come by the week, and asking counts against its limits.
const HOSTED_POLL: Duration = Duration::from_secs(300);

/// How soon a server is asked again that did not answer. Doubled each time, up to the time between two questions.
const FIRST_RETRY: Duration = Duration::from_secs(1);

/// A server of the command line.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) url: ServerUrl,
    /// The model that it has, if it is not asked.
    pub(super) model: Option<String>,
    /// The hosted API that it is.
    pub(super) hosted: Option<Arc<Hosted>>,
    /// What each of its addresses listed last. One that does not answer now keeps its list: it may be restarting, and
    /// the picker leaves it out meanwhile.
    listings: BTreeMap<SocketAddr, Listing>,
    /// What is wrong with it, for people.
    problems: Vec<String>,
    /// How often in a row it was asked in vain.
    failures: u32,
    /// Whether asking again alone does not help.
    is_lost: bool,
}

/// What has changed since a server was asked before.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Update {
    /// Problems that were not there before, each with the URL.
    pub(super) problems: Vec<String>,
    /// Whether there were problems and there are none any more.
    pub(super) has_recovered: bool,
}

impl Server {
    pub(super) fn new(url: ServerUrl, model: Option<String>) -> Self {
        let (listings, problems) = (BTreeMap::new(), Vec::new());
        Self { url, model, hosted: None, listings, problems, failures: 0, is_lost: false }
    }

    pub(super) fn hosted(hosted: Hosted) -> Self {
        let url = hosted.url().clone();
        Self { hosted: Some(Arc::new(hosted)), ..Self::new(url, None) }
    }

    /// What people know it by.
    pub(super) fn label(&self) -> String {
        match &self.hosted {
            Some(hosted) => hosted.to_string(),
            None => self.url.to_string(),
        }
    }

    /// The hosted API with what it lists, while requests can be sent there.
    pub(super) fn usable_hosted(&self) -> Option<(&Hosted, &[Model])> {
        let hosted = self.hosted.as_deref()?;
        match self.listings.values().next() {
            Some(listing) => Some((hosted, &listing.models)),
            None => (!self.is_lost).then_some((hosted, &[])),
        }
    }

    /// Takes over what asking it came to.
    pub(super) fn update(&mut self, answers: Answers) -> Update {
        let (mut problems, mut failures) = (Vec::new(), Vec::new());
        let url = self.label();
        let is_asked = self.hosted.as_ref().is_none_or(|hosted| hosted.list_path().is_some());
        match answers {
            Err(failure) => {
                problems.push(format!("{url}: {failure}"));
                failures.push(failure);
            }
            Ok(answers) => {
                self.listings.retain(|address, _| answers.iter().any(|(of, _)| of == address));
                let has_several = answers.len() > 1;
                for (address, answer) in answers {
                    let name = if has_several { format!("{url} ({address})") } else { url.clone() };
                    match answer {
                        Ok(listing) => {
                            problems.extend(
                                problems_of(&listing, is_asked).map(|problem| format!("{name}: {problem}")),
                            );
                            keep(&mut self.listings, address, listing);
                        }
                        Err(failure) => {
                            problems.push(format!("{name}: {failure}"));
                            failures.push(failure);
                        }
                    }
                }
            }
        }
        self.failures = if failures.is_empty() { 0 } else { self.failures.saturating_add(1) };
        self.is_lost = !failures.is_empty() && failures.iter().all(|failure: &Failure| failure.is_lasting);
        let before = std::mem::replace(&mut self.problems, problems);
        Update {
            problems: self.problems.iter().filter(|problem| !before.contains(problem)).cloned().collect(),
            has_recovered: !before.is_empty() && self.problems.is_empty(),
        }
    }

    /// The addresses that a model server can be used at, each with what is listed there.
    pub(super) fn listings(&self) -> impl Iterator<Item = (SocketAddr, &Listing)> {
        let is_server = self.hosted.is_none();
        self.listings.iter().filter(move |_| is_server).map(|(address, listing)| (*address, listing))
    }

    /// What is wrong with it now.
    pub(super) fn problems(&self) -> &[String] {
        &self.problems
    }

    /// Whether somebody has to mend something before it can be used.
    pub(super) fn is_lost(&self) -> bool {
        self.is_lost
    }

    /// How long to wait before it is asked again.
    pub(super) fn delay(&self) -> Duration {
        let poll = if self.hosted.is_some() { HOSTED_POLL } else { POLL };
        match self.failures.checked_sub(1) {
            None => poll,
            Some(retries) => FIRST_RETRY.saturating_mul(2_u32.saturating_pow(retries)).min(poll),
        }
    }
}

/// Keeps what an address lists. vLLM makes up anew with each answer when a model came to be, so the first that it said
/// holds: else each answer would be a new document.
fn keep(listings: &mut BTreeMap<SocketAddr, Listing>, address: SocketAddr, mut listing: Listing) {
    if let Some(known) = listings.get(&address) {
        let created: BTreeMap<&str, Option<u64>> =
            known.models.iter().map(|model| (model.id.as_str(), model.created)).collect();
        for model in &mut listing.models {
            model.created = created.get(model.id.as_str()).copied().flatten().or(model.created);
        }
    }
    listings.insert(address, listing);
}

fn problems_of(listing: &Listing, is_asked: bool) -> impl Iterator<Item = String> {
    let is_empty = is_asked && listing.models.is_empty() && listing.refused.is_empty();
    let empty = is_empty.then(|| "/v1/models lists no model".to_owned());
    empty.into_iter().chain(listing.refused.iter().map(|reason| format!("left out: {reason}")))
}
