//! Failures of exchanges with upstreams, as the table knows them.

use penstock_wire::Error as WireError;

use super::Error;

impl From<WireError> for Error {
    fn from(error: WireError) -> Self {
        match error {
            WireError::Connect(cause) => Self::UpstreamConnect(Some(cause)),
            WireError::ConnectTimeout => Self::UpstreamConnectTimeout,
            WireError::Tls(cause) => Self::UpstreamTls(Some(cause)),
            // The client's, whose `Host` it was.
            WireError::NoAuthority => Self::BadHost("HTTP/2 upstreams need one"),
            WireError::InvalidRequest(cause) => Self::internal(cause),
            WireError::Internal(what) => Self::internal(what),
            WireError::Reset(cause) => Self::UpstreamReset(Some(cause)),
            WireError::InvalidResponse(cause) => Self::InvalidResponse(Some(cause)),
            WireError::BrokenStream(cause) => Self::StreamBroken(Some(cause)),
        }
    }
}
