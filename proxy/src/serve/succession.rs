//! A process's part in taking the place of another one, and in giving its own to the next.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::handover::{self, Counter, Handed, HandoverError, Inherited, Predecessor, Standing};
use crate::server::Server;

/// What is left to do for it.
pub(super) struct Succession {
    before: Option<Predecessor>,
    counter: Counter,
}

impl Succession {
    /// Asks the process before, if there is one, for its sockets, and makes ready to offer them to the next.
    /// Blocks.
    ///
    /// # Errors
    /// The path cannot be used, or the process before gives nothing.
    pub(super) fn begin(path: &Path) -> Result<(Self, Inherited), HandoverError> {
        let counter = Counter::prepare(path)?;
        let (before, inherited) = handover::inherit(path)?.unzip();
        Ok((Self { before, counter }, inherited.unwrap_or_default()))
    }

    /// This process serves: it is the one that the next asks, and the one before may end. `admin` is the admin listener's
    /// socket with its address as configured; `is_over` is cancelled when the next process serves.
    pub(super) fn complete(
        self,
        server: &Arc<Server>,
        admin: Option<(SocketAddr, OwnedFd)>,
        is_over: CancellationToken,
    ) {
        let handed = {
            let server = server.clone();
            move || -> io::Result<Vec<Handed>> {
                let mut handed = server.handed()?;
                if let Some((address, socket)) = &admin {
                    let (name, socket) = (handover::ADMIN.into(), socket.try_clone()?);
                    handed.push(Handed { name, address: *address, socket });
                }
                Ok(handed)
            }
        };
        let standing = Standing { is_shared: server.is_shared().clone(), is_over };
        if let Err(error) = self.counter.open(handed, standing) {
            tracing::error!(%error, "the next process will not be able to take this one's place");
        }
        if let Some(before) = self.before {
            tracing::info!("serving in place of the process before");
            before.dismiss();
        }
    }
}
