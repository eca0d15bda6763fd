//! The members of a suite's etcd: how each is started, and what they say of themselves over etcd's own gateway. The program is the one
//! that `scripts/etcd.sh` builds of the line that everything runs on. Suites call it; it changes nothing but the alarm.

use crate::{http, product};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where members serve clients.
pub const PORT: u16 = 2_379;
/// Where they meet each other.
const PEERS: u16 = 2_380;

/// The alarm that there is no room, as etcd names it.
const FULL: &str = "NOSPACE";

/// Revisions that are kept: what docs/reference/etcd.md asks for, so that a follower can come back.
const KEPT: &str = "100000";

/// How long a change of the alarm may take, which goes through the log of all members: two syncs of the slowest disk that a fault makes.
const ALARMED_WITHIN: Duration = Duration::from_secs(3);

/// The program, where `make setup` put it.
///
/// # Errors
/// Where it is not there, with what to do.
pub fn program() -> Result<PathBuf> {
    let pins = product::tree().join("tests/etcd/v3.7/go.mod");
    let text = std::fs::read_to_string(&pins).context("read which etcd is pinned")?;
    let pinned = text.lines().find_map(|line| {
        let required = line.trim_start_matches("require ").trim();
        required.strip_prefix("go.etcd.io/etcd/server/v3 v")
    });
    let version = pinned.with_context(|| format!("find a server in `{}`", pins.display()))?;
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache");
    let folder = cache.unwrap_or_else(home).join("trackscan/etcd");
    let program = folder.join(version.trim()).join("etcd");
    ensure!(
        program.is_file(),
        "find `{}`: run `make setup`, which builds it",
        program.display()
    );
    Ok(program)
}

/// The arguments of one of the members.
#[must_use]
pub fn arguments(name: &str, members: &[(String, Ipv4Addr)], data: &Path) -> Vec<String> {
    let url = |address: Ipv4Addr, port: u16| format!("http://{address}:{port}");
    let own = members.iter().find(|(member, _)| member == name);
    let own = own.map_or(Ipv4Addr::LOCALHOST, |(_, address)| *address);
    let all = members.iter();
    let all: Vec<String> = all
        .map(|(member, address)| format!("{member}={}", url(*address, PEERS)))
        .collect();
    let flags = [
        ("name", name.to_owned()),
        ("data-dir", data.display().to_string()),
        ("listen-client-urls", url(own, PORT)),
        ("advertise-client-urls", url(own, PORT)),
        ("listen-peer-urls", url(own, PEERS)),
        ("initial-advertise-peer-urls", url(own, PEERS)),
        ("initial-cluster", all.join(",")),
        ("initial-cluster-state", "new".to_owned()),
        ("initial-cluster-token", "suite".to_owned()),
        ("auto-compaction-mode", "revision".to_owned()),
        ("auto-compaction-retention", KEPT.to_owned()),
        ("log-level", "warn".to_owned()),
    ];
    flags
        .into_iter()
        .map(|(name, value)| format!("--{name}={value}"))
        .collect()
}

/// What a member says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Its number, as etcd writes it in JSON.
    pub member: String,
    /// Whether it leads.
    pub leads: bool,
    /// The term it is in: it rises with each change of leaders.
    pub term: u64,
    /// Whether it knows of an alarm that there is no room.
    pub full: bool,
}

/// Asks a member.
///
/// # Errors
/// Where it does not answer in time, or makes no sense.
pub fn status(at: SocketAddr) -> Result<Status> {
    let said = http::post(at, "/v3/maintenance/status", &json!({}))?;
    let member = text(&said["header"]["member_id"])?;
    let leader = text(&said["leader"])?;
    let term = text(&said["raftTerm"])?;
    let errors = said["errors"].as_array().cloned().unwrap_or_default();
    let says_full = |error: &Value| error.as_str().is_some_and(|error| error.contains(FULL));
    Ok(Status {
        full: errors.iter().any(says_full),
        leads: member == leader,
        member,
        term: term.parse().context("read etcd's term")?,
    })
}

fn text(value: &Value) -> Result<String> {
    let text = value.as_str().context("read etcd's status")?;
    Ok(text.to_owned())
}

/// Whether a member knows of an alarm that there is no room. It answers by itself, whatever the others do.
///
/// # Errors
/// As [`status`].
pub fn is_full(at: SocketAddr) -> Result<bool> {
    Ok(status(at)?.full)
}

/// Raises the alarm for the member that is asked.
///
/// # Errors
/// As [`status`].
pub fn raise(at: SocketAddr) -> Result<()> {
    let member = status(at)?.member;
    alarm(at, "ACTIVATE", &member)
}

/// Disarms all that are raised.
///
/// # Errors
/// As [`status`].
pub fn disarm(at: SocketAddr) -> Result<()> {
    let members = alarms(at)?;
    members
        .iter()
        .try_for_each(|member| alarm(at, "DEACTIVATE", member))
}

fn alarms(at: SocketAddr) -> Result<Vec<String>> {
    let said = ordered(at, &json!({"action": "GET"}))?;
    let raised = said["alarms"].as_array().cloned().unwrap_or_default();
    raised
        .iter()
        .map(|alarm| text(&alarm["memberID"]))
        .collect()
}

fn alarm(at: SocketAddr, action: &str, member: &str) -> Result<()> {
    let order = json!({"action": action, "memberID": member, "alarm": FULL});
    ordered(at, &order).map(drop)
}

fn ordered(at: SocketAddr, order: &Value) -> Result<Value> {
    http::post_within(at, "/v3/maintenance/alarm", order, ALARMED_WITHIN)
}
