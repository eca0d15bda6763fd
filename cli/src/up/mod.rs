//! `scanctl up`: a coordinator and an agent for this machine in the foreground. Finds its sibling binaries, refuses other
//! versions, restarts a dead child with back-off, forwards signals, and leaves no orphan even when killed itself. It does
//! no work of its own: what it starts are the same binaries that run a cluster.

mod child;
pub(crate) mod siblings;

use crate::args::{Device, Global, Up};
use crate::client::Client;
use crate::failure::{Exit, Failure, problem};
use child::{Deaths, Next, Plan};
use std::path::Path;
use std::time::Duration;
use tokio::process::Child;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;
use types::Code;

/// Time that each child has to drain before it is killed: a flush of the tracks in hand fits into it.
const DRAIN: Duration = Duration::from_secs(30);
/// Exit code by which a child says that its configuration is wrong: starting it again would change nothing.
const EXIT_CONFIG: i32 = 2;
/// How often the coordinator is asked whether it is there.
const READY_POLL: Duration = Duration::from_millis(100);
/// How long the coordinator may take to open its store: recovery of a large one takes seconds.
const READY_WAIT: Duration = Duration::from_secs(60);

/// Runs until told to stop or until a child dies too often.
pub(crate) async fn run(global: &Global, flags: Up) -> Result<(), Failure> {
    let binaries = siblings::require_same_version()?;
    std::fs::create_dir_all(&flags.data).map_err(|why| {
        problem(
            Code::ConfigInvalid,
            format!(
                "could not make the folder `{}`: {why}",
                flags.data.display()
            ),
        )
    })?;
    let mut flags = flags;
    flags.data = std::path::absolute(&flags.data)?;
    let trust = Trust::of(&flags, &binaries);
    let mut coordinator = Keeper::start(coordinator(&flags, &binaries, &trust))?;
    let mut stop = Stop::new()?;
    tokio::select! {
        ready = ready(global, &flags) => ready?,
        died = coordinator.wait() => return Err(died_early(died)),
        () = stop.asked() => return shut_down([&mut coordinator], &mut stop).await,
    }
    let mut agent = Keeper::start(agent(&flags, &binaries, &trust))?;
    say_ready(&flags);
    let ended = keep(&mut coordinator, &mut agent, &mut stop).await;
    shut_down([&mut agent, &mut coordinator], &mut stop).await?;
    ended
}

/// Keeps both children alive until told to stop.
async fn keep(
    coordinator: &mut Keeper,
    agent: &mut Keeper,
    stop: &mut Stop,
) -> Result<(), Failure> {
    loop {
        let (keeper, status) = tokio::select! {
            () = stop.asked() => return Ok(()),
            status = coordinator.wait() => (&mut *coordinator, status),
            status = agent.wait() => (&mut *agent, status),
        };
        tokio::select! {
            () = stop.asked() => return Ok(()),
            revived = keeper.revive(&status) => revived?,
        }
    }
}

/// Which bundle is registered where no other is, and whose signatures are trusted.
struct Trust {
    bundle: Option<String>,
    keys: Vec<String>,
}

impl Trust {
    fn of(flags: &Up, binaries: &Path) -> Self {
        let shipped = siblings::demonstration(binaries);
        let given = flags
            .default_bundle
            .as_deref()
            .map(|dir| dir.display().to_string());
        let bundle = given.or_else(|| shipped.as_ref().map(|(dir, _)| dir.display().to_string()));
        let keys = if flags.trusted_keys.is_empty() {
            shipped.map(|(_, key)| key).into_iter().collect()
        } else {
            flags.trusted_keys.clone()
        };
        if bundle.is_none() {
            eprintln!(
                "no demonstration bundle stands beside the binaries: register one with --default-bundle DIR --trusted-key HEX"
            );
        }
        Self { bundle, keys }
    }

    fn arguments(&self, flags: &Up) -> Vec<String> {
        let keys = self
            .keys
            .iter()
            .flat_map(|key| ["--trusted-key".to_owned(), key.clone()]);
        keys.chain(
            flags
                .min_bundles
                .iter()
                .flat_map(|min| ["--min-bundle".to_owned(), min.clone()]),
        )
        .collect()
    }
}

fn storage_url(flags: &Up) -> String {
    format!("file://{}", flags.data.join("storage").display())
}

fn coordinator(flags: &Up, binaries: &Path, trust: &Trust) -> Plan {
    let mut arguments = vec![
        "--data".into(),
        flags.data.display().to_string(),
        "--listen".into(),
        flags.listen.to_string(),
    ];
    arguments.extend(["--storage".into(), storage_url(flags)]);
    if flags.listen.ip().is_loopback() {
        arguments.push("--folder-sources".into());
    }
    arguments.extend(
        flags
            .sources
            .iter()
            .flat_map(|(name, dir)| ["--source".into(), format!("{name}={}", dir.display())]),
    );
    arguments.extend(
        trust
            .bundle
            .iter()
            .flat_map(|dir| ["--default-bundle".into(), dir.clone()]),
    );
    arguments.extend(trust.arguments(flags));
    Plan {
        name: "coordinator",
        binary: binaries.join("coordinator"),
        arguments,
    }
}

fn agent(flags: &Up, binaries: &Path, trust: &Trust) -> Plan {
    let device = match flags.device {
        Device::Auto => "auto",
        Device::Cpu => "cpu",
        Device::Cuda => "cuda",
    };
    let mut arguments = vec![
        "--coordinator".to_owned(),
        format!("http://{}", flags.listen),
    ];
    arguments.extend([
        "--data".into(),
        flags.data.join("node").display().to_string(),
        "--storage".into(),
        storage_url(flags),
    ]);
    arguments.extend([
        "--node".into(),
        flags.node.to_string(),
        "--device".into(),
        device.into(),
        "--accept-sources".into(),
    ]);
    arguments.extend(
        flags
            .sources
            .iter()
            .flat_map(|(name, dir)| ["--source".into(), format!("{name}={}", dir.display())]),
    );
    if flags.decoders > 0 {
        arguments.extend(["--decoders".into(), flags.decoders.to_string()]);
    }
    arguments.extend(
        flags
            .flush_secs
            .iter()
            .flat_map(|secs| ["--flush-secs".into(), secs.to_string()]),
    );
    arguments.extend(trust.arguments(flags));
    Plan {
        name: "node-agent",
        binary: binaries.join("node-agent"),
        arguments,
    }
}

/// Waits until the coordinator answers.
async fn ready(global: &Global, flags: &Up) -> Result<(), Failure> {
    let own = Global {
        address: format!("http://{}", flags.listen),
        ..global.clone()
    };
    let until = Instant::now() + READY_WAIT;
    while Client::connect(&own).await.is_err() {
        if Instant::now() >= until {
            return Err(problem(
                Code::CoordinatorUnreachable,
                format!(
                    "the coordinator did not listen on {} within {READY_WAIT:?}",
                    flags.listen
                ),
            ));
        }
        tokio::time::sleep(READY_POLL).await;
    }
    Ok(())
}

fn say_ready(flags: &Up) {
    eprintln!(
        "ready: coordinator at http://{}, node `{}`, data in {}",
        flags.listen,
        flags.node,
        flags.data.display()
    );
}

fn died_early(status: std::io::Result<std::process::ExitStatus>) -> Failure {
    let how = status.map_or_else(|why| why.to_string(), |status| status.to_string());
    problem(
        Code::ChildDied,
        format!("the coordinator ended before it was ready: {how}"),
    )
}

/// A child with its history.
struct Keeper {
    plan: Plan,
    child: Child,
    deaths: Deaths,
}

impl Keeper {
    fn start(plan: Plan) -> Result<Self, Failure> {
        let child = child::start(&plan)?;
        Ok(Self {
            plan,
            child,
            deaths: Deaths::default(),
        })
    }

    async fn wait(&mut self) -> std::io::Result<std::process::ExitStatus> {
        self.child.wait().await
    }

    /// Starts the child again after its back-off, or says why not.
    async fn revive(
        &mut self,
        status: &std::io::Result<std::process::ExitStatus>,
    ) -> Result<(), Failure> {
        let how = status
            .as_ref()
            .map_or_else(ToString::to_string, ToString::to_string);
        if status
            .as_ref()
            .is_ok_and(|status| status.code() == Some(EXIT_CONFIG))
        {
            return Err(problem(
                Code::ConfigInvalid,
                format!("`{}` refused its configuration: {how}", self.plan.name),
            ));
        }
        match self.deaths.count(Instant::now()) {
            Next::GiveUp => Err(problem(
                Code::ChildDied,
                format!(
                    "`{}` died five times within a minute, last with {how}",
                    self.plan.name
                ),
            )),
            Next::Restart(after) => {
                eprintln!(
                    "`{}` ended with {how}; starting it again in {after:?}",
                    self.plan.name
                );
                tokio::time::sleep(after).await;
                self.child = child::start(&self.plan)?;
                Ok(())
            }
        }
    }

    /// Lets the child drain, then makes sure that it is gone.
    async fn end(&mut self, stop: &mut Stop) {
        child::terminate(&self.child);
        let drained = tokio::select! {
            ended = tokio::time::timeout(DRAIN, self.child.wait()) => ended.is_ok(),
            () = stop.asked() => false,
        };
        if !drained {
            eprintln!("`{}` did not drain; ending it", self.plan.name);
            // Killing can only fail where the child is gone already.
            let _ = self.child.kill().await;
        }
    }
}

/// Stops children in the order given: the agent first, so that its last commits find a coordinator.
async fn shut_down<const N: usize>(
    keepers: [&mut Keeper; N],
    stop: &mut Stop,
) -> Result<(), Failure> {
    for keeper in keepers {
        keeper.end(stop).await;
    }
    if stop.interrupted {
        Err(Failure::Ended(Exit::Interrupted))
    } else {
        Ok(())
    }
}

/// The signals that ask `up` to stop: SIGTERM, SIGHUP, and SIGINT, which also makes the exit code 130. A second one
/// ends the draining.
struct Stop {
    terminate: tokio::signal::unix::Signal,
    hangup: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
    interrupted: bool,
}

impl Stop {
    fn new() -> Result<Self, Failure> {
        let listen = |kind| {
            signal(kind).map_err(|why| {
                problem(
                    Code::Internal,
                    format!("could not listen for signals: {why}"),
                )
            })
        };
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            hangup: listen(SignalKind::hangup())?,
            interrupt: listen(SignalKind::interrupt())?,
            interrupted: false,
        })
    }

    async fn asked(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.hangup.recv() => {}
            _ = self.interrupt.recv() => self.interrupted = true,
        }
    }
}
