//! Unix sockets: the pair of message sockets between the parent and a child, and the listening
//! sockets that people and plugins connect to. None of them is ever waited on in here.

use nix::errno::Errno;
use nix::sys::socket::{
    self, AddressFamily, Backlog, MsgFlags, SockFlag, SockType, UnixAddr, bind, connect, recv,
    send, socketpair,
};
use nix::sys::stat::{Mode, umask};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::Path;

/// The longest message that a pair carries, in bytes.
pub const MESSAGE: usize = 16 * 1024;

/// Two connected ends that keep messages apart (SOCK_SEQPACKET) and never wait.
pub fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    Ok(socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)?)
}

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// It is on its way.
    Done,
    /// The other side has not read enough yet: try later.
    Full,
    /// There is no other side any more.
    Gone,
}

/// Sends one message, whole or not at all.
pub fn send_message(fd: BorrowedFd<'_>, message: &[u8]) -> Sent {
    debug_assert!(!message.is_empty() && message.len() <= MESSAGE);
    match send(fd.as_raw_fd(), message, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL) {
        Ok(_) => Sent::Done,
        Err(Errno::EAGAIN | Errno::ENOBUFS | Errno::ENOMEM | Errno::EINTR) => Sent::Full,
        Err(_) => Sent::Gone,
    }
}

/// What came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Received {
    /// One message, whole.
    Message(Vec<u8>),
    /// Nothing now.
    Nothing,
    /// The other side is gone: goodbye.
    Closed,
}

/// Takes the next message.
pub fn receive_message(fd: BorrowedFd<'_>) -> Received {
    let mut buffer = vec![0; MESSAGE];
    match recv(fd.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT) {
        Ok(0) => Received::Closed,
        Ok(n) => {
            buffer.truncate(n);
            Received::Message(buffer)
        }
        Err(Errno::EAGAIN | Errno::EINTR) => Received::Nothing,
        Err(_) => Received::Closed,
    }
}

/// Binds a listening socket at `path`, with exactly this mode and, if given, this group id.
///
/// A socket that nobody listens on any more is taken over; an error of kind `AddrInUse` means
/// that somebody does, or that something else than a socket stands there.
pub fn listen(path: &Path, mode: u32, group: Option<u32>) -> io::Result<OwnedFd> {
    let address = UnixAddr::new(path)?;
    match std::fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => {
            return Err(io::Error::new(
                io::ErrorKind::AddrInUse,
                "something else than a socket is there",
            ));
        }
        Ok(_) if answers(&address)? => return Err(io::ErrorKind::AddrInUse.into()),
        Ok(_) => std::fs::remove_file(path)?,
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(e) => return Err(e),
    }
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let listener = socket::socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    // Closed to all until owner and mode are right.
    let before = umask(Mode::from_bits_truncate(0o777));
    let bound = bind(listener.as_raw_fd(), &address);
    umask(before);
    bound?;
    let open = || -> io::Result<()> {
        // A group that it has already is not set again: a sandbox may forbid chown(2) altogether.
        if let Some(group) = group
            && std::fs::symlink_metadata(path)?.gid() != group
        {
            nix::unistd::chown(path, None, Some(nix::unistd::Gid::from_raw(group)))?;
        }
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
        socket::listen(&listener, Backlog::new(1024)?)?;
        Ok(())
    };
    open().inspect_err(|_| drop(std::fs::remove_file(path)))?;
    Ok(listener)
}

/// Whether somebody listens there. A queue that is full is somebody too.
fn answers(address: &UnixAddr) -> io::Result<bool> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let probe = socket::socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    match connect(probe.as_raw_fd(), address) {
        Ok(()) | Err(Errno::EAGAIN | Errno::EINPROGRESS) => Ok(true),
        Err(Errno::ECONNREFUSED | Errno::ENOENT) => Ok(false),
        Err(e) => Err(e.into()),
    }
}

/// The id of a group by its name, or `None` where there is no such group.
pub fn group_id(name: &str) -> io::Result<Option<u32>> {
    Ok(nix::unistd::Group::from_name(name)?.map(|g| g.gid.as_raw()))
}
