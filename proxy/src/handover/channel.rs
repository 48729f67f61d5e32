//! What two processes say to each other: packets over a Unix socket that keeps them apart. The giver says how many sockets
//! there are, then each with its name; the taker says when it serves.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use serde::{Deserialize, Serialize};
use socket2::Socket;

use super::Handed;

/// The version of what is said. Processes of different versions do not understand each other, and say so.
const VERSION: u32 = 1;

/// The longest packet, in bytes: a listener's name has up to 253.
const MAX_PACKET_BYTES: usize = 1024;

/// The most sockets that are taken over.
const MAX_SOCKETS: usize = 4096;

/// What the taker says.
const SERVING: &[u8] = b"serving";

/// What comes first.
#[derive(Debug, Serialize, Deserialize)]
struct Offer {
    version: u32,
    sockets: usize,
}

/// What comes with each socket.
#[derive(Debug, Serialize, Deserialize)]
struct Label {
    name: Arc<str>,
    address: SocketAddr,
}

/// Sends sockets.
pub(super) fn send(channel: &Socket, sockets: &[Handed]) -> io::Result<()> {
    send_packet(channel, &Offer { version: VERSION, sockets: sockets.len() }, None)?;
    for Handed { name, address, socket } in sockets {
        send_packet(channel, &Label { name: name.clone(), address: *address }, Some(socket))?;
    }
    Ok(())
}

/// Receives sockets.
pub(super) fn receive(channel: &Socket) -> io::Result<Vec<Handed>> {
    let (Offer { version, sockets }, _) = receive_packet(channel)?;
    if version != VERSION {
        return Err(invalid("it speaks another version of the handover; end it, then start this one"));
    }
    if sockets > MAX_SOCKETS {
        return Err(invalid("it has too many sockets"));
    }
    let mut handed = Vec::with_capacity(sockets);
    for _ in 0..sockets {
        let (Label { name, address }, socket) = receive_packet(channel)?;
        handed.push(Handed { name, address, socket: socket.ok_or_else(|| invalid("a socket is missing"))? });
    }
    Ok(handed)
}

/// Tells the giver that the taker serves.
pub(super) fn send_serving(channel: &Socket) -> io::Result<()> {
    rustix::net::send(channel, SERVING, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Waits until the taker serves.
///
/// # Errors
/// It ended before.
pub(super) fn await_serving(channel: &Socket) -> io::Result<()> {
    let mut packet = [0; SERVING.len()];
    let (bytes, _) = receive_bytes(channel, &mut packet)?;
    match &packet[..bytes] {
        SERVING => Ok(()),
        [] => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the new process ended before it served")),
        _ => Err(invalid("the new process says something else")),
    }
}

fn send_packet(channel: &Socket, packet: &impl Serialize, socket: Option<&OwnedFd>) -> io::Result<()> {
    let packet = serde_json::to_vec(packet)?;
    let sockets: Vec<_> = socket.iter().map(|socket| socket.as_fd()).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !sockets.is_empty() && !control.push(SendAncillaryMessage::ScmRights(&sockets)) {
        return Err(invalid("there is no room for the socket"));
    }
    sendmsg(channel, &[IoSlice::new(&packet)], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

fn receive_packet<T: for<'de> Deserialize<'de>>(channel: &Socket) -> io::Result<(T, Option<OwnedFd>)> {
    let mut packet = [0; MAX_PACKET_BYTES];
    let (bytes, socket) = receive_bytes(channel, &mut packet)?;
    if bytes == 0 {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it says nothing more"));
    }
    Ok((serde_json::from_slice(&packet[..bytes])?, socket))
}

fn receive_bytes(channel: &Socket, packet: &mut [u8]) -> io::Result<(usize, Option<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(channel, &mut [IoSliceMut::new(packet)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let socket = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut sockets) => sockets.next(),
        _ => None,
    });
    Ok((received.bytes, socket))
}

fn invalid(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}
