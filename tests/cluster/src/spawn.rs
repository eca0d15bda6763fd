//! Starts children that die with this process, in a process group of their own. Every module that starts a program does so here;
//! nothing here waits for one.

use anyhow::Context;
use rustix::process::Signal;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::sync::{Mutex, OnceLock, mpsc};

/// A command and where its child is to be sent.
type Order = (Command, mpsc::Sender<std::io::Result<Child>>);

/// Starts a child that the kernel kills once this process is gone.
///
/// The kernel ends such a child with the *thread* that started it, so one thread that lives as long as the process starts all.
/// Joining a user namespace clears the request, so the command's own steps before exec come first.
pub(crate) fn bound(mut command: Command) -> std::io::Result<Child> {
    // SAFETY: between fork and exec only prctl is called, which is async-signal-safe.
    unsafe {
        command.pre_exec(|| {
            let ends_with_us = Some(Signal::KILL);
            Ok(rustix::process::set_parent_process_death_signal(
                ends_with_us,
            )?)
        });
    }
    order(command)
}

/// Starts a child in a process group of its own that may outlive this process: it ends by itself once its stdin closes.
pub(crate) fn order(mut command: Command) -> std::io::Result<Child> {
    static ORDERS: OnceLock<Mutex<mpsc::Sender<Order>>> = OnceLock::new();
    let orders = ORDERS.get_or_init(|| {
        let (orders, received) = mpsc::channel::<Order>();
        std::thread::spawn(move || {
            for (mut command, answer) in received {
                let _ = answer.send(command.spawn());
            }
        });
        Mutex::new(orders)
    });
    command.process_group(0);
    let gone = || std::io::Error::other("the thread that starts children is gone");
    let (answer, child) = mpsc::channel();
    let sent = orders
        .lock()
        .map_err(|_| gone())?
        .send((command, answer))
        .is_ok();
    match sent {
        true => child.recv().map_err(|_| gone())?,
        false => Err(gone()),
    }
}

/// One of the programs of this package, which cargo puts beside each other and one folder above the tests.
///
/// # Errors
/// Where it has not been built.
pub fn program(name: &str) -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe().context("ask where this program stands")?;
    let stands = |folder: &&std::path::Path| folder.join(name).is_file();
    let folder = own.ancestors().skip(1).find(stands);
    let folder = folder.with_context(|| {
        format!(
            "find `{name}` above `{}`: build it with `cargo build --release -p cluster --bins`",
            own.display()
        )
    })?;
    Ok(folder.join(name))
}
