//! Asking again: what changes, what stays, and when. On a virtual clock.

use std::path::PathBuf;

use super::*;

/// Notes what is applied.
#[derive(Default)]
pub(super) struct Recorder {
    pub(super) applied: watch::Sender<Vec<Arc<Snapshot>>>,
    /// Refuses what is applied, while it is set.
    is_refusing: Mutex<bool>,
}

impl Recorder {
    pub(super) async fn count(&self, count: usize) -> Arc<Snapshot> {
        let mut applied = self.applied.subscribe();
        let applied = applied.wait_for(|applied| applied.len() >= count).await.unwrap();
        assert_eq!(applied.len(), count);
        applied[count - 1].clone()
    }
}

impl Applier for Recorder {
    fn apply(&self, snapshot: &Arc<Snapshot>) -> Result<(), Vec<Fault>> {
        if *self.is_refusing.lock() {
            return Err(vec![Fault::new("listeners[0].address", "in use")]);
        }
        self.applied.send_modify(|applied| applied.push(snapshot.clone()));
        Ok(())
    }

    fn set_list(&self, _: &str, _: Option<&str>) {}

    fn files(&self) -> Vec<PathBuf> {
        Vec::new()
    }

    fn reload_files(&self) {}
}

/// A source that goes on asking.
pub(super) struct Polling {
    pub(super) recorder: Arc<Recorder>,
    status: Arc<StatusCell>,
    pub(super) hang_up: mpsc::Sender<()>,
    task: tokio::task::JoinHandle<()>,
}

impl Polling {
    /// Starts `source`, which has `first` models to serve.
    pub(super) async fn start(mut source: UpSource, first: &[&str]) -> Self {
        let (snapshot, _) = source.start().await.unwrap();
        assert_eq!(snapshot.as_ref().map(|snapshot| ids(snapshot)).unwrap_or_default(), first);
        let (recorder, status) = (Arc::new(Recorder::default()), source.status().clone());
        let (hang_up, hangups) = mpsc::channel(1);
        let applier = recorder.clone();
        let task = tokio::spawn(async move { source.keep_up(&*applier, hangups).await });
        Self { recorder, status, hang_up, task }
    }
}

impl Drop for Polling {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_started_later_is_served_then() {
    let servers = Arc::new(Servers::default());
    let a = servers.serve("10.0.0.1:8000", &["m"]);
    let polling = Polling::start(servers.source(&[&a, "http://10.0.0.2:8000"], &[], None), &["m"]).await;
    servers.serve("10.0.0.2:8000", &["m"]);
    let snapshot = polling.recorder.count(1).await;
    assert_eq!(pools(&snapshot)["m"], [address("10.0.0.1:8000"), address("10.0.0.2:8000")]);
    assert_eq!(polling.status.get().generation, 2);
}

#[tokio::test(start_paused = true)]
async fn a_first_server_is_waited_for() {
    let servers = Arc::new(Servers::default());
    let polling = Polling::start(servers.source(&["http://10.0.0.1:8000"], &[], None), &[]).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(polling.status.get().waits_for.unwrap().contains("nothing listens"));
    servers.serve("10.0.0.1:8000", &["m"]);
    assert_eq!(ids(&*polling.recorder.count(1).await), ["m"]);
    assert_eq!(polling.status.get().waits_for, None);
}

#[tokio::test(start_paused = true)]
async fn an_adapter_that_comes_and_goes_is_served_meanwhile() {
    let servers = Arc::new(Servers::default());
    let url = servers.serve("10.0.0.1:8000", &["base"]);
    let polling = Polling::start(servers.source(&[&url], &[], None), &["base"]).await;
    servers.serve("10.0.0.1:8000", &["base", "lora<base"]);
    let snapshot = polling.recorder.count(1).await;
    assert_eq!(ids(&snapshot), ["base", "lora"]);
    assert_eq!(pools(&snapshot).into_keys().collect::<Vec<_>>(), ["base"], "the pool stays the same");
    servers.serve("10.0.0.1:8000", &["base"]);
    assert_eq!(ids(&*polling.recorder.count(2).await), ["base"]);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_restarts_keeps_its_place() {
    let servers = Arc::new(Servers::default());
    let (a, b) = (servers.serve("10.0.0.1:8000", &["m"]), servers.serve("10.0.0.2:8000", &["n"]));
    let polling = Polling::start(servers.source(&[&a, &b], &[], None), &["m", "n"]).await;
    servers.remove(&a);
    tokio::time::sleep(Duration::from_secs(60)).await;
    servers.serve("10.0.0.1:8000", &["m"]);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(polling.recorder.applied.borrow().is_empty(), "nothing has changed");
}

/// vLLM says of each model that it was created at the time of the request.
#[tokio::test(start_paused = true)]
async fn a_model_that_is_made_anew_with_each_answer_is_the_same() {
    let servers = Arc::new(Servers::default());
    let body = |created: u64| json!({ "data": [{ "id": "m", "created": created }] }).to_string();
    let url = servers.add("10.0.0.1:8000", 200, body(1_700_000_000));
    let polling = Polling::start(servers.source(&[&url], &[], None), &["m"]).await;
    for second in 1..30 {
        servers.add("10.0.0.1:8000", 200, body(1_700_000_000 + second));
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert!(polling.recorder.applied.borrow().is_empty(), "nothing has changed");
    assert!(servers.shown.lock().len() > 2, "it was asked again");
}

#[tokio::test(start_paused = true)]
async fn a_hangup_asks_at_once() {
    let servers = Arc::new(Servers::default());
    let url = servers.serve("10.0.0.1:8000", &["m"]);
    let mut polling = Polling::start(servers.source(&[&url], &[], None), &["m"]).await;
    // The first delay has begun.
    tokio::time::sleep(Duration::from_millis(1)).await;
    servers.serve("10.0.0.1:8000", &["m", "n"]);
    let before = tokio::time::Instant::now();
    polling.hang_up.try_send(()).unwrap();
    polling.recorder.count(1).await;
    assert_eq!(before.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_answer_is_asked_more_and_more_rarely() {
    let servers = Arc::new(Servers::default());
    let polling = Polling::start(servers.source(&["http://10.0.0.1:8000"], &[], None), &[]).await;
    let mut counts = Vec::new();
    for _ in 0..4 {
        tokio::time::sleep(Duration::from_secs(10)).await;
        counts.push(std::mem::take(&mut *servers.shown.lock()).len());
    }
    // After 0, 1, 3, 7, 12, 17 … seconds.
    assert_eq!(counts, [4, 2, 2, 2]);
    drop(polling);
}

#[tokio::test(start_paused = true)]
async fn what_was_refused_is_tried_again() {
    let servers = Arc::new(Servers::default());
    let polling = Polling::start(servers.source(&["http://10.0.0.1:8000"], &[], None), &[]).await;
    *polling.recorder.is_refusing.lock() = true;
    servers.serve("10.0.0.1:8000", &["m"]);
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(
        polling.status.get().last_failure.unwrap().faults[0].to_string(),
        "listeners[0].address: in use"
    );
    *polling.recorder.is_refusing.lock() = false;
    polling.recorder.count(1).await;
    assert_eq!(polling.status.get().last_failure, None);
}
