//! A wire between a gateway and its store, which can be cut, or lose what comes back.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// A wire. What it swallows is lost for good; connections stay.
pub(crate) struct Wire {
    address: SocketAddr,
    loses: Arc<Loses>,
    accept: JoinHandle<()>,
}

#[derive(Default)]
struct Loses {
    questions: AtomicBool,
    answers: AtomicBool,
}

impl Wire {
    /// One to this address.
    pub(crate) async fn to(address: String) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let own = listener.local_addr().expect("its address");
        let loses = Arc::new(Loses::default());
        let shared = Arc::clone(&loses);
        let accept = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(&address).await else { continue };
                client.set_nodelay(true).and_then(|()| server.set_nodelay(true)).expect("options");
                let (from_client, to_client) = client.into_split();
                let (from_server, to_server) = server.into_split();
                let (there, back) = (Arc::clone(&shared), Arc::clone(&shared));
                tokio::spawn(copy(from_client, to_server, move || there.questions.load(Ordering::Relaxed)));
                tokio::spawn(copy(from_server, to_client, move || back.answers.load(Ordering::Relaxed)));
            }
        });
        Self { address: own, loses, accept }
    }

    /// Where it begins.
    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }

    /// Nothing gets through, or all again.
    pub(crate) fn cut(&self, is_cut: bool) {
        self.loses.questions.store(is_cut, Ordering::Relaxed);
        self.loses.answers.store(is_cut, Ordering::Relaxed);
    }

    /// What the store answers is lost, or not any more.
    pub(crate) fn lose_answers(&self, is_lost: bool) {
        self.loses.answers.store(is_lost, Ordering::Relaxed);
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.accept.abort();
    }
}

async fn copy(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, is_lost: impl Fn() -> bool) {
    let mut buffer = vec![0; 16 << 10];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        if !is_lost() && to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}
