//! When did the kernel receive what is read here?
//!
//! A stream that asks the kernel to stamp what arrives (`SO_TIMESTAMPNS`, see
//! `socket(7)`) and keeps how long the last bytes had lain there. Where the
//! kernel does not tell, as for Unix sockets, it is a stream like any other.

use std::io::{self, IoSliceMut};
use std::os::fd::{AsRawFd, RawFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use nix::sys::socket::{ControlMessageOwned, MsgFlags, recv, recvmsg, setsockopt, sockopt};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use crate::load::pacer::wall_ns;

/// A socket whose reads know their age.
pub struct Stamped {
    io: Io,
    /// Room for the kernel's stamp.
    control: Vec<u8>,
    lag_ns: Option<u64>,
}

enum Io {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stamped {
    pub(super) fn tcp(stream: TcpStream) -> Self {
        let is_stamped = setsockopt(&stream, sockopt::ReceiveTimestampns, &true).is_ok();
        Self {
            io: Io::Tcp(stream),
            control: if is_stamped {
                nix::cmsg_space!(nix::sys::time::TimeSpec)
            } else {
                Vec::new()
            },
            lag_ns: None,
        }
    }

    pub(super) fn unix(stream: UnixStream) -> Self {
        Self {
            io: Io::Unix(stream),
            control: Vec::new(),
            lag_ns: None,
        }
    }

    /// Returns how long the bytes that were read last had lain in the kernel.
    pub(super) fn lag_ns(&self) -> Option<u64> {
        self.lag_ns
    }

    /// Has nothing arrived, not even the end?
    ///
    /// The kernel is asked only if something has happened since the socket was
    /// read empty, and nobody is woken by the answer.
    pub(super) fn is_quiet(&self) -> bool {
        let fd = self.io.fd();
        let looked = self.io.try_io(Interest::READABLE, || {
            let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
            Ok(recv(fd, &mut [0], flags)?)
        });
        looked.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Writes what the kernel takes at once.
    pub(super) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match &self.io {
            Io::Tcp(tcp) => tcp.try_write(bytes),
            Io::Unix(unix) => unix.try_write(bytes),
        }
    }

    /// Reads what there is. Fewer bytes than there was room for say that the
    /// socket is empty, and it is not asked again before more has arrived.
    pub(super) fn poll_read_into(
        &mut self,
        cx: &mut Context<'_>,
        room: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let wanted = room.len();
        let read = loop {
            let read = self.try_read(room);
            match read {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    ready!(self.io.poll_read_ready(cx))?;
                }
                read => break read,
            }
        };
        if read.as_ref().is_ok_and(|count| (1..wanted).contains(count)) {
            let _ = self.io.try_io(Interest::READABLE, || {
                Err::<(), _>(io::ErrorKind::WouldBlock.into())
            });
        }
        Poll::Ready(read)
    }

    fn try_read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let fd = self.io.fd();
        if self.control.is_empty() {
            return self.io.try_io(Interest::READABLE, || {
                Ok(recv(fd, room, MsgFlags::MSG_DONTWAIT)?)
            });
        }
        let control = &mut self.control;
        let (count, stamp) = self.io.try_io(Interest::READABLE, || {
            let mut parts = [IoSliceMut::new(room)];
            let message = recvmsg::<()>(fd, &mut parts, Some(control), MsgFlags::MSG_DONTWAIT)?;
            let stamp = message.cmsgs().ok().and_then(|mut all| {
                all.find_map(|part| match part {
                    ControlMessageOwned::ScmTimestampns(time) => Some(time),
                    _ => None,
                })
            });
            Ok((message.bytes, stamp))
        })?;
        self.lag_ns = stamp.and_then(|time| {
            let at = u64::try_from(time.tv_sec()).ok()? * 1_000_000_000
                + u64::try_from(time.tv_nsec()).ok()?;
            Some(wall_ns().saturating_sub(at))
        });
        Ok(count)
    }
}

impl Io {
    fn fd(&self) -> RawFd {
        match self {
            Self::Tcp(tcp) => tcp.as_raw_fd(),
            Self::Unix(unix) => unix.as_raw_fd(),
        }
    }

    fn try_io<T>(&self, interest: Interest, act: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        match self {
            Self::Tcp(tcp) => tcp.try_io(interest, act),
            Self::Unix(unix) => unix.try_io(interest, act),
        }
    }

    fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(tcp) => tcp.poll_read_ready(cx),
            Self::Unix(unix) => unix.poll_read_ready(cx),
        }
    }
}

impl AsyncRead for Stamped {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let count = ready!(self.poll_read_into(cx, buffer.initialize_unfilled()))?;
        buffer.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stamped {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.io {
            Io::Tcp(tcp) => Pin::new(tcp).poll_write(cx, bytes),
            Io::Unix(unix) => Pin::new(unix).poll_write(cx, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.io {
            Io::Tcp(tcp) => Pin::new(tcp).poll_flush(cx),
            Io::Unix(unix) => Pin::new(unix).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.io {
            Io::Tcp(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Io::Unix(unix) => Pin::new(unix).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn bytes_that_waited_in_the_kernel_tell_how_long() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        let (mut server, _) = listener.accept().await.unwrap();
        let mut client = Stamped::tcp(client);
        // The kernel begins to stamp some moments after it was asked to.
        tokio::time::sleep(Duration::from_millis(20)).await;
        server.write_all(b"early").await.unwrap();
        // The thread sleeps, not the task: nobody reads meanwhile.
        std::thread::sleep(Duration::from_millis(30));
        let mut buffer = [0; 64];
        assert_eq!(client.read(&mut buffer).await.unwrap(), 5);
        let lag = client.lag_ns().expect("the kernel stamps");
        assert!((30_000_000..5_000_000_000).contains(&lag), "{lag}");
        drop(server);
        assert_eq!(client.read(&mut buffer).await.unwrap(), 0);
    }
}
