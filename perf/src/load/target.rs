//! The target of the load: where it is, and how connections to it are opened.

use std::{
    io,
    net::{SocketAddr, ToSocketAddrs},
    path::PathBuf,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::Uri;
use penstock_tls::{ClientOptions, ClientTls, PemErrors};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use thiserror::Error;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::outcome::{Failure, FailureKind};

/// The version of HTTP to speak; there is no negotiation, so that a run measures what it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// One request at a time on a connection.
    Http1,
    /// Many streams on a connection; in clear text with prior knowledge.
    Http2,
}

/// Whom to trust when the target is `https`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Trust {
    /// Any certificate: it is the gateway's speed that is measured, not its identity.
    #[default]
    Anyone,
    /// The authorities in this PEM file.
    File(PathBuf),
}

/// Why a target cannot be used.
#[derive(Debug, Error)]
pub enum Error {
    /// Not a URL with a host.
    #[error("`{0}` is not a URL such as http://127.0.0.1:8080")]
    Url(String),
    /// The name has no address.
    #[error("cannot resolve `{0}`")]
    Resolve(String, #[source] io::Error),
    /// The file of authorities cannot be used.
    #[error(transparent)]
    Authorities(#[from] PemErrors),
    /// Not a name that a certificate can have.
    #[error("`{0}` cannot be the name in a certificate")]
    Name(String),
}

/// What is put under load.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) authority: String,
    pub(crate) prefix: String,
    pub(crate) protocol: Protocol,
    pub(crate) is_tls: bool,
    address: SocketAddr,
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

impl Target {
    /// Resolves the URL's host once: name resolution is not what is measured.
    pub(crate) fn new(url: &str, protocol: Protocol, trust: &Trust) -> Result<Self, Error> {
        let bad = || Error::Url(url.to_owned());
        let uri: Uri = url.parse().map_err(|_| bad())?;
        let is_tls = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(bad()),
        };
        let host = uri.host().ok_or_else(bad)?;
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        let address = (bare, port)
            .to_socket_addrs()
            .map_err(|error| Error::Resolve(host.to_owned(), error))?
            .next()
            .ok_or_else(|| Error::Resolve(host.to_owned(), io::ErrorKind::NotFound.into()))?;
        let tls = if is_tls {
            let name = ServerName::try_from(bare.to_owned()).map_err(|_| Error::Name(bare.to_owned()))?;
            Some((TlsConnector::from(Arc::new(client_config(protocol, trust)?)), name))
        } else {
            None
        };
        let authority = uri.authority().map_or_else(String::new, |authority| authority.as_str().to_owned());
        let prefix = uri.path().trim_end_matches('/').to_owned();
        Ok(Self { authority, prefix, protocol, is_tls, address, tls })
    }

    pub(crate) async fn connect(&self) -> Result<Stream, Failure> {
        let failed = |error: io::Error| Failure::new(FailureKind::Connect, error.to_string());
        let stream = TcpStream::connect(self.address).await.map_err(failed)?;
        stream.set_nodelay(true).map_err(failed)?;
        match &self.tls {
            None => Ok(Stream::Plain(stream)),
            Some((connector, name)) => match connector.connect(name.clone(), stream).await {
                Ok(stream) => Ok(Stream::Tls(Box::new(stream))),
                Err(error) => Err(Failure::new(FailureKind::Tls, error.to_string())),
            },
        }
    }
}

fn client_config(protocol: Protocol, trust: &Trust) -> Result<ClientConfig, Error> {
    let options = match trust {
        Trust::Anyone => ClientOptions { is_verified: false, ..ClientOptions::verified() },
        Trust::File(path) => ClientOptions { authorities: Some(path.clone()), ..ClientOptions::verified() },
    };
    let mut config = ClientTls::load(&options)?.config();
    config.alpn_protocols = vec![match protocol {
        Protocol::Http1 => b"http/1.1".to_vec(),
        Protocol::Http2 => b"h2".to_vec(),
    }];
    Ok(config)
}

/// An open connection, plain or TLS.
pub(crate) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(context, slices),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
