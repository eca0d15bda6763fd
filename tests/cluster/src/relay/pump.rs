//! One connection through a relay: two directions, each with a reader, a bounded queue and a writer, until both are done, one side breaks
//! or the connection is reset. Called by `serve`; it decides nothing itself.

use super::shape::{Pass, Shape};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use std::io;
use std::pin::pin;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};

/// Bytes taken at once.
const PIECE: usize = 16 * 1024;

/// Pieces on their way in one direction: 4 MiB, which is what a second at 30 Mbit/s holds. Beyond it the sender waits.
const PIECES_MAX: usize = 256;

/// The state of one destination, as its connections see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Way {
    pub(super) forth: Shape,
    pub(super) back: Shape,
    /// How often connections were reset.
    pub(super) resets: u64,
}

/// A piece and when it is due; an empty one is the end.
struct Piece {
    bytes: Vec<u8>,
    due: Instant,
}

/// Why a direction went no further.
enum End {
    /// The sender closed, and all it sent has passed.
    Closed,
    /// One side broke, or lost bytes that it can never have.
    Broken,
}

/// Carries a connection to its end. A reset ends both sides with RST, as everything but an orderly end does.
pub(super) async fn carry(mut near: TcpStream, mut far: TcpStream, way: watch::Receiver<Way>) {
    // Small writes are to be as late as the relay makes them and no later; a socket that refuses works still.
    let _ = (near.set_nodelay(true), far.set_nodelay(true));
    let orderly = {
        let ((near_in, near_out), (far_in, far_out)) = (near.split(), far.split());
        let forth = direction(near_in, far_out, way.clone(), |way| way.forth);
        let back = direction(far_in, near_out, way.clone(), |way| way.back);
        tokio::select! {
            orderly = both(forth, back) => orderly,
            () = reset(way) => false,
        }
    };
    if !orderly {
        let _ = (near.set_zero_linger(), far.set_zero_linger());
    }
}

/// Whether both directions were closed in order; the first that breaks ends the other.
async fn both(forth: impl Future<Output = End>, back: impl Future<Output = End>) -> bool {
    let (mut forth, mut back) = (pin!(forth), pin!(back));
    let (first, forth_is_first) = tokio::select! {
        end = &mut forth => (end, true),
        end = &mut back => (end, false),
    };
    let second = match (first, forth_is_first) {
        (End::Broken, _) => return false,
        (End::Closed, true) => back.await,
        (End::Closed, false) => forth.await,
    };
    matches!(second, End::Closed)
}

/// Returns at the next reset of this way.
async fn reset(mut way: watch::Receiver<Way>) {
    let before = way.borrow().resets;
    // Where the sender of orders is gone, the program ends and so do its connections.
    let _ = way.wait_for(|way| way.resets > before).await;
}

async fn direction(
    from: ReadHalf<'_>,
    to: WriteHalf<'_>,
    way: watch::Receiver<Way>,
    pick: fn(&Way) -> Shape,
) -> End {
    let (queue, pieces) = mpsc::channel(PIECES_MAX);
    let reader = read(from, queue, way.clone(), pick);
    let breaks = async {
        match reader.await {
            // The writer ends the direction once it has written what was read.
            Ok(()) => std::future::pending().await,
            Err(_) => End::Broken,
        }
    };
    tokio::select! {
        end = breaks => end,
        end = write(to, pieces, way, pick) => end.unwrap_or(End::Broken),
    }
}

async fn read(
    mut from: ReadHalf<'_>,
    queue: mpsc::Sender<Piece>,
    mut way: watch::Receiver<Way>,
    pick: fn(&Way) -> Shape,
) -> io::Result<()> {
    // Jitter needs no seed of its own: no two connections are read at the same moments anyway.
    let mut chance = ChaCha8Rng::seed_from_u64(0);
    let mut due = Instant::now();
    loop {
        flowing(&mut way, pick).await?;
        let mut bytes = vec![0; PIECE];
        let read = from.read(&mut bytes).await?;
        bytes.truncate(read);
        // The shape of the moment in which the piece came, however long it was waited for.
        let shape = pick(&way.borrow());
        due = due.max(Instant::now() + late(shape, &mut chance));
        queue.send(Piece { bytes, due }).await.map_err(gone)?;
        if read == 0 {
            return Ok(());
        }
    }
}

/// Writes each piece when it is due and the direction does not stall.
async fn write(
    mut to: WriteHalf<'_>,
    mut pieces: mpsc::Receiver<Piece>,
    mut way: watch::Receiver<Way>,
    pick: fn(&Way) -> Shape,
) -> io::Result<End> {
    while let Some(piece) = pieces.recv().await {
        sleep_until(piece.due).await;
        let shape = flowing(&mut way, pick).await?;
        match shape.pass {
            Pass::Swallows => return Ok(swallow(pieces, way, pick).await),
            Pass::Flows | Pass::Stalls if piece.bytes.is_empty() => {
                to.shutdown().await?;
                return Ok(End::Closed);
            }
            Pass::Flows | Pass::Stalls => to.write_all(&piece.bytes).await?,
        }
        sleep(cost(piece.bytes.len(), shape)).await;
    }
    Ok(End::Broken)
}

/// Loses whatever comes for as long as the hole is there; what passed it is never whole again.
async fn swallow(
    mut pieces: mpsc::Receiver<Piece>,
    mut way: watch::Receiver<Way>,
    pick: fn(&Way) -> Shape,
) -> End {
    let lost = async { while pieces.recv().await.is_some() {} };
    let nothing_more = async {
        lost.await;
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = nothing_more => {}
        _ = way.wait_for(|way| pick(way).pass != Pass::Swallows) => {}
    }
    End::Broken
}

/// Waits until a direction does not stall, and says how it is then.
async fn flowing(way: &mut watch::Receiver<Way>, pick: fn(&Way) -> Shape) -> io::Result<Shape> {
    let flows = way.wait_for(|way| pick(way).pass != Pass::Stalls).await;
    flows.map(|way| pick(&way)).map_err(gone)
}

fn gone<T>(_: T) -> io::Error {
    io::ErrorKind::BrokenPipe.into()
}

fn late(shape: Shape, chance: &mut ChaCha8Rng) -> Duration {
    let jitter = chance.next_u64() % (shape.jitter_ms + 1);
    Duration::from_millis(shape.delay_ms + jitter)
}

/// How long so many bytes take at the shape's rate.
fn cost(bytes: usize, shape: Shape) -> Duration {
    let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
    let micros = bytes
        .saturating_mul(1_000_000)
        .checked_div(shape.bytes_per_s);
    Duration::from_micros(micros.unwrap_or(0))
}
