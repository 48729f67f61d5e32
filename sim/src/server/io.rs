//! The socket under a connection: plain or TLS, and reset instead of closed where a fault asks for it.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use penstock_tls::{IdentityFiles, PemErrors, ServerTls};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::StartError;
use crate::{connection::Connection, options::TlsOptions};

/// An accepted socket, ready for HTTP.
pub(super) struct Socket {
    transport: Transport,
    connection: Arc<Connection>,
}

enum Transport {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Socket {
    /// Shakes hands where TLS is on.
    pub(super) async fn open(
        stream: TcpStream,
        tls: Option<TlsAcceptor>,
        connection: Arc<Connection>,
    ) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        let transport = match tls {
            None => Transport::Plain(stream),
            Some(acceptor) => Transport::Tls(Box::new(acceptor.accept(stream).await?)),
        };
        Ok(Self { transport, connection })
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if self.connection.is_reset() {
            let stream = match &self.transport {
                Transport::Plain(stream) => stream,
                Transport::Tls(stream) => stream.get_ref().0,
            };
            // If it fails, the peer sees a close instead of a reset, and the test that asked for one says so.
            let _ = stream.set_zero_linger();
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.transport {
            Transport::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Transport::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.transport {
            Transport::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Transport::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.transport {
            Transport::Plain(stream) => Pin::new(stream).poll_write_vectored(context, slices),
            Transport::Tls(stream) => Pin::new(stream).poll_write_vectored(context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.transport {
            Transport::Plain(stream) => stream.is_write_vectored(),
            Transport::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.transport {
            Transport::Plain(stream) => Pin::new(stream).poll_flush(context),
            Transport::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.transport {
            Transport::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Transport::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}

/// Builds the TLS side of a listener.
pub(super) fn acceptor(options: &TlsOptions) -> Result<TlsAcceptor, StartError> {
    let pair = IdentityFiles {
        certificate: options.certificate_file.clone(),
        private_key: options.key_file.clone(),
    };
    let mut tls = ServerTls::load(vec![pair])?;
    if let Some(authorities) = &options.client_ca_file {
        tls = tls.verifying_clients(authorities).map_err(|error| PemErrors(vec![error]))?;
    }
    Ok(TlsAcceptor::from(Arc::new(tls.config())))
}
