//! `doctor`: checks this machine and, unless told otherwise, the cluster; each fault comes with its remedy. What the storage can promise is asked
//! in a file of its own.

mod storage;

pub(super) use storage::run as storage;

use super::admin;
use crate::args::{Doctor, Global};
use crate::client::Client;
use crate::failure::{Exit, Failure, after};
use crate::output::print;
use crate::up::siblings;
use crate::view::{CheckView, Checks, Leadership};
use proto::v1;
use std::path::Path;
use types::{Blocking, Code};

/// Free space below which a data folder is called too small: parts of a hundred thousand tracks fit into it.
const FREE_BYTES_MIN: u64 = 1 << 30;

/// Nodes that are asked what keeps their work from being counted: where the store is in trouble each says the same.
const NODES_ASKED_MAX: usize = 32;

pub(super) async fn run(global: &Global, flags: &Doctor) -> Result<(), Failure> {
    let mut checks = machine(&flags.data);
    if !flags.client {
        checks.extend(cluster(global).await);
    }
    let outcome = fault_or(checks.iter().all(|check| check.ok));
    after(print(global, &Checks { checks }), outcome)
}

/// How a doctor ends.
const fn fault_or(sound: bool) -> Result<(), Failure> {
    match sound {
        true => Ok(()),
        false => Err(Failure::Ended(Exit::Fault)),
    }
}

fn check(name: impl Into<String>, found: Result<String, (String, &str)>) -> CheckView {
    let check = name.into();
    match found {
        Ok(found) => CheckView {
            check,
            ok: true,
            found,
            fix: String::new(),
        },
        Err((found, fix)) => CheckView {
            check,
            ok: false,
            found,
            fix: fix.to_owned(),
        },
    }
}

fn machine(data: &Path) -> Vec<CheckView> {
    let own = env!("CARGO_PKG_VERSION");
    let binaries = siblings::versions().into_iter().map(|(name, version)| {
        check(
            format!("binary {name}"),
            match version {
                Ok(version) if version == own => Ok(version),
                Ok(version) => Err((
                    format!("version {version}, scanctl has {own}"),
                    Code::VersionMismatch.fix(),
                )),
                Err(why) => Err((why, Code::BinaryMissing.fix())),
            },
        )
    });
    binaries
        .chain([kernel(), seccomp(), memory(), space(data)])
        .collect()
}

fn kernel() -> CheckView {
    let release = rustix::system::uname()
        .release()
        .to_string_lossy()
        .into_owned();
    let mut numbers = release
        .split(['.', '-'])
        .map_while(|part| part.parse::<u32>().ok());
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    let found = if version >= (5, 13) {
        Ok(release)
    } else {
        Err((release, "run on Linux 5.13 or newer"))
    };
    check("kernel", found)
}

fn seccomp() -> CheckView {
    let actions = std::fs::read_to_string("/proc/sys/kernel/seccomp/actions_avail");
    let found = match actions {
        Ok(actions) if actions.contains("kill_process") => {
            Ok("filters can end a process".to_owned())
        }
        Ok(_) | Err(_) => Err((
            "seccomp filters are not available".to_owned(),
            Code::SandboxUnavailable.fix(),
        )),
    };
    check("seccomp", found)
}

fn memory() -> CheckView {
    let info = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = info
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"));
    let kib = line
        .and_then(|rest| rest.trim().split(' ').next()?.parse::<u64>().ok())
        .unwrap_or(0);
    let found = format!("{} available", crate::view::size(kib << 10));
    let enough = kib << 10 >= 2 << 30;
    check(
        "memory",
        if enough {
            Ok(found)
        } else {
            Err((
                found,
                "a node needs about 2 GiB; close other programs or use fewer --decoders",
            ))
        },
    )
}

fn space(data: &Path) -> CheckView {
    let free = free_bytes(data);
    let found = format!("{} free for `{}`", crate::view::size(free), data.display());
    check(
        "disk",
        if free >= FREE_BYTES_MIN {
            Ok(found)
        } else {
            Err((found, "free some space, or choose another --data folder"))
        },
    )
}

/// Free space where a folder is, or where it would be made.
fn free_bytes(folder: &Path) -> u64 {
    let folder = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    let stat = folder
        .ancestors()
        .find_map(|at| rustix::fs::statvfs(at).ok());
    stat.map_or(0, |stat| stat.f_bavail * stat.f_frsize)
}

async fn cluster(global: &Global) -> Vec<CheckView> {
    let client = match Client::connect(global).await {
        Ok(client) => client,
        Err(failure) => {
            return vec![check(
                "coordinator",
                Err((failure.said(), Code::CoordinatorUnreachable.fix())),
            )];
        }
    };
    let mut checks = vec![check(
        "coordinator",
        Ok(format!("answers at {}", global.address)),
    )];
    checks.extend(coordinators(global).await);
    checks.extend(nodes(&client).await);
    checks.extend(bundles(&client).await);
    checks
}

/// Who leads, and each coordinator whose address was given and that does not answer or is configured otherwise.
async fn coordinators(global: &Global) -> Vec<CheckView> {
    let told = match admin::ask(global).await {
        Ok(told) => told,
        Err(failure) => {
            return vec![check(
                "leader",
                Err((failure.said(), Code::CoordinatorUnreachable.fix())),
            )];
        }
    };
    let found = Leadership::of(told);
    let led = match found.is_led() {
        true => Ok(format!("{} leads, epoch {}", found.leader, found.epoch)),
        false => Err(not_led(&found)),
    };
    let faults = found.coordinators.iter().filter_map(|one| {
        let name = format!("coordinator {}", one.address);
        Some(check(name, Err(one.fault()?)))
    });
    std::iter::once(check("leader", led))
        .chain(faults)
        .collect()
}

fn not_led(found: &Leadership) -> (String, &str) {
    match found.hindrance() {
        Some((why, fix)) => (format!("no coordinator leads: {why}"), fix),
        None => (
            "no coordinator leads".to_owned(),
            "wait a few seconds; if none does then, see the coordinators' logs",
        ),
    }
}

async fn nodes(client: &Client) -> Vec<CheckView> {
    let request = v1::ListNodesRequest {
        caller: client.caller(),
    };
    let nodes = match client.call(client.nodes().list_nodes(request)).await {
        Ok(answer) => answer.nodes,
        Err(failure) => return vec![check("nodes", Err((failure.said(), failure.fix())))],
    };
    let living: Vec<_> = nodes
        .iter()
        .filter(|n| n.state() == v1::NodeState::Ready)
        .collect();
    let none = Err((
        "no node is ready".to_owned(),
        "start an agent, or scanctl up on one machine",
    ));
    let count = check(
        "nodes",
        if living.is_empty() {
            none
        } else {
            Ok(format!("{} ready of {}", living.len(), nodes.len()))
        },
    );
    let devices = living
        .iter()
        .flat_map(|node| node.devices.iter().map(move |device| (node, device)));
    let device = |(node, status): (&&v1::Node, &v1::DeviceStatus)| {
        let name = format!(
            "device {} {}",
            node.name,
            crate::view::device(status.device.as_ref())
        );
        let fix = status
            .out
            .parse::<Code>()
            .map_or("see the agent's log", Code::fix);
        let out = !status.out.is_empty();
        check(
            name,
            if out {
                Err((status.out.clone(), fix))
            } else {
                Ok("in service".to_owned())
            },
        )
    };
    let mut checks: Vec<_> = std::iter::once(count)
        .chain(devices.map(|(node, status)| device((node, status))))
        .collect();
    for node in living.iter().take(NODES_ASKED_MAX) {
        checks.extend(trouble(client, &node.name).await);
    }
    checks
}

/// What keeps a node's work from being stored or counted: a store or storage that is full, or does not answer.
async fn trouble(client: &Client, node: &str) -> Vec<CheckView> {
    let request = v1::GetNodeRequest {
        caller: client.caller(),
        node: node.to_owned(),
    };
    let Ok(answer) = client.call(client.nodes().get_node(request)).await else {
        return Vec::new();
    };
    let troubles = [Blocking::StoreTrouble, Blocking::NodeStorage];
    let told = answer.reasons.into_iter().filter_map(|reason| {
        let trouble = troubles.iter().find(|one| one.as_str() == reason.code)?;
        let found = format!("{}: {}", reason.code, reason.cause);
        Some(check(
            format!("work of {node}"),
            Err((found, trouble.fix())),
        ))
    });
    told.collect()
}

async fn bundles(client: &Client) -> Vec<CheckView> {
    let request = v1::VerifyBundleRequest {
        caller: client.caller(),
        bundle: String::new(),
    };
    let answer = client.call(client.bundles().verify_bundle(request)).await;
    vec![check(
        "default bundle",
        match &answer {
            Ok(answer) if answer.findings.is_empty() => {
                let bundle = answer.bundle.clone().unwrap_or_default();
                Ok(format!("{}@{} as signed", bundle.name, bundle.version))
            }
            Ok(answer) => Err((
                answer
                    .findings
                    .iter()
                    .map(|f| f.cause.clone())
                    .collect::<Vec<_>>()
                    .join("; "),
                Code::BundleDigestMismatch.fix(),
            )),
            Err(failure) => Err((failure.said(), failure.fix())),
        },
    )]
}
