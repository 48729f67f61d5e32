use std::{fs, os::unix::fs::symlink, time::Duration};

use parking_lot::Mutex;
use penstock_config::{Fault, NoProfileCheck};
use tempfile::TempDir;
use tokio::sync::watch;

use super::*;
use crate::ReloadFailure;

/// Notes what is applied. Refuses documents called `refused`.
struct Recorder {
    applied: watch::Sender<Vec<String>>,
    files: Mutex<Vec<PathBuf>>,
    file_reloads: watch::Sender<usize>,
    lists: watch::Sender<Vec<(String, Option<String>)>>,
}

impl Recorder {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            applied: watch::Sender::default(),
            files: Mutex::default(),
            file_reloads: watch::Sender::default(),
            lists: watch::Sender::default(),
        })
    }

    async fn applied(&self, expected: &[&str]) {
        self.applied.subscribe().wait_for(|applied| applied == expected).await.unwrap();
    }
}

impl Applier for Recorder {
    fn apply(&self, snapshot: &Arc<Snapshot>) -> Result<(), Vec<Fault>> {
        let name = snapshot.name.as_deref().unwrap_or_default().to_owned();
        if name == "refused" {
            return Err(vec![Fault::new("listeners[0].address", "in use")]);
        }
        self.applied.send_modify(|applied| applied.push(name));
        Ok(())
    }

    fn set_list(&self, reference: &str, text: Option<&str>) {
        let list = (reference.to_owned(), text.map(str::to_owned));
        self.lists.send_modify(|lists| lists.push(list));
    }

    fn files(&self) -> Vec<PathBuf> {
        self.files.lock().clone()
    }

    fn reload_files(&self) {
        self.file_reloads.send_modify(|count| *count += 1);
    }
}

/// A source that is being watched, on a virtual clock.
struct Fixture {
    dir: TempDir,
    source: FileSource,
    recorder: Arc<Recorder>,
    stop: CancellationToken,
}

impl Fixture {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.yaml");
        fs::write(&path, document("first")).unwrap();
        Self::watching(dir, &path, Recorder::new())
    }

    fn watching(dir: TempDir, path: &Path, recorder: Arc<Recorder>) -> Self {
        let timing = Timing { kernel_events: false, ..Timing::default() };
        let source = FileSource::new(path, Arc::new(NoProfileCheck)).with_timing(timing);
        source.start().unwrap();
        let stop = CancellationToken::new();
        tokio::spawn({
            let (source, recorder, stop) = (source.clone(), recorder.clone(), stop.clone());
            async move { source.watch(recorder, stop).await.unwrap() }
        });
        Self { dir, source, recorder, stop }
    }

    fn write(&self, text: &str) {
        fs::write(self.source.path(), text).unwrap();
    }

    /// Waits until `failures` reloads have failed.
    async fn failed(&self, failures: u64) -> ReloadFailure {
        loop {
            let status = self.source.status().get();
            if status.failures >= failures {
                return status.last_failure.unwrap();
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn document(name: &str) -> String {
    format!(
        "apiVersion: penstock.dev/v1alpha1\nkind: RoutingConfig\nmetadata: {{name: {name}, generation: 7}}\n\
         listeners:\n  - {{name: http, address: \"127.0.0.1:0\", protocol: HTTP}}\n"
    )
}

#[tokio::test(start_paused = true)]
async fn a_changed_document_is_applied_and_counted() {
    let fixture = Fixture::start();
    assert_eq!(fixture.source.status().get().generation, 1);
    fixture.write(&document("second"));
    fixture.recorder.applied(&["second"]).await;
    let status = fixture.source.status().get();
    assert_eq!((status.generation, status.document_generation), (2, Some(7)));
}

#[tokio::test(start_paused = true)]
async fn lists_are_watched_without_reloading_the_document() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.yaml");
    let list = dir.path().join("list.yaml");
    fs::write(&path, document("first") + "pools: [{name: p, endpointsFrom: [list.yaml]}]\n").unwrap();
    let fixture = Fixture::watching(dir, &path, Recorder::new());
    let mut lists = fixture.recorder.lists.subscribe();
    let is = |text: Option<&str>| ("list.yaml".to_owned(), text.map(str::to_owned));
    lists.wait_for(|lists| lists.last() == Some(&is(None))).await.unwrap();
    fs::write(&list, "a").unwrap();
    lists.wait_for(|lists| lists.last() == Some(&is(Some("a")))).await.unwrap();
    fs::remove_file(&list).unwrap();
    lists.wait_for(|lists| lists.last() == Some(&is(None)) && lists.len() > 2).await.unwrap();
    assert!(fixture.recorder.applied.borrow().is_empty(), "the document was not loaded again");
}

#[tokio::test(start_paused = true)]
async fn a_faulty_document_is_reported_until_it_is_mended() {
    let fixture = Fixture::start();
    fixture.write("apiVersion: penstock.dev/v1alpha1\nkind: RoutingConfig\nlistener: []\n");
    let failure = fixture.failed(1).await;
    assert!(!failure.faults.is_empty());
    assert_eq!(fixture.source.status().get().generation, 1, "the running one stays");

    fixture.write(&document("mended"));
    fixture.recorder.applied(&["mended"]).await;
    let status = fixture.source.status().get();
    assert_eq!((status.generation, status.failures, status.last_failure), (2, 1, None));
}

#[tokio::test(start_paused = true)]
async fn a_document_that_cannot_be_applied_is_reported_with_its_places() {
    let fixture = Fixture::start();
    fixture.write(&document("refused"));
    let failure = fixture.failed(1).await;
    assert_eq!(failure.faults[0].to_string(), "listeners[0].address: in use");
}

#[tokio::test(start_paused = true)]
async fn a_half_written_document_does_not_replace_a_whole_one() {
    let fixture = Fixture::start();
    let whole = document("whole");
    fixture.write(&whole[..whole.len() / 2]);
    fixture.failed(1).await;
    fixture.write(&whole);
    fixture.recorder.applied(&["whole"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_deleted_document_is_reported_and_read_again_when_it_is_back() {
    let fixture = Fixture::start();
    fs::remove_file(fixture.source.path()).unwrap();
    let failure = fixture.failed(1).await;
    assert!(failure.faults[0].message.contains("cannot open the file"), "{failure:?}");
    fixture.write(&document("first"));
    fixture.recorder.applied(&["first"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_kubernetes_mount_that_is_swapped_is_read_again() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let publish = |version: &str, name: &str| {
        fs::create_dir(at(version)).unwrap();
        fs::write(at(version).join("config.yaml"), document(name)).unwrap();
        symlink(version, at("..data_tmp")).unwrap();
        fs::rename(at("..data_tmp"), at("..data")).unwrap();
    };
    publish("..1", "first");
    let path = at("config.yaml");
    symlink("..data/config.yaml", &path).unwrap();

    let fixture = Fixture::watching(tempfile::tempdir().unwrap(), &path, Recorder::new());
    publish("..2", "second");
    fs::remove_dir_all(at("..1")).unwrap();
    fixture.recorder.applied(&["second"]).await;
    publish("..3", "third");
    fixture.recorder.applied(&["second", "third"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_changed_certificate_reloads_files_and_not_the_document() {
    let dir = tempfile::tempdir().unwrap();
    let (path, certificate) = (dir.path().join("config.yaml"), dir.path().join("tls.crt"));
    fs::write(&path, document("first")).unwrap();
    fs::write(&certificate, "old").unwrap();
    let recorder = Recorder::new();
    recorder.files.lock().push(certificate.clone());
    let fixture = Fixture::watching(dir, &path, recorder);

    let mut reloads = fixture.recorder.file_reloads.subscribe();
    // Once at the start, for what changed before it was watched.
    reloads.wait_for(|&count| count == 1).await.unwrap();
    fs::write(&certificate, "new").unwrap();
    reloads.wait_for(|&count| count == 2).await.unwrap();
    assert!(fixture.recorder.applied.borrow().is_empty());
    assert_eq!(fixture.source.status().get().generation, 1);
    assert!(fixture.dir.path().exists());
}

#[tokio::test(start_paused = true)]
async fn a_hangup_reloads_everything_though_nothing_changed() {
    let fixture = Fixture::start();
    let recorder = Recorder::new();
    let (mut hang_up, hangups) = futures::channel::mpsc::channel(1);
    let source = fixture.source.clone();
    tokio::spawn({
        let recorder = recorder.clone();
        async move { source.keep_up(&*recorder, hangups).await }
    });
    let mut reloads = recorder.file_reloads.subscribe();
    reloads.wait_for(|&count| count == 1).await.unwrap();
    hang_up.try_send(()).unwrap();
    recorder.applied(&["first"]).await;
    reloads.wait_for(|&count| count == 2).await.unwrap();
}
