//! Renewals of sessions, each done once for all requests that show the session.

use std::future::Future;
use std::time::Duration;

use parking_lot::Mutex;
use penstock_policies::Session;
use ring::digest::{SHA256, digest};
use rustc_hash::FxHashMap;
use tokio::sync::watch;
use tokio::time::Instant;

use super::Failed;

/// How long what a renewal gave is kept for requests that were sent before their browser had it.
const KEPT_FOR: Duration = Duration::from_secs(30);

/// The most renewals that are kept. Each has a session of some kilobytes.
const MAX_KEPT: usize = 1_024;

/// What a renewal gave.
type Renewed = Result<Session, Failed>;

/// Renewals, by digests of what they are done with.
#[derive(Default)]
pub(super) struct Renewals(std::sync::Arc<Mutex<FxHashMap<[u8; 32], Renewal>>>);

struct Renewal {
    began: Instant,
    outcome: watch::Receiver<Option<Renewed>>,
}

impl Renewals {
    /// What tells what a session is renewed with from others.
    pub(super) fn digest(refresh_token: &str) -> [u8; 32] {
        let digest = digest(&SHA256, refresh_token.as_bytes());
        digest.as_ref().try_into().expect("a SHA-256 has 32 bytes")
    }

    /// What a renewal gives, which is begun unless it was; `None` if there are too many.
    pub(super) async fn get<F>(
        &self,
        digest: [u8; 32],
        now: Instant,
        begin: impl FnOnce() -> F,
    ) -> Option<Result<Box<Session>, Failed>>
    where
        F: Future<Output = Renewed> + Send + 'static,
    {
        let mut outcome = self.outcome(digest, now, begin)?;
        let done = outcome.wait_for(Option::is_some).await.ok()?;
        done.clone().map(|renewed| renewed.map(Box::new))
    }

    fn outcome<F>(
        &self,
        digest: [u8; 32],
        now: Instant,
        begin: impl FnOnce() -> F,
    ) -> Option<watch::Receiver<Option<Renewed>>>
    where
        F: Future<Output = Renewed> + Send + 'static,
    {
        let mut kept = self.0.lock();
        kept.retain(|_, renewal| now.saturating_duration_since(renewal.began) < KEPT_FOR);
        if let Some(renewal) = kept.get(&digest) {
            return Some(renewal.outcome.clone());
        }
        if kept.len() >= MAX_KEPT {
            return None;
        }
        let (sender, outcome) = watch::channel(None);
        kept.insert(digest, Renewal { began: now, outcome: outcome.clone() });
        let (renewal, all) = (begin(), self.0.clone());
        drop(tokio::spawn(async move {
            let renewed = renewal.await;
            if renewed.as_ref().is_err_and(Failed::is_unavailable) {
                // The next one tries again.
                all.lock().remove(&digest);
            }
            sender.send_replace(Some(renewed));
        }));
        Some(outcome)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    use penstock_policies::LoginFault;

    use super::*;

    async fn ask(renewals: &Renewals, token: &str, asked: &Arc<AtomicUsize>, fails: Failed) -> bool {
        let count = asked.clone();
        let renewed = renewals.get(Renewals::digest(token), Instant::now(), || async move {
            count.fetch_add(1, SeqCst);
            tokio::time::sleep(Duration::from_secs(1)).await;
            Err(fails)
        });
        renewed.await.is_some()
    }

    #[tokio::test(start_paused = true)]
    async fn many_who_ask_at_once_and_soon_after_have_one_renewal() {
        let (renewals, asked) = (Renewals::default(), Arc::<AtomicUsize>::default());
        let refused = || Failed::from(LoginFault::Code);
        let all = (0..50).map(|_| ask(&renewals, "a", &asked, refused()));
        assert!(futures::future::join_all(all).await.into_iter().all(|is_there| is_there));
        assert!(ask(&renewals, "b", &asked, refused()).await);
        assert_eq!(asked.load(SeqCst), 2);
        tokio::time::advance(KEPT_FOR).await;
        assert!(ask(&renewals, "a", &asked, refused()).await);
        assert_eq!(asked.load(SeqCst), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_goes_away_does_not_end_a_renewal_and_a_provider_that_is_back_is_asked_again() {
        let (renewals, asked) = (Renewals::default(), Arc::<AtomicUsize>::default());
        let gone = || Failed::from(LoginFault::Unavailable);
        let first = tokio::time::timeout(Duration::from_millis(1), ask(&renewals, "a", &asked, gone()));
        assert!(first.await.is_err());
        assert!(ask(&renewals, "a", &asked, gone()).await);
        assert_eq!(asked.load(SeqCst), 1);
        assert!(ask(&renewals, "a", &asked, gone()).await);
        assert_eq!(asked.load(SeqCst), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn there_are_only_so_many() {
        let (renewals, asked) = (Renewals::default(), Arc::<AtomicUsize>::default());
        let all: Vec<_> = (0..=MAX_KEPT).map(|at| at.to_string()).collect();
        let all = all.iter().map(|token| ask(&renewals, token, &asked, LoginFault::Code.into()));
        let served = futures::future::join_all(all).await.into_iter().filter(|is_there| *is_there);
        assert_eq!((served.count(), asked.load(SeqCst)), (MAX_KEPT, MAX_KEPT));
    }
}
