//! Closing a connection in steps: a client that still sends when it is closed gets a reset, and with it loses the answer
//! that it has not read (RFC 9112 §9.6). So the gateway says first that nothing more comes from it, reads on within
//! bounds, and closes then.

use penstock_config::Limits;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::stream::ClientStream;

/// Closes a connection whose last answer was written. What its client sends meanwhile is dropped, up to
/// `limits.drainBytes` and for up to `limits.drainTimeout`.
pub(super) async fn close(stream: &mut ClientStream, limits: &Limits) {
    let closing = async {
        if stream.shutdown().await.is_err() {
            return;
        }
        let mut dropped = [0; 8 * 1024];
        let mut left = limits.drain_bytes;
        while left > 0 {
            match stream.read(&mut dropped).await {
                Ok(0) | Err(_) => return,
                Ok(read) => left = left.saturating_sub(read),
            }
        }
    };
    // Whoever is not done by then has had its time.
    let _late = tokio::time::timeout(limits.drain_timeout, closing).await;
}
