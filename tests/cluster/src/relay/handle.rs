//! The suite's hold on a relay that runs on a host: it starts the program, puts it into the host's way and gives it orders. Dropping it
//! resets what it carries and takes it out of the way again.

use super::serve::MARK;
use super::shape::{Order, Shape};
use crate::host::Host;
use crate::place::Place;
use crate::spawn;
use anyhow::{Context, Result, ensure};
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener};
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;

/// Where a transparent relay listens on its host: programs of suites choose other ports.
const PORT: u16 = 17_771;

/// A running relay.
pub struct Relay {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
    /// Where its rules stand, when it has some.
    place: Option<Arc<Place>>,
}

impl Relay {
    /// Puts a relay into the way of all TCP that leaves the host from here on, whoever opens it. The other side still sees the host's address.
    ///
    /// # Errors
    /// Where it cannot be started or nftables refuses.
    pub fn before(host: &Host) -> Result<Self> {
        let mut command = Command::new(spawn::program("cluster-relay")?);
        command.args(["transparent", &PORT.to_string()]);
        host.place().enter(&mut command);
        let mut relay = Self::start(command)?;
        host.place()
            .tool(&["nft", "-f", "-"], &rules(host.address()))?;
        relay.place = Some(Arc::clone(host.place()));
        Ok(relay)
    }

    /// A way into a host from the suite's own network: an address of loopback out here that leads to `to`, opened on the host.
    ///
    /// # Errors
    /// Where it cannot be started.
    pub fn inward(host: &Host, to: SocketAddrV4) -> Result<(Self, SocketAddr)> {
        let listener = TcpListener::bind("127.0.0.1:0").context("listen on loopback")?;
        let outside = listener.local_addr()?;
        let mut command = Command::new(spawn::program("cluster-relay")?);
        let number = listener.as_raw_fd().to_string();
        command.args(["inward", &to.to_string(), &number]);
        // SAFETY: between fork and exec only fcntl is called, which is async-signal-safe.
        unsafe {
            command.pre_exec(move || {
                let kept = rustix::io::FdFlags::empty();
                Ok(rustix::io::fcntl_setfd(&listener, kept)?)
            });
        }
        host.place().enter(&mut command);
        Ok((Self::start(command)?, outside))
    }

    fn start(mut command: Command) -> Result<Self> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = spawn::bound(command).context("start a relay")?;
        let orders = child.stdin.take().context("stdin is a pipe")?;
        let answers = child.stdout.take().context("stdout is a pipe")?;
        let mut relay = Self {
            child,
            orders,
            answers: BufReader::new(answers),
            place: None,
        };
        relay.answered().context("wait for a relay to be ready")?;
        Ok(relay)
    }

    /// Gives a shape to all connections to an address, those that are open too.
    ///
    /// # Errors
    /// Where the relay has ended.
    pub fn shape(&mut self, to: Ipv4Addr, forth: Shape, back: Shape) -> Result<()> {
        self.order(&Order::Shape { to, forth, back })
    }

    /// Resets all open connections to an address, both sides.
    ///
    /// # Errors
    /// Where the relay has ended.
    pub fn reset(&mut self, to: Ipv4Addr) -> Result<()> {
        self.order(&Order::Reset { to })
    }

    fn order(&mut self, order: &Order) -> Result<()> {
        let obeyed = writeln!(self.orders, "{}", serde_json::to_string(order)?)
            .map_err(anyhow::Error::from)
            .and_then(|()| self.answered());
        obeyed.with_context(|| format!("order a relay {order:?}"))
    }

    fn answered(&mut self) -> Result<()> {
        let mut line = String::new();
        let read = self.answers.read_line(&mut line)?;
        ensure!(read > 0, "the relay has ended");
        Ok(())
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        let away = "table ip relay\ndelete table ip relay\n";
        // A host whose keeper is gone has no rules any more.
        let _ = self
            .place
            .take()
            .map(|place| place.tool(&["nft", "-f", "-"], away));
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// All TCP that leaves a host goes to the relay, but for what the relay itself sends and what stays on the host.
fn rules(own: Ipv4Addr) -> String {
    format!(
        "table ip relay\ndelete table ip relay\ntable ip relay {{\n  chain output {{\n    \
         type nat hook output priority -100; policy accept;\n    \
         meta mark {MARK} return\n    ip daddr {{ 127.0.0.0/8, {own} }} return\n    \
         meta l4proto tcp redirect to :{PORT}\n  }}\n}}\n"
    )
}
