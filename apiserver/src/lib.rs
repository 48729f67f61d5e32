//! How the gateway and the operator talk to the Kubernetes API server: for how long they wait for it, and how soon they
//! come back to it.

use std::time::Duration;

use backon::ExponentialBuilder;
use kube::{
    Client, Config,
    client::ClientBuilder,
    runtime::{utils::ResetTimerBackoff, watcher::ExponentialBackoff},
};
use tower::timeout::TimeoutLayer;

/// For how long the API server is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Until it has accepted a connection.
    pub connect: Duration,
    /// Until it begins its answer. A page of a long list takes seconds.
    pub answer: Duration,
    /// Until the next piece of an answer. A watch is told of something at least once a minute, a bookmark if nothing else,
    /// and is renewed within five.
    pub silence: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            answer: Duration::from_secs(20),
            silence: Duration::from_secs(300),
        }
    }
}

impl Limits {
    /// A client that keeps to them. A request that gets lost is tried again by whoever sent it, and holds up nothing; the
    /// client's own retries, which would wait for up to minutes unseen by anybody, are off.
    ///
    /// # Errors
    /// What the configuration has, certificates say, cannot be used.
    pub fn client(self, mut config: Config) -> Result<Client, kube::Error> {
        // One provider, said once: whatever else is linked in must not make the choice ambiguous. Who chose before us
        // meant this one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        config.connect_timeout = Some(self.connect);
        config.read_timeout = Some(self.silence);
        config.default_retry = false;
        Ok(ClientBuilder::try_from(config)?.with_layer(&TimeoutLayer::new(self.answer)).build())
    }
}

/// How long a broken watch waits before it goes on: soon at first, since an API server that restarts is back in seconds,
/// and never much longer, since endpoints are stale meanwhile, and a secret may be waited for whose Role is just coming.
/// kube's default waits for up to a minute, and forgets what went wrong after two minutes only. Jitter adds at most as
/// much again, so that many data planes do not come back at once.
#[must_use]
pub fn patience() -> ResetTimerBackoff<ExponentialBackoff> {
    // What does not change gives no sign that its watch works again; so much time without a failure is one.
    const WORKS: Duration = Duration::from_secs(30);
    let waits = ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(200))
        .with_max_delay(Duration::from_secs(5))
        .with_factor(2.0)
        .without_max_times()
        .with_jitter();
    ResetTimerBackoff::new(ExponentialBackoff::from(waits), WORKS)
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::Api;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;

    /// What asking an API server for a ConfigMap ends with, where everything but `limits` takes an hour.
    async fn ask(server: &TcpListener, limits: Limits) -> kube::Error {
        let url = format!("http://{}", server.local_addr().unwrap()).parse().unwrap();
        let client = limits.client(Config::new(url)).unwrap();
        Api::<ConfigMap>::namespaced(client, "default").get("any").await.unwrap_err()
    }

    const HOUR: Limits = {
        let hour = Duration::from_secs(3600);
        Limits { connect: hour, answer: hour, silence: hour }
    };
    const SOON: Duration = Duration::from_millis(50);

    #[tokio::test]
    async fn an_api_server_that_begins_no_answer_is_given_up() {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let error = ask(&server, Limits { answer: SOON, ..HOUR }).await;
        let kube::Error::Service(cause) = &error else { panic!("{error:?}") };
        assert!(cause.is::<tower::timeout::error::Elapsed>(), "{error:?}");
    }

    #[tokio::test]
    async fn an_answer_that_goes_silent_is_given_up() {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let half = async {
            let (mut client, _) = server.accept().await.unwrap();
            let mut request = [0; 1024];
            assert!(client.read(&mut request).await.unwrap() > 0);
            client.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{").await.unwrap();
            std::future::pending::<()>().await;
        };
        let error = tokio::select! {
            error = ask(&server, Limits { silence: SOON, ..HOUR }) => error,
            () = half => unreachable!(),
        };
        let mut causes = std::iter::successors(std::error::Error::source(&error), |cause| cause.source());
        let timed_out = |cause: &(dyn std::error::Error + 'static)| {
            cause.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == ErrorKind::TimedOut)
        };
        assert!(causes.any(timed_out), "{error:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_broken_watch_is_tried_soon_and_never_given_up() {
        let within = |wait: Duration, least_ms: u64| {
            let least = Duration::from_millis(least_ms);
            assert!(wait >= least && wait <= 2 * least, "{wait:?} for {least:?}");
        };
        let mut patience = patience();
        let waits: Vec<Duration> = patience.by_ref().take(40).collect();
        assert_eq!(waits.len(), 40);
        waits.iter().zip([200, 400, 800, 1600, 3200, 5000]).for_each(|(wait, least)| within(*wait, least));
        within(waits[39], 5000);
        tokio::time::advance(Duration::from_secs(20)).await;
        within(patience.next().unwrap(), 5000);
        tokio::time::advance(Duration::from_secs(31)).await;
        within(patience.next().unwrap(), 200);
    }
}
