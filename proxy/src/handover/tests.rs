use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;

use super::*;

fn listening() -> (std::net::TcpListener, SocketAddr) {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

fn offered(path: &Path, name: &'static str, address: SocketAddr, socket: std::net::TcpListener) -> Standing {
    let standing = Standing::default();
    let sockets = move || {
        let socket = OwnedFd::from(socket.try_clone()?);
        Ok(vec![Handed { name: name.into(), address, socket }])
    };
    Counter::prepare(path).unwrap().open(sockets, standing.clone()).unwrap();
    standing
}

#[tokio::test]
async fn a_socket_changes_hands_with_the_connections_that_wait_at_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("handover.sock");
    assert!(inherit(&path).unwrap().is_none());
    let (socket, address) = listening();
    let configured = SocketAddr::new(address.ip(), 0);
    let standing = offered(&path, "http", configured, socket);
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, SOCKET_MODE);
    let waiting = TcpStream::connect(address).unwrap();

    let (before, inherited) = inherit(&path).unwrap().unwrap();
    assert!(standing.is_shared.load(Ordering::Acquire) && !standing.is_over.is_cancelled());
    assert!(inherited.socket("other", configured).is_none());
    assert!(inherited.socket("http", address).is_none());
    let taken = inherited.socket("http", configured).unwrap();
    assert_eq!(taken.local_addr().unwrap(), address);
    let (_, peer) = taken.accept().await.unwrap();
    assert_eq!(peer, waiting.local_addr().unwrap());
    before.dismiss();
    standing.is_over.cancelled().await;
    // The file is still there, and nobody behind it.
    assert!(inherit(&path).unwrap().is_none());
}

#[tokio::test]
async fn a_successor_that_ends_early_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("handover.sock");
    let (socket, address) = listening();
    let standing = offered(&path, "http", address, socket);
    drop(inherit(&path).unwrap().unwrap());
    // The next one is served only when that was noticed.
    let (before, inherited) = inherit(&path).unwrap().unwrap();
    assert!(!standing.is_over.is_cancelled());
    assert!(inherited.socket("renamed", address).is_some());
    before.dismiss();
    standing.is_over.cancelled().await;
}

#[tokio::test]
async fn whoever_comes_later_takes_the_path() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("handover.sock");
    let ((first, first_address), (second, second_address)) = (listening(), listening());
    offered(&path, "first", first_address, first);
    offered(&path, "second", second_address, second);
    let (_, inherited) = inherit(&path).unwrap().unwrap();
    assert!(inherited.socket("first", first_address).is_none());
    assert!(inherited.socket("second", second_address).is_some());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[tokio::test]
async fn who_never_serves_leaves_the_path_to_who_does() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("handover.sock");
    let (socket, address) = listening();
    offered(&path, "http", address, socket);
    drop(Counter::prepare(&path).unwrap());
    assert!(inherit(&path).unwrap().unwrap().1.socket("http", address).is_some());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn only_root_and_ones_own_processes_are_trusted() {
    let user = Uid::from_raw;
    assert!(is_trusted(user(1000), user(1000)) && is_trusted(user(0), user(1000)));
    assert!(!is_trusted(user(1000), user(0)) && !is_trusted(user(1001), user(1000)));
}

#[test]
fn what_is_not_a_socket_stays() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("routing.yaml");
    std::fs::write(&path, "kept").unwrap();
    let refused = Counter::prepare(&path);
    assert!(matches!(refused, Err(HandoverError::NoSocket(_))), "{refused:?}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "kept");
    let nowhere = folder.path().join("nowhere/handover.sock");
    assert!(matches!(Counter::prepare(&nowhere), Err(HandoverError::Path { .. })));
}
