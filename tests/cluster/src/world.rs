//! Hosts on one machine: a network namespace each, with an address of its own, joined by a switch in a namespace of its own. Suites
//! make a [`World`], start programs on its hosts and change its links. Nothing of it is visible outside; dropping it leaves nothing.

use crate::host::{Host, Keeper};
use crate::links::{Link, Links};
use anyhow::{Context, Result, ensure};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::{Arc, Mutex};

/// Hosts in one world: their addresses end in one byte, and no suite has use for more.
const HOSTS_MAX: usize = 200;

/// The first host's last byte of address; 10.77.0.1 stays free.
const FIRST: u8 = 2;

/// A switch and the hosts at it.
pub struct World {
    // Hosts go before the switch that they are plugged into.
    hosts: BTreeMap<String, Host>,
    links: Arc<Mutex<Links>>,
    _switch: Keeper,
}

impl World {
    /// Makes a host for each name; `logs` is the folder for what their programs say.
    ///
    /// # Errors
    /// Where the kernel or its tools do not allow it: the text says what is missing.
    pub fn make(logs: &Path, names: &[&str]) -> Result<Self> {
        ensure!(names.len() <= HOSTS_MAX, "at most {HOSTS_MAX} hosts");
        std::fs::create_dir_all(logs)
            .with_context(|| format!("make the folder `{}`", logs.display()))?;
        let switch = Keeper::first()?;
        let keepers: Vec<Keeper> = names.iter().map(|_| switch.next()).collect::<Result<_>>()?;
        switch
            .place()
            .tool(&["ip", "-batch", "-"], &plugs(&keepers))?;
        let links = Arc::new(Mutex::new(Links::default()));
        let hosts = names
            .iter()
            .zip(FIRST..)
            .zip(keepers)
            .map(|((name, last), keeper)| {
                let host = Host::plug(name, Ipv4Addr::new(10, 77, 0, last), keeper, logs)?;
                Ok(((*name).to_owned(), host))
            });
        Ok(Self {
            hosts: hosts.collect::<Result<_>>()?,
            links,
            _switch: switch,
        })
    }

    /// A host by its name.
    ///
    /// # Errors
    /// Where the world has none of that name.
    pub fn host(&self, name: &str) -> Result<&Host> {
        let known = || self.hosts.keys().cloned().collect::<Vec<_>>().join(", ");
        self.hosts
            .get(name)
            .with_context(|| format!("find the host `{name}`: there are {}", known()))
    }

    /// All hosts, by name.
    pub fn hosts(&self) -> impl Iterator<Item = &Host> {
        self.hosts.values()
    }

    /// Sets what passes from one host to another; the way back stays as it is.
    ///
    /// # Errors
    /// Where a host is unknown or nftables refuses.
    pub fn link(&self, from: &str, to: &str, link: Link) -> Result<()> {
        let (from, to) = (self.host(from)?, self.host(to)?);
        let mut links = self.links.lock().map_err(|_| broken())?;
        if links.has_rules(to.address()) {
            let table = to
                .place()
                .ask(&["nft", "list", "table", "ip", "cuts"], "")?;
            links.count(to.address(), &table);
        }
        let before = links.get(from.address(), to.address());
        links.set(from.address(), to.address(), link);
        let set = to
            .place()
            .tool(&["nft", "-f", "-"], &links.rules(to.address()));
        if set.is_err() {
            links.set(from.address(), to.address(), before);
        }
        set
    }

    /// Packets that the way from one host to another has kept back since this was asked last. It is known of a way that is whole again.
    ///
    /// # Errors
    /// Where a host is unknown.
    pub fn dropped(&self, from: &str, to: &str) -> Result<u64> {
        let (from, to) = (self.host(from)?.address(), self.host(to)?.address());
        let mut links = self.links.lock().map_err(|_| broken())?;
        Ok(links.take_dropped(from, to))
    }

    /// The same between two hosts, both ways.
    ///
    /// # Errors
    /// As [`World::dropped`].
    pub fn dropped_between(&self, one: &str, other: &str) -> Result<u64> {
        Ok(self.dropped(one, other)? + self.dropped(other, one)?)
    }

    /// Sets what passes between two hosts, both ways.
    ///
    /// # Errors
    /// As [`World::link`].
    pub fn link_both(&self, one: &str, other: &str, link: Link) -> Result<()> {
        self.link(one, other, link)?;
        self.link(other, one, link)
    }

    /// Sets what passes between a host and every other one, both ways.
    ///
    /// # Errors
    /// As [`World::link`].
    pub fn isolate(&self, host: &str, link: Link) -> Result<()> {
        let mut others = self.hosts.keys().filter(|name| *name != host);
        others.try_for_each(|other| self.link_both(host, other, link))
    }

    /// Ends the world and says whether everything in it ended.
    ///
    /// # Errors
    /// Where something lives on although it was killed.
    pub fn end(self) -> Result<()> {
        self.hosts.values().try_for_each(Host::end)
    }
}

fn broken() -> anyhow::Error {
    anyhow::anyhow!("change a link: another thread panicked while it did")
}

/// The batch for `ip` that makes the switch and a cable into each keeper's namespace.
fn plugs(keepers: &[Keeper]) -> String {
    let mut batch = String::from("link add switch type bridge\nlink set switch up\n");
    for (number, keeper) in keepers.iter().enumerate() {
        let pid = keeper.pid();
        // Writing into a string cannot fail.
        let _ = writeln!(
            batch,
            "link add port{number} type veth peer name eth0 netns {pid}"
        );
        let _ = writeln!(batch, "link set port{number} master switch up");
    }
    batch
}
