//! HTTP as it goes over the wire: to upstreams, and to clients as far as the bytes of a connection are concerned.
//!
//! [`Connections`] makes connections to upstreams and keeps them alive; a [`Connection`] carries one exchange, whether
//! HTTP/1.1 or HTTP/2 is spoken on it. [`CorkedStream`] joins what is written to a client in pieces.
//!
//! HTTP/1.1 is spoken by a client of our own. Pingora's sends head and body apart, asks the system for the peer of each
//! connection that it uses again, and hands every byte over through a channel; a request of a kilobyte is mostly these.
//! HTTP/2, TLS and the negotiation between them are Pingora's. See `docs/design/attempts.md`.
//!
//! What an upstream sends is parsed in [`head`] and [`chunked`], which are public so that there is one parser, and for
//! the fuzz targets. [`frames`] counts HTTP/2 frames, of clients too. The crate knows neither the routing document nor how TLS is configured: [`ConnectionOptions`] and
//! [`SecurePeer`] are what it has to be told.

pub mod chunked;
mod connections;
mod corked;
mod error;
mod exchange;
pub mod frames;
mod guard;
pub mod head;
mod http1;
mod http2;
mod idle;
mod io;
mod peers;

pub use crate::connections::{Connection, Connections};
pub use crate::corked::CorkedStream;
pub use crate::error::{Cause, Error};
pub use crate::exchange::{BodyFraming, Event, Outgoing};
pub use crate::idle::Key;
pub use crate::io::Io;
pub use crate::peers::{ConnectionOptions, Peers, Protocol, SecurePeer};
