//! Listening sockets: TCP, unix, or the one that systemd passes.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use listenfd::ListenFd;
use tokio::net::{TcpListener, TcpSocket, UnixListener, lookup_host};

use super::socket::Stream;
use super::{Address, Net, ServerError};
use crate::telemetry::PeerAddress;

/// Connections the kernel queues while we are busy or full.
const BACKLOG: u32 = 4096;

/// A socket that listens.
#[derive(Debug)]
pub(super) enum Listener {
    /// On TCP.
    Tcp(TcpListener),
    /// On a unix socket.
    Unix(UnixListener),
}

impl Listener {
    /// The socket that systemd passes, if any; else a new one on `addr`.
    pub(super) async fn open(net: Net, addr: &str) -> Result<Self, ServerError> {
        if let Some(listener) = from_systemd(&mut ListenFd::from_env())? {
            return Ok(listener);
        }
        match net {
            Net::Tcp => listen_tcp(addr).await.map(Self::Tcp),
            Net::Unix => listen_unix(Path::new(addr)).map(Self::Unix),
        }
    }

    /// Where this socket listens.
    pub(super) fn address(&self) -> io::Result<Address> {
        match self {
            Self::Tcp(tcp) => Ok(Address::Tcp(tcp.local_addr()?)),
            Self::Unix(unix) => {
                let address = unix.local_addr()?;
                Ok(Address::Unix(address.as_pathname().map(Path::to_owned).unwrap_or_default()))
            }
        }
    }

    /// The next connection. An IPv4 peer on an IPv6 socket has its IPv4 address.
    pub(super) async fn accept(&self) -> io::Result<(Stream, PeerAddress)> {
        match self {
            Self::Tcp(tcp) => {
                let (stream, peer) = tcp.accept().await?;
                // Answers are written whole, so waiting for more to send would only delay them.
                let _ = stream.set_nodelay(true);
                Ok((Stream::Tcp(stream), PeerAddress(Some(SocketAddr::new(peer.ip().to_canonical(), peer.port())))))
            }
            Self::Unix(unix) => Ok((Stream::Unix(unix.accept().await?.0), PeerAddress(None))),
        }
    }
}

fn from_systemd(passed: &mut ListenFd) -> Result<Option<Listener>, ServerError> {
    let failed = |reason: String| ServerError::Activation { reason };
    match passed.len() {
        0 => return Ok(None),
        1 => {}
        many => return Err(failed(format!("{many} sockets were passed"))),
    }
    if let Ok(Some(tcp)) = passed.take_tcp_listener(0) {
        let tcp = tcp.set_nonblocking(true).and_then(|()| TcpListener::from_std(tcp));
        return tcp.map(|tcp| Some(Listener::Tcp(tcp))).map_err(|error| failed(error.to_string()));
    }
    let unix = passed.take_unix_listener(0).map_err(|error| failed(error.to_string()))?;
    let unix = unix.ok_or_else(|| failed("the socket passed is taken already".to_owned()))?;
    let unix = unix.set_nonblocking(true).and_then(|()| UnixListener::from_std(unix));
    unix.map(|unix| Some(Listener::Unix(unix))).map_err(|error| failed(error.to_string()))
}

/// Listens on the first address that `addr` stands for and that can be had; an empty host means all, IPv6 and IPv4.
pub(super) async fn listen_tcp(addr: &str) -> Result<TcpListener, ServerError> {
    let mut failure = None;
    for candidate in resolve(addr).await? {
        match listen_on(candidate) {
            Ok(listener) => return Ok(listener),
            Err(error) => failure = Some(error),
        }
    }
    let source = failure.unwrap_or_else(|| io::ErrorKind::AddrNotAvailable.into());
    Err(ServerError::Listen { addr: addr.to_owned(), source })
}

async fn resolve(addr: &str) -> Result<Vec<SocketAddr>, ServerError> {
    let wrong = |reason: String| ServerError::Address { addr: addr.to_owned(), reason };
    let (host, port) = addr.rsplit_once(':').ok_or_else(|| wrong("the port is missing".to_owned()))?;
    if host.is_empty() {
        let port = port.parse().map_err(|_| wrong(format!("{port:?} is not a port number")))?;
        let all = [IpAddr::from(Ipv6Addr::UNSPECIFIED), IpAddr::from(Ipv4Addr::UNSPECIFIED)];
        return Ok(all.into_iter().map(|ip| SocketAddr::new(ip, port)).collect());
    }
    let mut found: Vec<SocketAddr> = lookup_host(addr).await.map_err(|error| wrong(error.to_string()))?.collect();
    // A name with both kinds of address means the IPv4 one, as it does to distribution.
    found.sort_by_key(SocketAddr::is_ipv6);
    Ok(found)
}

fn listen_on(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv6() { TcpSocket::new_v6()? } else { TcpSocket::new_v4()? };
    if address.is_ipv6() {
        rustix::net::sockopt::set_ipv6_v6only(&socket, !address.ip().is_unspecified())?;
    }
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Listens on a unix socket, removing one that a process before us left behind.
fn listen_unix(path: &Path) -> Result<UnixListener, ServerError> {
    match std::fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => {
            std::fs::remove_file(path).map_err(|source| failed_unix(path, source))?;
        }
        Ok(_) => return Err(ServerError::NotASocket { path: PathBuf::from(path) }),
        // A path that cannot be looked at fails below, with the system's reason.
        Err(_) => {}
    }
    UnixListener::bind(path).map_err(|source| failed_unix(path, source))
}

fn failed_unix(path: &Path, source: io::Error) -> ServerError {
    ServerError::Listen { addr: path.display().to_string(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_empty_host_listens_for_both_families() {
        let listener = listen_tcp(":0").await.expect("listens");
        let port = listener.local_addr().expect("bound").port();
        let client = tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port));
        let (client, accepted) = tokio::join!(client, async { Listener::Tcp(listener).accept().await });
        client.expect("connected by IPv4");
        let (_, PeerAddress(peer)) = accepted.expect("accepted");
        assert!(peer.expect("TCP").is_ipv4());
    }

    #[tokio::test]
    async fn addresses_without_a_port_are_refused_by_name() {
        for addr in ["localhost", ":http-like", "", ":70000"] {
            let error = listen_tcp(addr).await.expect_err(addr).to_string();
            assert!(error.contains("http.addr") && error.contains("host:port"), "{error}");
        }
    }

    #[tokio::test]
    async fn a_port_in_use_is_named() {
        let first = listen_tcp("127.0.0.1:0").await.expect("listens");
        let addr = first.local_addr().expect("bound").to_string();
        let error = listen_tcp(&addr).await.expect_err("in use").to_string();
        assert!(error.contains(&addr), "{error}");
    }

    #[tokio::test]
    async fn a_stale_unix_socket_is_replaced_but_a_file_is_not() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("socket");
        drop(listen_unix(&path).expect("first"));
        assert!(path.exists(), "the first one left its socket behind");
        drop(listen_unix(&path).expect("second"));
        std::fs::remove_file(&path).expect("removed");
        std::fs::write(&path, "precious").expect("written");
        let error = listen_unix(&path).expect_err("a file is in the way");
        assert!(matches!(error, ServerError::NotASocket { .. }));
        assert_eq!(std::fs::read(&path).expect("still there"), b"precious");
    }
}
