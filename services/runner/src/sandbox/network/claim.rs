//! A runner's claim to its names on this host.
//!
//! Owns a socket that nobody connects to: its name can be had once on a host, and the kernel takes it back when the process
//! ends, however it ends. Never leaves a file. Invariant: whoever holds a claim is alive, or sweeps up after its owner.

use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};

/// A claim, for as long as this is kept.
pub(super) struct Claim {
    _socket: UnixListener,
}

/// Claims a name; none if somebody has it.
pub(super) fn claim(name: &str) -> io::Result<Option<Claim>> {
    match UnixListener::bind_addr(&SocketAddr::from_abstract_name(name)?) {
        Ok(socket) => Ok(Some(Claim { _socket: socket })),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Ok(None),
        Err(error) => Err(error),
    }
}
