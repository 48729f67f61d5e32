//! The PROXY protocol, versions 1 and 2: the header by which a proxy in front of the gateway says whose connection it hands
//! on (haproxy's `doc/proxy-protocol.txt`).
//!
//! It comes before everything else, TLS included. Nothing behind it is read: what is seen of the connection's beginning
//! stays in the socket until the header's length is known. It is bounded in bytes and in time, since whoever connects may
//! send it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use thiserror::Error;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::Instant;

/// What version 1 begins with.
const V1: &[u8] = b"PROXY ";

/// What version 2 begins with.
const V2: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// The longest header of version 1 (section 2.1), in bytes.
const MAX_V1_BYTES: usize = 107;

/// The bytes of a header of version 2 before its addresses.
const V2_BYTES: usize = 16;

/// The most bytes of addresses and additions that a header of version 2 may have. Those of large clouds have some hundred.
const MAX_V2_REST_BYTES: usize = 4096;

/// The first pause before looking again when only a part of the header is there, which almost never happens. Each pause is
/// twice the one before.
const PARTIAL_PAUSE: Duration = Duration::from_millis(2);

/// Why a connection is closed before its first request.
#[derive(Debug, Error)]
pub(super) enum ProxyError {
    /// The header did not come in time.
    #[error("no whole header in time")]
    TimedOut,
    /// The connection begins with something else.
    #[error("it does not begin with a header")]
    Missing,
    /// The header is none of the protocol's.
    #[error("the header is malformed: {0}")]
    Malformed(&'static str),
    /// The client is gone.
    #[error("the connection broke")]
    Gone(#[source] Option<io::Error>),
}

/// What a connection begins with.
#[derive(Debug, PartialEq, Eq)]
enum Beginning {
    V1,
    V2,
    Other,
    /// Too little is there to tell.
    Open,
}

/// Reads the header, and nothing behind it. Gives the address that it names, which is none where the proxy speaks for itself or
/// does not know, or where there is no header and none `is_needed`.
///
/// # Errors
/// There is no header and one `is_needed`, it is malformed, or it is not there at `due`.
pub(super) async fn origin(
    stream: &mut TcpStream,
    is_needed: bool,
    due: Instant,
) -> Result<Option<SocketAddr>, ProxyError> {
    let reading = async {
        match beginning(stream).await? {
            Beginning::V1 => version_1(stream).await,
            Beginning::V2 => version_2(stream).await,
            Beginning::Other | Beginning::Open if is_needed => Err(ProxyError::Missing),
            Beginning::Other | Beginning::Open => Ok(None),
        }
    };
    tokio::time::timeout_at(due, reading).await.map_err(|_elapsed| ProxyError::TimedOut)?
}

/// Looks at a connection's first bytes until they tell what it begins with.
async fn beginning(stream: &TcpStream) -> Result<Beginning, ProxyError> {
    let mut buffer = [0; V2.len()];
    let mut pause = PARTIAL_PAUSE;
    loop {
        let seen = peek(stream, &mut buffer).await?;
        match classify(&buffer[..seen]) {
            Beginning::Open => tokio::time::sleep(pause).await,
            known => return Ok(known),
        }
        pause *= 2;
    }
}

fn classify(seen: &[u8]) -> Beginning {
    if seen.starts_with(V1) {
        Beginning::V1
    } else if seen.starts_with(V2) {
        Beginning::V2
    } else if V1.starts_with(seen) || V2.starts_with(seen) {
        Beginning::Open
    } else {
        Beginning::Other
    }
}

async fn version_1(stream: &mut TcpStream) -> Result<Option<SocketAddr>, ProxyError> {
    let mut buffer = [0; MAX_V1_BYTES];
    let mut pause = PARTIAL_PAUSE;
    loop {
        let seen = peek(stream, &mut buffer).await?;
        if let Some(end) = memchr::memmem::find(&buffer[..seen], b"\r\n") {
            stream.read_exact(&mut buffer[..end + 2]).await.map_err(|error| ProxyError::Gone(Some(error)))?;
            return address_1(&buffer[..end]);
        }
        if seen == buffer.len() {
            return Err(ProxyError::Malformed("its line is too long"));
        }
        tokio::time::sleep(pause).await;
        pause *= 2;
    }
}

/// What a line of version 1 says, without its end.
fn address_1(line: &[u8]) -> Result<Option<SocketAddr>, ProxyError> {
    let malformed = || ProxyError::Malformed("its line is not that of the protocol");
    let text = std::str::from_utf8(line).map_err(|_| malformed())?;
    let rest = text.strip_prefix("PROXY ").ok_or_else(malformed)?;
    // What follows this word is to be ignored.
    if rest == "UNKNOWN" || rest.starts_with("UNKNOWN ") {
        return Ok(None);
    }
    let words: Vec<&str> = rest.split(' ').collect();
    let [family, source, destination, source_port, destination_port] = words[..] else {
        return Err(malformed());
    };
    let address = |text: &str| match family {
        "TCP4" => text.parse::<Ipv4Addr>().map(IpAddr::V4).map_err(|_| malformed()),
        "TCP6" => text.parse::<Ipv6Addr>().map(IpAddr::V6).map_err(|_| malformed()),
        _ => Err(malformed()),
    };
    let port = |text: &str| {
        let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u16>().ok().filter(|_| is_number).ok_or_else(malformed)
    };
    address(destination)?;
    port(destination_port)?;
    Ok(Some(SocketAddr::new(address(source)?.to_canonical(), port(source_port)?)))
}

async fn version_2(stream: &mut TcpStream) -> Result<Option<SocketAddr>, ProxyError> {
    let gone = |error| ProxyError::Gone(Some(error));
    let mut head = [0; V2_BYTES];
    stream.read_exact(&mut head).await.map_err(gone)?;
    let length = usize::from(u16::from_be_bytes([head[14], head[15]]));
    if length > MAX_V2_REST_BYTES {
        return Err(ProxyError::Malformed("it is too long"));
    }
    let mut rest = vec![0; length];
    stream.read_exact(&mut rest).await.map_err(gone)?;
    address_2(head[12], head[13], &rest)
}

/// What a header of version 2 says, by its bytes 13 and 14 and by what follows its length.
fn address_2(version_and_command: u8, family: u8, rest: &[u8]) -> Result<Option<SocketAddr>, ProxyError> {
    match version_and_command {
        // The proxy speaks for itself, as it does to see whether somebody is there.
        0x20 => return Ok(None),
        0x21 => {}
        _ => return Err(ProxyError::Malformed("its version or command is not known")),
    }
    let short = ProxyError::Malformed("its addresses are not whole");
    match family {
        0x11 => {
            let Some((&[a, b, c, d, _, _, _, _, high, low, _, _], _)) = rest.split_first_chunk::<12>() else {
                return Err(short);
            };
            Ok(Some(SocketAddr::from((Ipv4Addr::new(a, b, c, d), u16::from_be_bytes([high, low])))))
        }
        0x21 => {
            let Some((addresses, _)) = rest.split_first_chunk::<36>() else { return Err(short) };
            let mut source = [0; 16];
            source.copy_from_slice(&addresses[..16]);
            let address = IpAddr::V6(Ipv6Addr::from(source)).to_canonical();
            Ok(Some(SocketAddr::new(address, u16::from_be_bytes([addresses[32], addresses[33]]))))
        }
        // Sockets of its own machine, datagrams, and what it does not know.
        _ => Ok(None),
    }
}

async fn peek(stream: &TcpStream, buffer: &mut [u8]) -> Result<usize, ProxyError> {
    match stream.peek(buffer).await {
        Ok(0) => Err(ProxyError::Gone(None)),
        Ok(seen) => Ok(seen),
        Err(error) => Err(ProxyError::Gone(Some(error))),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    use super::*;

    /// What is made of a connection that begins so, and what is left of it.
    async fn read(bytes: &[u8], is_needed: bool) -> (Result<Option<SocketAddr>, ProxyError>, Vec<u8>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        client.write_all(bytes).await.unwrap();
        let (mut stream, _) = listener.accept().await.unwrap();
        let due = Instant::now() + Duration::from_millis(200);
        let found = origin(&mut stream, is_needed, due).await;
        client.shutdown().await.unwrap();
        let mut left = Vec::new();
        stream.read_to_end(&mut left).await.unwrap();
        (found, left)
    }

    fn version_2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [&V2[..], &[command, family], &length, rest].concat()
    }

    #[tokio::test]
    async fn both_versions_name_the_client_and_nothing_behind_them_is_read() {
        let four = [203, 0, 113, 7, 10, 0, 0, 1, 0x12, 0x34, 0, 80];
        let mut six = [0; 40];
        six[..16].copy_from_slice(&"2001:db8::7".parse::<Ipv6Addr>().unwrap().octets());
        six[32..34].copy_from_slice(&[0x12, 0x34]);
        for (header, found) in [
            (b"PROXY TCP4 203.0.113.7 10.0.0.1 4660 80\r\n".to_vec(), Some("203.0.113.7:4660")),
            (b"PROXY TCP6 2001:db8::7 ::1 4660 80\r\n".to_vec(), Some("[2001:db8::7]:4660")),
            (b"PROXY UNKNOWN\r\n".to_vec(), None),
            (b"PROXY UNKNOWN ffff:: 1 2 whatever\r\n".to_vec(), None),
            (version_2(0x21, 0x11, &four), Some("203.0.113.7:4660")),
            // With an addition behind the addresses.
            (version_2(0x21, 0x11, &[&four[..], &[4, 0, 1, 9]].concat()), Some("203.0.113.7:4660")),
            (version_2(0x21, 0x21, &six), Some("[2001:db8::7]:4660")),
            (version_2(0x20, 0x11, &four), None),
            (version_2(0x20, 0, &[]), None),
            (version_2(0x21, 0x31, &[0; 216]), None),
        ] {
            let bytes = [&header[..], b"GET / HTTP/1.1\r\n"].concat();
            let (told, left) = read(&bytes, true).await;
            assert_eq!(told.unwrap().map(|address| address.to_string()).as_deref(), found, "{header:?}");
            assert_eq!(left, b"GET / HTTP/1.1\r\n", "{header:?}");
        }
    }

    #[tokio::test]
    async fn what_is_no_header_is_refused_where_one_is_needed_and_left_alone_elsewhere() {
        for bytes in
            [&b"GET / HTTP/1.1\r\n"[..], b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\x16\x03\x01\x02\0\x01"]
        {
            assert!(matches!(read(bytes, true).await.0, Err(ProxyError::Missing)), "{bytes:?}");
            let (told, left) = read(bytes, false).await;
            assert_eq!((told.unwrap(), &left[..]), (None, bytes));
        }
    }

    #[tokio::test]
    async fn malformed_and_endless_headers_are_refused_whether_one_is_needed_or_not() {
        let long = [&b"PROXY TCP4 "[..], &[b'1'; 200]].concat();
        for bytes in [
            &b"PROXY TCP4 203.0.113.7 10.0.0.1 4660\r\n"[..],
            b"PROXY TCP4 203.0.113.7 10.0.0.1 4660 80 \r\n",
            b"PROXY TCP4  203.0.113.7 10.0.0.1 4660 80\r\n",
            b"PROXY TCP4 2001:db8::7 ::1 4660 80\r\n",
            b"PROXY TCP4 203.0.113.7 10.0.0.1 +4660 80\r\n",
            b"PROXY TCP4 203.0.113.7 10.0.0.1 66000 80\r\n",
            b"PROXY TCP4 203.0.113.7 nowhere 4660 80\r\n",
            b"PROXY UDP4 203.0.113.7 10.0.0.1 4660 80\r\n",
            b"PROXY TCP4 \xff 10.0.0.1 4660 80\r\n",
            &long,
            &version_2(0x11, 0x11, &[0; 12]),
            &version_2(0x22, 0x11, &[0; 12]),
            &version_2(0x21, 0x11, &[0; 11]),
            &version_2(0x21, 0x21, &[0; 35]),
            &version_2(0x21, 0x11, &[0; MAX_V2_REST_BYTES + 1]),
        ] {
            for is_needed in [true, false] {
                let (told, _) = read(bytes, is_needed).await;
                assert!(matches!(told, Err(ProxyError::Malformed(_))), "{bytes:?}: {told:?}");
            }
        }
    }

    #[tokio::test]
    async fn who_stops_within_a_header_is_given_up() {
        for bytes in [&b"PRO"[..], b"\r\n\r\n\0", b"PROXY TCP4 203.0", &version_2(0x21, 0x11, &[0; 12])[..20]]
        {
            let (told, _) = read(bytes, false).await;
            assert!(matches!(told, Err(ProxyError::TimedOut)), "{bytes:?}: {told:?}");
        }
    }
}
