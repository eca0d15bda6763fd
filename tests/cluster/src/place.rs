//! A network namespace as somewhere to start programs, with the user namespace that owns it where one was needed. The world makes
//! one per host; it never changes the namespaces of this process.

use anyhow::{Context, Result};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

/// Where Debian keeps the tools of an administrator, which are not on everybody's PATH.
const TOOLS: &str = "/usr/sbin:/sbin:/usr/bin:/bin";

/// A network namespace, held open.
#[derive(Debug)]
pub(crate) struct Place {
    user: Option<OwnedFd>,
    net: Option<OwnedFd>,
}

impl Place {
    /// The network of a living process; with `user`, the user namespace that owns it too.
    pub(crate) fn of(pid: u32, user: bool) -> Result<Self> {
        Ok(Self {
            user: user.then(|| open(pid, "user")).transpose()?,
            net: Some(open(pid, "net")?),
        })
    }

    /// The user namespace of a living process alone, in which networks may be made; nothing at all without `user`.
    pub(crate) fn owner(pid: u32, user: bool) -> Result<Self> {
        Ok(Self {
            user: user.then(|| open(pid, "user")).transpose()?,
            net: None,
        })
    }

    /// Has the command's child go there before it becomes its program.
    pub(crate) fn enter(self: &Arc<Self>, command: &mut Command) {
        let place = Arc::clone(self);
        // SAFETY: between fork and exec only setns is called, which is async-signal-safe; nothing is allocated.
        unsafe {
            command.pre_exec(move || place.join());
        }
    }

    fn join(&self) -> std::io::Result<()> {
        if let Some(user) = &self.user {
            move_into_link_name_space(user.as_fd(), Some(LinkNameSpaceType::User))?;
        }
        if let Some(net) = &self.net {
            move_into_link_name_space(net.as_fd(), Some(LinkNameSpaceType::Network))?;
        }
        Ok(())
    }

    /// Runs one of the tools that make networks here, with `script` on its stdin.
    pub(crate) fn tool(self: &Arc<Self>, words: &[&str], script: &str) -> Result<()> {
        self.ask(words, script).map(drop)
    }

    /// The same, and what it said.
    pub(crate) fn ask(self: &Arc<Self>, words: &[&str], script: &str) -> Result<String> {
        let line = words.join(" ");
        let output = self
            .feed(words, script)
            .with_context(|| format!("run `{line}`: install iproute2 and nftables (make setup)"))?;
        anyhow::ensure!(
            output.status.success(),
            "`{line}` ended with {}: {}\nof: {script}",
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        );
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn feed(self: &Arc<Self>, words: &[&str], script: &str) -> Result<Output> {
        let (name, arguments) = words.split_first().context("a tool has a name")?;
        let found = std::env::var("PATH").unwrap_or_default();
        let mut command = Command::new(name);
        command
            .args(arguments)
            .env("PATH", format!("{found}:{TOOLS}"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        self.enter(&mut command);
        let mut child = crate::spawn::bound(command)?;
        // A tool that refuses early closes its stdin; its own words say more than that.
        let _ = child
            .stdin
            .take()
            .map(|mut stdin| stdin.write_all(script.as_bytes()));
        Ok(child.wait_with_output()?)
    }
}

fn open(pid: u32, kind: &str) -> Result<OwnedFd> {
    let path = format!("/proc/{pid}/ns/{kind}");
    let file = File::open(&path).with_context(|| format!("open the namespace `{path}`"))?;
    Ok(file.into())
}
