//! The gRPC server's edge: how many may connect, how much they may send, and how long anything may take. Handlers
//! stand behind it and know nothing of it.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::Stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::transport::Server;
use tonic::transport::server::{Connected, TcpConnectInfo};

/// Connections at once: two for each of a thousand agents. Further ones wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 2_048;

/// Streams on one connection: an agent needs three, a person's tool two.
const STREAMS_MAX: u32 = 128;

/// Largest message taken in: the largest beat (192 grants with their tracks) stays below a third of it.
pub(crate) const MESSAGE_BYTES_MAX: usize = 1024 * 1024;

/// Largest headers of a request: ours have a few hundred bytes.
const HEADER_BYTES_MAX: u32 = 16 * 1024;

/// How long a call may take until its answer begins; streams may go on after that.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// A connection is pinged after this much silence, and closed when the ping is not answered in time.
const PING_EVERY: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// Age at which a connection is asked to end, so that clients spread anew; what is under way finishes.
const CONNECTION_AGE_MAX: Duration = Duration::from_secs(30 * 60);

/// Streams that a peer may reset before they were looked at, and that we may reset, before the connection is closed:
/// far above what any client of ours does, far below what an attack needs.
const RESETS_MAX: usize = 64;

/// Wait after a refused accept (no file descriptors left), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A server with every limit set.
pub(crate) fn limited() -> Server {
    Server::builder()
        .max_concurrent_streams(STREAMS_MAX)
        .concurrency_limit_per_connection(STREAMS_MAX as usize)
        .load_shed(true)
        .timeout(CALL_TIMEOUT)
        .http2_keepalive_interval(Some(PING_EVERY))
        .http2_keepalive_timeout(Some(PING_TIMEOUT))
        .http2_max_header_list_size(HEADER_BYTES_MAX)
        .http2_max_pending_accept_reset_streams(Some(RESETS_MAX))
        .http2_max_local_error_reset_streams(Some(RESETS_MAX))
        .max_connection_age(CONNECTION_AGE_MAX)
}

/// A bound listener whose connections are counted.
pub(crate) struct Listener {
    listener: TcpListener,
    permits: Arc<Semaphore>,
}

impl Listener {
    /// Binds the address.
    pub(crate) async fn bind(address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        Ok(Self {
            listener,
            permits: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
        })
    }

    /// The address bound, with the port that was chosen for port 0.
    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Connections as they come. Never ends by itself.
    pub(crate) fn incoming(self) -> impl Stream<Item = io::Result<Connection>> {
        futures::stream::unfold(self, |listener| async move {
            let accepted = listener.accept().await;
            Some((Ok(accepted), listener))
        })
    }

    async fn accept(&self) -> Connection {
        loop {
            let permit = self.permits.clone().acquire_owned().await;
            let permit = permit.expect("the semaphore of connections is never closed");
            match self.listener.accept().await {
                Ok((stream, _)) => return Connection::new(stream, permit),
                Err(error) => {
                    tracing::warn!(%error, "a connection was not accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

/// A connection that gives its place back when it ends.
pub(crate) struct Connection {
    stream: TcpStream,
    _permit: OwnedSemaphorePermit,
}

impl Connection {
    fn new(stream: TcpStream, permit: OwnedSemaphorePermit) -> Self {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a connection answers with delay");
        }
        Self {
            stream,
            _permit: permit,
        }
    }
}

impl Connected for Connection {
    type ConnectInfo = TcpConnectInfo;
    fn connect_info(&self) -> TcpConnectInfo {
        self.stream.connect_info()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
