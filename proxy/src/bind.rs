//! Listening on an address, and what to do where that cannot be had.

use std::fmt;
use std::io;
use std::net::SocketAddr;

use thiserror::Error;
use tokio::net::TcpListener;

use crate::listen::BACKLOG;

/// The first port that every user may listen on, where Linux is not told otherwise.
const FIRST_UNPRIVILEGED_PORT: u16 = 1024;

/// Why an address cannot be listened on.
#[derive(Debug, Error)]
#[error("cannot listen on {address}: {source}{}", Advice(*.address, .source.kind()))]
pub(crate) struct BindError {
    address: SocketAddr,
    source: io::Error,
}

/// Listens on an address without waiting, so that a reload can do it too.
///
/// # Errors
/// The system refuses it.
pub(crate) fn bind(address: SocketAddr) -> Result<TcpListener, BindError> {
    listen(address).map_err(|source| BindError { address, source })
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let domain = socket2::Domain::for_address(address);
    let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// What would mend it, where that is known.
struct Advice(SocketAddr, io::ErrorKind);

impl fmt::Display for Advice {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(address, kind) = self;
        match kind {
            io::ErrorKind::AddrInUse => formatter
                .write_str("; another process listens there: end it, or choose another port")
                .and_then(|()| write!(formatter, " (`ss -ltnp 'sport = :{}'` names it)", address.port())),
            io::ErrorKind::PermissionDenied if address.port() < FIRST_UNPRIVILEGED_PORT => {
                formatter.write_str(
                    "; ports below 1024 are for root: choose another, such as 8080, or give the program the capability \
                     CAP_NET_BIND_SERVICE",
                )
            }
            io::ErrorKind::AddrNotAvailable => {
                formatter.write_str("; this machine does not have that address: 0.0.0.0 stands for all it has")
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(address: &str, kind: io::ErrorKind) -> String {
        BindError { address: address.parse().unwrap(), source: kind.into() }.to_string()
    }

    #[tokio::test]
    async fn a_port_that_is_taken_is_told_with_what_to_do() {
        let taken = bind("127.0.0.1:0".parse().unwrap()).unwrap().local_addr().unwrap();
        let held = std::net::TcpListener::bind(taken).unwrap();
        let error = bind(held.local_addr().unwrap()).unwrap_err().to_string();
        assert!(error.starts_with(&format!("cannot listen on {taken}: ")), "{error}");
        assert!(error.contains("choose another port"), "{error}");
    }

    #[test]
    fn the_advice_fits_the_cause() {
        assert!(message("0.0.0.0:80", io::ErrorKind::PermissionDenied).contains("CAP_NET_BIND_SERVICE"));
        assert!(!message("0.0.0.0:8080", io::ErrorKind::PermissionDenied).contains("CAP_NET_BIND_SERVICE"));
        assert!(message("10.9.9.9:80", io::ErrorKind::AddrNotAvailable).contains("0.0.0.0"));
    }
}
