//! Time stands still here but where it is moved; what is fetched comes from a script.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use ::http::HeaderValue;
use futures::FutureExt;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use penstock_config::{AzureIdentity, GcpIdentity, TokenSource};
use tokio::time::{Instant, advance, sleep};

use super::{Keeper, Kept};
use crate::aws_keys::AwsKeys;
use crate::context::Fetched;
use crate::error::FetchError;
use crate::fetch::Fetch;
use crate::secret::Secret;

/// Gives what it was told to, in turn, and notes when it was asked. Without more to give it fails.
#[derive(Default)]
struct Script {
    answers: Mutex<VecDeque<(Duration, Result<Fetched, FetchError>)>>,
    asked: Mutex<Vec<Instant>>,
}

impl Script {
    fn then(self: &Arc<Self>, answer: Result<Fetched, FetchError>) -> &Arc<Self> {
        self.then_after(Duration::ZERO, answer)
    }

    fn then_after(self: &Arc<Self>, takes: Duration, answer: Result<Fetched, FetchError>) -> &Arc<Self> {
        self.answers.lock().push_back((takes, answer));
        self
    }

    fn asked(&self) -> usize {
        self.asked.lock().len()
    }
}

impl Fetch for Script {
    fn fetch<'a>(&'a self, _: &'a TokenSource) -> BoxFuture<'a, Result<Fetched, FetchError>> {
        self.asked.lock().push(Instant::now());
        let (takes, answer) = self.answers.lock().pop_front().unwrap_or((Duration::ZERO, refused()));
        sleep(takes).map(|()| answer).boxed()
    }
}

fn source() -> TokenSource {
    TokenSource::Gcp { by: GcpIdentity::Environment, scope: "s".into(), endpoint: None }
}

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn token(name: &str, lifetime: u64) -> Result<Fetched, FetchError> {
    Ok(Fetched { secret: Secret::bearer(name).unwrap(), lifetime: Some(secs(lifetime)) })
}

fn refused() -> Result<Fetched, FetchError> {
    Err(FetchError::Nowhere("there is none"))
}

/// The token that requests are shown now.
fn shown(kept: &Kept) -> Option<String> {
    kept.secret().as_ref().map(|secret| match &**secret {
        Secret::Header(value) => value.to_str().unwrap().to_owned(),
        Secret::Aws(keys) => keys.access_key.to_string(),
    })
}

/// Lets tasks do all that they can do now.
async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

async fn after(seconds: u64) {
    advance(secs(seconds)).await;
    settle().await;
}

fn keep(script: &Arc<Script>) -> (Keeper, Arc<Kept>) {
    let keeper = Keeper::new(script.clone());
    let kept = keeper.keep(&source());
    (keeper, kept)
}

#[tokio::test(start_paused = true)]
async fn a_token_is_fetched_again_before_its_end_and_the_old_one_used_meanwhile() {
    let script = Arc::new(Script::default());
    script.then(token("one", 3600)).then_after(secs(20), token("two", 3600));
    let (_keeper, kept) = keep(&script);
    assert!(kept.is_awaited() && !kept.is_available());
    settle().await;
    assert_eq!(shown(&kept).as_deref(), Some("Bearer one"));
    assert!(!kept.is_awaited() && kept.is_available());
    // 5 minutes before the end, or up to half a minute sooner.
    after(3600 - 300 - 31).await;
    assert_eq!(script.asked(), 1);
    after(31).await;
    assert_eq!((script.asked(), shown(&kept).as_deref()), (2, Some("Bearer one")));
    after(20).await;
    assert_eq!((kept.state().fetched, shown(&kept).as_deref()), (2, Some("Bearer two")));
    assert_eq!(kept.state().expires_in.unwrap().as_secs(), 3600);
}

#[tokio::test(start_paused = true)]
async fn keys_of_aws_are_fetched_a_quarter_of_an_hour_before_and_short_ones_at_half_their_time() {
    let keys = || Secret::Aws(AwsKeys::new("A", "s", None).unwrap());
    let script = Arc::new(Script::default());
    script
        .then(Ok(Fetched { secret: keys(), lifetime: Some(secs(3600)) }))
        .then(Ok(Fetched { secret: keys(), lifetime: Some(secs(1000)) }))
        .then(token("t", 60));
    let (_keeper, _kept) = keep(&script);
    settle().await;
    after(3600 - 900 - 91).await;
    assert_eq!(script.asked(), 1);
    after(91).await;
    assert_eq!(script.asked(), 2);
    let second = script.asked.lock()[1];
    after(500).await;
    assert_eq!(script.asked(), 3);
    let third = script.asked.lock()[2];
    assert!((secs(409)..=secs(500)).contains(&(third - second)), "{:?}", third - second);
    after(29).await;
    assert_eq!(script.asked(), 3);
    after(1).await;
    assert_eq!(script.asked(), 4);
}

#[tokio::test(start_paused = true)]
async fn failures_are_tried_again_with_growing_pauses_until_one_succeeds() {
    let script = Arc::new(Script::default());
    for _ in 0..8 {
        script.then(refused());
    }
    script.then(token("at last", 3600)).then(refused()).then(token("again", 3600));
    let (_keeper, kept) = keep(&script);
    settle().await;
    assert_eq!((kept.is_awaited(), kept.is_available()), (false, false));
    let state = kept.state();
    assert_eq!((state.error.as_deref(), state.failed, state.expires_in), (Some("there is none"), 1, None));
    sleep(secs(400)).await;
    let asked = script.asked.lock().clone();
    assert_eq!(asked.len(), 9, "{asked:?}");
    for (before, (pair, longest)) in asked.windows(2).zip([1, 2, 4, 8, 16, 30, 30, 30]).enumerate() {
        let pause = pair[1] - pair[0];
        assert!(
            (secs(longest)..=secs(2 * longest) + Duration::from_millis(5)).contains(&pause),
            "{before}: {pause:?}"
        );
    }
    assert_eq!((shown(&kept).as_deref(), kept.state().error), (Some("Bearer at last"), None));
    // After a success the pauses begin anew.
    sleep(secs(3600)).await;
    let asked = script.asked.lock().clone();
    let pause = asked[10] - asked[9];
    assert!(pause <= secs(2) + Duration::from_millis(5), "{pause:?}");
    assert_eq!(shown(&kept).as_deref(), Some("Bearer again"));
}

#[tokio::test(start_paused = true)]
async fn what_is_valid_stays_in_use_while_fetches_fail_and_is_taken_away_at_its_end() {
    let script = Arc::new(Script::default());
    script.then(token("one", 3600));
    let (_keeper, kept) = keep(&script);
    settle().await;
    sleep(secs(3560)).await;
    assert!(script.asked() > 3);
    assert_eq!((shown(&kept).as_deref(), kept.is_available()), (Some("Bearer one"), true));
    assert_eq!(kept.state().error.as_deref(), Some("there is none"));
    // Half a minute before its end it might arrive too late.
    sleep(secs(11)).await;
    assert_eq!((shown(&kept), kept.is_available()), (None, false));
    assert_eq!(kept.state().expires_in, None);
    // It comes back.
    script.then(token("two", 3600));
    sleep(secs(61)).await;
    assert_eq!((shown(&kept).as_deref(), kept.is_available()), (Some("Bearer two"), true));
}

#[tokio::test(start_paused = true)]
async fn a_fetch_that_hangs_is_given_up_and_the_token_ends_meanwhile() {
    let script = Arc::new(Script::default());
    script.then(token("one", 20)).then_after(secs(1000), token("never", 20));
    let (_keeper, kept) = keep(&script);
    settle().await;
    sleep(secs(19)).await;
    assert_eq!((script.asked(), shown(&kept)), (2, None));
    sleep(Duration::from_millis(21_500)).await;
    assert_eq!(kept.state().error.as_deref(), Some("the requests took too long together"));
}

#[tokio::test(start_paused = true)]
async fn one_that_is_refused_is_fetched_again_once_a_minute_at_most() {
    let script = Arc::new(Script::default());
    script.then(token("one", 36_000)).then(token("two", 36_000)).then(token("three", 36_000));
    let (_keeper, kept) = keep(&script);
    settle().await;
    kept.suspect();
    assert_eq!(shown(&kept).as_deref(), Some("Bearer one"));
    settle().await;
    assert_eq!((script.asked(), shown(&kept).as_deref()), (2, Some("Bearer two")));
    after(59).await;
    kept.suspect();
    settle().await;
    assert_eq!(script.asked(), 2);
    after(1).await;
    kept.suspect();
    settle().await;
    assert_eq!((script.asked(), shown(&kept).as_deref()), (3, Some("Bearer three")));
}

#[tokio::test(start_paused = true)]
async fn equal_sources_are_fetched_once_for_as_long_as_one_is_held() {
    let script = Arc::new(Script::default());
    script.then(token("one", 36_000)).then(token("other", 36_000)).then(token("anew", 36_000));
    let (keeper, kept) = keep(&script);
    settle().await;
    let same = keeper.keep(&source());
    assert!(Arc::ptr_eq(&kept, &same));
    let other = TokenSource::Azure {
        tenant_id: None,
        client_id: None,
        by: AzureIdentity::Environment,
        scope: "s".into(),
        endpoint: None,
    };
    let other = keeper.keep(&other);
    settle().await;
    assert_eq!((script.asked(), shown(&other).as_deref()), (2, Some("Bearer other")));
    drop(kept);
    assert_eq!(shown(&keeper.keep(&source())).as_deref(), Some("Bearer one"));
    drop(same);
    let anew = keeper.keep(&source());
    settle().await;
    assert_eq!((script.asked(), shown(&anew).as_deref()), (3, Some("Bearer anew")));
    // Of those that nobody holds nothing goes on.
    drop((anew, other));
    sleep(secs(100_000)).await;
    assert_eq!(script.asked(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_file_that_changes_has_it_fetched_again() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("key.json");
    std::fs::write(&file, "one").unwrap();
    let script = Arc::new(Script::default());
    script.then(token("one", 36_000)).then(token("two", 36_000));
    let by = GcpIdentity::File { path: file.clone(), is_local: true };
    let kept = Keeper::new(script.clone()).keep(&TokenSource::Gcp { by, scope: "s".into(), endpoint: None });
    settle().await;
    assert!(!kept.look_at_files());
    settle().await;
    assert_eq!(script.asked(), 1);
    std::fs::write(&file, "two").unwrap();
    assert!(kept.look_at_files());
    settle().await;
    assert_eq!((script.asked(), shown(&kept).as_deref()), (2, Some("Bearer two")));
}

#[tokio::test(start_paused = true)]
async fn waiting_for_the_first_has_a_limit() {
    let script = Arc::new(Script::default());
    script.then_after(secs(5), token("one", 36_000));
    let (_keeper, kept) = keep(&script);
    let began = Instant::now();
    kept.first(secs(2)).await;
    assert_eq!((began.elapsed().as_secs(), kept.is_awaited()), (2, true));
    kept.first(secs(20)).await;
    assert_eq!((began.elapsed().as_secs(), kept.is_available()), (5, true));
    kept.first(secs(20)).await;
    assert_eq!(began.elapsed().as_secs(), 5);
}

#[test]
fn nothing_shows_a_secret() {
    let mut value = HeaderValue::from_static("Bearer hush");
    value.set_sensitive(true);
    let shown = format!(
        "{:?} {:?} {:?}",
        Secret::Header(value),
        AwsKeys::new("id", "hush", Some("hush")),
        Fetched { secret: Secret::bearer("hush").unwrap(), lifetime: None },
    );
    assert!(!shown.contains("hush"), "{shown}");
}
