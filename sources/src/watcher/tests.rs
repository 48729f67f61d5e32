use std::{fs, os::unix::fs::symlink};

use tempfile::TempDir;

use super::*;

/// No poll within the life of a test: what is found was found by an event.
fn events_only() -> Timing {
    Timing {
        poll: Duration::from_secs(3600),
        settle: Duration::from_millis(1),
        settle_limit: Duration::from_secs(1),
        kernel_events: true,
    }
}

fn polling() -> Timing {
    Timing { kernel_events: false, ..Timing::default() }
}

async fn watch(path: &Path, timing: Timing) -> FileWatcher {
    FileWatcher::new([path.to_owned()], 1 << 20, timing).await
}

/// A volume as the kubelet lays it out: `FILE -> ..data/FILE`, `..data -> ..TIMESTAMP`.
struct Mount {
    dir: TempDir,
    version: u32,
}

impl Mount {
    fn new(content: &str) -> Self {
        let mut mount = Self { dir: tempfile::tempdir().unwrap(), version: 0 };
        mount.publish(content);
        symlink("..data/config.yaml", mount.file()).unwrap();
        mount
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("config.yaml")
    }

    /// The steps of the kubelet's AtomicWriter: a new directory, a link beside `..data`, a rename
    /// over it, and the old directory is removed.
    fn publish(&mut self, content: &str) {
        let old = format!("..version_{}", self.version);
        self.version += 1;
        let new = format!("..version_{}", self.version);
        fs::create_dir(self.dir.path().join(&new)).unwrap();
        fs::write(self.dir.path().join(&new).join("config.yaml"), content).unwrap();
        symlink(&new, self.dir.path().join("..data_tmp")).unwrap();
        fs::rename(self.dir.path().join("..data_tmp"), self.dir.path().join("..data")).unwrap();
        let _ = fs::remove_dir_all(self.dir.path().join(old));
    }
}

#[tokio::test]
async fn a_write_in_place_is_seen() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c");
    fs::write(&path, "1").unwrap();
    let mut watcher = watch(&path, events_only()).await;
    fs::write(&path, "2").unwrap();
    assert_eq!(watcher.changed().await, [path]);
}

#[tokio::test]
async fn a_change_that_comes_while_waiting_is_seen_by_event() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c");
    fs::write(&path, "1").unwrap();
    let mut watcher = watch(&path, events_only()).await;
    let writer = tokio::spawn({
        let path = path.clone();
        async move {
            // Yields until the watcher had its first look at unchanged content.
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
            fs::write(path, "2").unwrap();
        }
    });
    assert_eq!(watcher.changed().await, [path]);
    writer.await.unwrap();
}

#[tokio::test]
async fn a_rename_over_the_file_is_seen_again_and_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c");
    fs::write(&path, "0").unwrap();
    let mut watcher = watch(&path, events_only()).await;
    for version in 1..5 {
        fs::write(dir.path().join("new"), version.to_string()).unwrap();
        fs::rename(dir.path().join("new"), &path).unwrap();
        assert_eq!(watcher.changed().await, std::slice::from_ref(&path));
    }
}

#[tokio::test]
async fn a_kubernetes_mount_is_seen_again_and_again() {
    let mut mount = Mount::new("0");
    let mut watcher = watch(&mount.file(), events_only()).await;
    for version in 1..5 {
        mount.publish(&version.to_string());
        assert_eq!(watcher.changed().await, [mount.file()]);
    }
}

#[tokio::test]
async fn a_file_that_goes_and_comes_back_is_seen_twice() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c");
    fs::write(&path, "1").unwrap();
    let mut watcher = watch(&path, events_only()).await;
    fs::remove_file(&path).unwrap();
    assert_eq!(watcher.changed().await, std::slice::from_ref(&path));
    fs::write(&path, "1").unwrap();
    assert_eq!(watcher.changed().await, [path]);
}

#[tokio::test]
async fn a_file_in_a_directory_that_is_replaced_is_still_watched() {
    let dir = tempfile::tempdir().unwrap();
    let inner = dir.path().join("inner");
    fs::create_dir(&inner).unwrap();
    let path = inner.join("c");
    fs::write(&path, "1").unwrap();
    let mut watcher = watch(&path, events_only()).await;
    fs::remove_dir_all(&inner).unwrap();
    assert_eq!(watcher.changed().await, std::slice::from_ref(&path));
    fs::create_dir(&inner).unwrap();
    fs::write(&path, "2").unwrap();
    assert_eq!(watcher.changed().await, [path]);
}

#[tokio::test(start_paused = true)]
async fn without_events_the_poll_sees_every_kind_of_change() {
    let mut mount = Mount::new("0");
    let mut watcher = watch(&mount.file(), polling()).await;
    mount.publish("1");
    assert_eq!(watcher.changed().await, [mount.file()]);
    fs::write(mount.file(), "2").unwrap();
    assert_eq!(watcher.changed().await, [mount.file()]);
}

#[tokio::test(start_paused = true)]
async fn a_file_that_is_being_written_is_reported_when_it_is_whole() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c");
    fs::write(&path, "old").unwrap();
    let mut watcher = watch(&path, polling()).await;
    fs::write(&path, "ha").unwrap();
    let writer = tokio::spawn({
        let path = path.clone();
        async move {
            for part in ["half", "half an", "half and whole"] {
                tokio::time::sleep(Duration::from_millis(60)).await;
                fs::write(&path, part).unwrap();
            }
        }
    });
    watcher.changed().await;
    assert!(writer.is_finished(), "reported before the writer was done");
    let whole = Content::of(&path, 1 << 20);
    assert_eq!(watcher.files[0].content, whole);
}

#[tokio::test(start_paused = true)]
async fn a_file_that_never_settles_is_reported_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c");
    fs::write(&path, "0").unwrap();
    let mut watcher = watch(&path, polling()).await;
    let writer = tokio::spawn({
        let path = path.clone();
        async move {
            for count in 1_u64.. {
                fs::write(&path, count.to_string()).unwrap();
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    });
    assert_eq!(watcher.changed().await, [path]);
    writer.abort();
}

#[tokio::test(start_paused = true)]
async fn new_paths_keep_what_is_known_of_old_ones() {
    let dir = tempfile::tempdir().unwrap();
    let (first, second) = (dir.path().join("a"), dir.path().join("b"));
    fs::write(&first, "1").unwrap();
    let mut watcher = watch(&first, polling()).await;
    fs::write(&first, "2").unwrap();
    watcher.set_paths([second.clone(), first.clone()]).await;
    assert_eq!(watcher.changed().await, [first], "a change before set_paths must not be lost");
    fs::write(&second, "1").unwrap();
    assert_eq!(watcher.changed().await, [second]);
}
