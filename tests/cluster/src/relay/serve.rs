//! The relay as a program: it accepts connections, learns whereto they were meant, and lets `pump` carry them; orders come on stdin. The
//! binary `cluster-relay` is this and nothing else. It ends when its orders do.

use super::pump::{Way, carry};
use super::shape::Order;
use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::io::{BufRead, Write};
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Semaphore, mpsc, watch};
use types::Report;

/// The mark on what the relay sends itself, by which the host's rules let it pass instead of handing it back.
pub(crate) const MARK: u32 = 0x7e1a;

/// Connections waiting to be accepted: as many as a cluster opens at once after a reset, with room.
const BACKLOG: u32 = 1_024;

/// Connections through one relay at once: more than a cluster has in all; further ones wait to be accepted.
const CONNECTIONS_MAX: usize = 4_096;

/// Orders read ahead: the suite waits for each one's answer before it gives the next.
const ORDERS_MAX: usize = 1;

/// What a relay listens on, and whereto it leads.
enum Door {
    /// Connections that the host's rules hand over; each knows whereto it was meant.
    Transparent(TcpListener),
    /// A socket of the machine outside, for one address inside.
    Inward(TcpListener, SocketAddrV4),
}

type Ways = Mutex<BTreeMap<Ipv4Addr, watch::Sender<Way>>>;

/// Runs until stdin ends: `transparent PORT`, or `inward ADDRESS FD` where the socket of that number is listening already.
///
/// # Errors
/// Where the words are others, or a socket cannot be had.
pub fn serve(words: &[String]) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start a runtime")?;
    runtime.block_on(async {
        let door = Door::open(words)?;
        let ways = Arc::new(Ways::default());
        report()?;
        tokio::select! {
            end = obey(&ways) => end,
            end = accept(&door, &ways) => end,
        }
    })
}

/// stdout is this program's answer to the suite.
fn report() -> Result<()> {
    let ready = serde_json::to_string(&Report::Ready { listening: None })?;
    answer(&ready)
}

fn answer(line: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")
        .and_then(|()| out.flush())
        .context("answer on stdout")
}

impl Door {
    fn open(words: &[String]) -> Result<Self> {
        match words {
            [kind, port] if kind == "transparent" => {
                let socket = TcpSocket::new_v4()?;
                socket.set_reuseaddr(true)?;
                let port = port.parse().context("read the port")?;
                let address = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port);
                socket
                    .bind(address.into())
                    .context("bind the relay's port")?;
                Ok(Self::Transparent(socket.listen(BACKLOG)?))
            }
            [kind, to, fd] if kind == "inward" => {
                let fd = fd.parse().context("read the socket's number")?;
                // SAFETY: the suite hands this one socket over by its number, and nobody else in this process uses it.
                let listener = std::net::TcpListener::from(unsafe { OwnedFd::from_raw_fd(fd) });
                listener.set_nonblocking(true)?;
                let to = to.parse().context("read the address")?;
                Ok(Self::Inward(TcpListener::from_std(listener)?, to))
            }
            _ => bail!("relay {words:?}: say `transparent PORT` or `inward ADDRESS FD`"),
        }
    }
}

async fn obey(ways: &Ways) -> Result<()> {
    let (lines, mut orders) = mpsc::channel(ORDERS_MAX);
    // A thread, since stdin cannot be waited for otherwise; it ends with the process.
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if lines.blocking_send(line).is_err() {
                return;
            }
        }
    });
    while let Some(line) = orders.recv().await {
        match serde_json::from_str(&line).context("read an order")? {
            Order::Shape { to, forth, back } => {
                change(ways, to, |way| (way.forth, way.back) = (forth, back));
            }
            Order::Reset { to } => change(ways, to, |way| way.resets += 1),
        }
        answer("")?;
    }
    Ok(())
}

fn change(ways: &Ways, to: Ipv4Addr, change: impl FnOnce(&mut Way)) {
    let mut ways = ways.lock().unwrap_or_else(PoisonError::into_inner);
    ways.entry(to).or_default().send_modify(change);
}

fn watch(ways: &Ways, to: Ipv4Addr) -> watch::Receiver<Way> {
    let mut ways = ways.lock().unwrap_or_else(PoisonError::into_inner);
    ways.entry(to).or_default().subscribe()
}

async fn accept(door: &Door, ways: &Arc<Ways>) -> Result<()> {
    let free = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let place = Arc::clone(&free).acquire_owned().await?;
        let (near, to) = match door {
            Door::Transparent(listener) => {
                let near = listener.accept().await?.0;
                let to = meant(&near);
                (near, to)
            }
            Door::Inward(listener, to) => (listener.accept().await?.0, Ok(*to)),
        };
        let marked = matches!(door, Door::Transparent(_));
        // Whoever hung up already has no original address any more, and needs none.
        let Ok(to) = to else { continue };
        let carried = through(near, to, marked, watch(ways, *to.ip()));
        tokio::spawn(async move {
            carried.await;
            drop(place);
        });
    }
}

/// Connects onwards and carries. A target that refuses is refused to the caller in the only way that is left: a reset.
async fn through(near: TcpStream, to: SocketAddrV4, marked: bool, way: watch::Receiver<Way>) {
    match onwards(to, marked).await {
        Ok(far) => carry(near, far, way).await,
        Err(_) => {
            let _ = near.set_zero_linger();
        }
    }
}

/// A way inwards is not marked: it goes through the host's own relay as everything there does.
async fn onwards(to: SocketAddrV4, marked: bool) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    if marked {
        mark(&socket)?;
    }
    socket.connect(to.into()).await
}

fn mark(socket: &TcpSocket) -> std::io::Result<()> {
    let mark = MARK;
    let bytes = libc::socklen_t::try_from(size_of_val(&mark)).unwrap_or(0);
    // SAFETY: the kernel reads so many bytes from there.
    let done = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_MARK,
            (&raw const mark).cast(),
            bytes,
        )
    };
    match done {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}

/// The address that a connection was meant for before the host's rules handed it here.
fn meant(near: &TcpStream) -> std::io::Result<SocketAddrV4> {
    let mut found = MaybeUninit::<libc::sockaddr_in>::uninit();
    let mut bytes = libc::socklen_t::try_from(size_of::<libc::sockaddr_in>()).unwrap_or(0);
    // SAFETY: the kernel writes at most so many bytes there, and a whole address where it succeeds.
    let found = unsafe {
        let done = libc::getsockopt(
            near.as_raw_fd(),
            libc::SOL_IP,
            libc::SO_ORIGINAL_DST,
            found.as_mut_ptr().cast(),
            &raw mut bytes,
        );
        if done != 0 {
            return Err(std::io::Error::last_os_error());
        }
        found.assume_init()
    };
    let address = Ipv4Addr::from(u32::from_be(found.sin_addr.s_addr));
    Ok(SocketAddrV4::new(address, u16::from_be(found.sin_port)))
}
