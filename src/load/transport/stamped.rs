//! When did the kernel receive what is read here?
//!
//! A stream that asks the kernel to stamp what arrives (`SO_TIMESTAMPNS`, see
//! `socket(7)`) and keeps how long the last bytes had lain there. Where the
//! kernel does not tell, as for Unix sockets, it is a stream like any other.

use std::io::{self, IoSliceMut};
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg, setsockopt, sockopt};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use crate::load::pacer::wall_ns;

/// A lag beyond this is a step of the wall clock, not a lag.
const ABSURD_LAG_NS: u64 = 60_000_000_000;

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
}

impl AsyncRead for Stamped {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let tcp = match &mut this.io {
            Io::Unix(unix) => return Pin::new(unix).poll_read(cx, buffer),
            Io::Tcp(tcp) => tcp,
        };
        if this.control.is_empty() {
            return Pin::new(tcp).poll_read(cx, buffer);
        }
        loop {
            ready!(tcp.poll_read_ready(cx))?;
            let room = buffer.initialize_unfilled();
            let wanted = room.len();
            let read = tcp.try_io(Interest::READABLE, || {
                let mut parts = [IoSliceMut::new(room)];
                let message = recvmsg::<()>(
                    tcp.as_raw_fd(),
                    &mut parts,
                    Some(&mut this.control),
                    MsgFlags::MSG_DONTWAIT,
                )?;
                let stamp = message.cmsgs().ok().and_then(|mut all| {
                    all.find_map(|part| match part {
                        ControlMessageOwned::ScmTimestampns(time) => Some(time),
                        _ => None,
                    })
                });
                Ok((message.bytes, stamp))
            });
            match read {
                Ok((count, stamp)) => {
                    buffer.advance(count);
                    this.lag_ns = stamp.and_then(|time| {
                        let at = u64::try_from(time.tv_sec()).ok()? * 1_000_000_000
                            + u64::try_from(time.tv_nsec()).ok()?;
                        Some(wall_ns().saturating_sub(at)).filter(|lag| *lag < ABSURD_LAG_NS)
                    });
                    if count > 0 && count < wanted {
                        // The socket is empty: what comes next makes an event
                        // of its own, so that asking again would be in vain.
                        let _ = tcp.try_io(Interest::READABLE, || {
                            Err::<(), _>(io::ErrorKind::WouldBlock.into())
                        });
                    }
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
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
