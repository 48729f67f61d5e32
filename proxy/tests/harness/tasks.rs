//! Tasks that hand their panics on, and waiting for conditions.

use std::future::Future;
use std::time::Duration;

use super::PATIENCE;

/// How often [`eventually`] looks: the conditions it waits for have nothing to be woken by.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// A task; dropping it ends the task.
#[must_use]
pub(crate) struct Task<T>(tokio::task::JoinHandle<T>);

/// Starts a task.
pub(crate) fn spawn<T: Send + 'static>(future: impl Future<Output = T> + Send + 'static) -> Task<T> {
    Task(tokio::spawn(future))
}

impl<T> Task<T> {
    /// Waits for the task's end, and panics if it panicked.
    pub(crate) async fn join(mut self) -> T {
        match within("a task to end", &mut self.0).await {
            Ok(value) => value,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(error) => panic!("{error}"),
        }
    }

    /// Whether it has ended.
    pub(crate) fn is_finished(&self) -> bool {
        self.0.is_finished()
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Waits for `future`, but not for ever.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited in vain for {what}"),
    }
}

/// Waits until `look` finds something.
pub(crate) async fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    within(what, async {
        loop {
            ticks.tick().await;
            if let Some(found) = look() {
                return found;
            }
        }
    })
    .await
}
