//! Key sets, and what issuers say of themselves, fetched again and again in the background: one task for each address, whoever uses it.
//!
//! What was fetched stays in use for as long as it cannot be fetched anew. A key that is not there yet has it fetched out of
//! turn, and seldom: anybody can name a key that does not exist.

use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use penstock_credentials::{Documents, FetchError};
use penstock_policies::keys_url;
use tokio::time::Instant;

use super::source::{KEY_SET_LIMIT_BYTES, KeysError, Place, Source};
use crate::random;

/// Pauses after failures: these, doubled with each up to the longest, plus up to the first at random.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// By how much of its time a key set is fetched early at random, so that many gateways do not ask in one instant.
const JITTER: f64 = 0.1;

/// The shortest rest between two fetches that succeed, however short the time that a key set is used.
const MIN_REST: Duration = Duration::from_secs(1);

/// Keys that are not there have a key set fetched once in this time at most.
const MIN_ASKED_REST: Duration = Duration::from_secs(30);

/// How often to look whether somebody met one, or nobody uses the key set any more.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);

/// Fetches a key set for as long as somebody uses it.
pub(super) async fn keep_fresh(source: Arc<Source>, documents: Arc<Documents>) {
    let pauses = ExponentialBuilder::default()
        .with_min_delay(FIRST_PAUSE)
        .with_max_delay(LONGEST_PAUSE)
        .with_jitter()
        .without_max_times();
    let mut pause = pauses.build();
    let mut asked_last = None;
    while source.is_used() {
        let is_good = match fetch(&source, &documents).await {
            Ok(is_good) => is_good,
            Err(error) => {
                source.fail(&error);
                false
            }
        };
        let ended = Instant::now();
        let failed_for = if is_good {
            pause = pauses.build();
            None
        } else {
            Some(pause.next().unwrap_or(LONGEST_PAUSE))
        };
        let early = 1.0 - JITTER * share();
        let is_due = || {
            let rest = failed_for.unwrap_or_else(|| source.cached_for().get().mul_f64(early).max(MIN_REST));
            ended.elapsed() >= rest
        };
        while source.is_used() && !is_due() {
            if is_asked_for(&source, &mut asked_last) {
                break;
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }
}

/// Fetches it once. Says whether it could be used.
async fn fetch(source: &Source, documents: &Documents) -> Result<bool, FetchError> {
    match source.place() {
        Place::KeySetUrl(url) => {
            let content = documents.get(url, KEY_SET_LIMIT_BYTES).await?;
            Ok(source.take_over(&content))
        }
        Place::Provider(issuer) => {
            let discovery = format!("{issuer}/.well-known/openid-configuration");
            let discovery = documents.get(&discovery, KEY_SET_LIMIT_BYTES).await?;
            let keys = match keys_url(issuer, &discovery) {
                Ok(url) => documents.get(&url, KEY_SET_LIMIT_BYTES).await?,
                Err(error) => {
                    source.fail(&KeysError::Provider { issuer: issuer.clone(), source: error });
                    return Ok(false);
                }
            };
            Ok(source.take_over_provider(issuer, &discovery, &keys))
        }
        Place::Keys(_) | Place::Users(_) | Place::KeySetFile(_) | Place::ClientSecret(_) => Ok(false),
    }
}

/// Whether somebody met a key that is not there, and that is worth a fetch.
fn is_asked_for(source: &Source, last: &mut Option<Instant>) -> bool {
    if last.is_some_and(|at| at.elapsed() < MIN_ASKED_REST) {
        return false;
    }
    let is_asked_for = source.is_asked_again();
    if is_asked_for {
        *last = Some(Instant::now());
    }
    is_asked_for
}

/// Anything from 0 to 1.
fn share() -> f64 {
    f64::from(u32::try_from(random::next_u64() >> 32).unwrap_or(u32::MAX)) / f64::from(u32::MAX)
}
