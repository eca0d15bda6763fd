//! The commands: each reads its arguments, calls, and prints a view. One flat match from command to function.

mod admin;
mod bundle;
mod calibrate;
mod catalog;
mod doctor;
mod evaluate;
mod follow;
mod labelled_folder;
mod local;
mod node;
mod report;
mod result;
mod scan;
mod sibling;
mod steer;
mod truth;

use crate::args::{
    Admin, Backup, BackupCommand, Bundle, Catalog, Cli, Command, Doctor, DoctorCommand, Global,
    Journal, Node, Results, Scan,
};
use crate::client::Client;
use crate::failure::{Failure, problem};
use crate::{signals, up};
use proto::v1;
use std::future::Future;
use types::Code;

/// Runs a command to its end.
pub(crate) fn run(cli: Cli) -> Result<(), Failure> {
    let global = cli.global;
    match cli.command {
        Command::Explain { code } => local::explain(&global, code.as_deref()),
        Command::Completion { shell } => local::completion(shell),
        Command::Version => local::version(&global),
        Command::Doctor(Doctor {
            command: Some(DoctorCommand::Storage(flags)),
            ..
        }) => blocking(interruptible(doctor::storage(&global, flags))),
        Command::Doctor(flags) => blocking(doctor::run(&global, &flags)),
        Command::Up(flags) => blocking(up::run(flags)),
        Command::Catalog(command) => blocking(on_catalog(&global, command)),
        Command::Scan(command) => blocking(on_scan(&global, command)),
        Command::Result(command) => blocking(on_result(&global, command)),
        Command::Evaluate(flags) => blocking(evaluate::run(&global, flags)),
        Command::Calibrate(flags) => blocking(calibrate::run(&global, flags)),
        Command::Node(command) => blocking(on_node(&global, command)),
        Command::Bundle(command) => blocking(on_bundle(&global, command)),
        Command::Admin(command) => blocking(on_admin(&global, command)),
    }
}

/// Runs on this thread: children started by `up` are bound to the thread that started them. Signals end all commands but
/// `up`, which has its own way to stop. What still waits for a reader or a disk by then waits on a thread that nobody waits for.
fn blocking(command: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(|why| {
        problem(
            Code::Internal,
            format!("could not start the runtime: {why}"),
        )
    })?;
    let ended = runtime.block_on(command);
    runtime.shutdown_background();
    ended
}

/// Runs work until it ends or a signal ends it; then what it has half written is removed with it.
async fn interruptible<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::select! {
        ended = work => ended,
        exit = signals::end() => Err(Failure::Ended(exit?)),
    }
}

async fn on_catalog(global: &Global, command: Catalog) -> Result<(), Failure> {
    let client = Client::connect(global).await?;
    interruptible(async {
        match command {
            Catalog::Import {
                name,
                path,
                source,
                format,
            } => catalog::import(global, &client, name, path, source, format).await,
            Catalog::Ls => catalog::ls(global, &client).await,
            Catalog::Get { name } => catalog::get(global, &client, name).await,
            Catalog::Rejected { name, snapshot } => {
                catalog::rejected(global, &client, name, snapshot).await
            }
        }
    })
    .await
}

/// Commands that wait have their own way to be interrupted: they say what they know by then.
async fn on_scan(global: &Global, command: Scan) -> Result<(), Failure> {
    let client = || Client::connect(global);
    let submitting = async |wait: bool| match wait {
        true => Client::connect_to_wait(global).await,
        false => Client::connect(global).await,
    };
    match command {
        Scan::Watch { job } => scan::watch(global, job).await,
        Scan::Wait { job } => scan::wait(global, job).await,
        Scan::Submit(flags) => scan::submit(global, &submitting(flags.wait).await?, flags).await,
        Scan::Retry(flags) => scan::retry(global, &submitting(flags.wait).await?, flags).await,
        Scan::Ls => interruptible(async { scan::ls(global, &client().await?).await }).await,
        Scan::Get { job } => {
            interruptible(async { scan::get(global, &client().await?, job).await }).await
        }
        Scan::Pause { job } => {
            interruptible(async { steer::pause(global, &client().await?, job).await }).await
        }
        Scan::Resume { job } => {
            interruptible(async { steer::resume(global, &client().await?, job).await }).await
        }
        Scan::Rank { job, rank } => {
            interruptible(async { steer::rank(global, &client().await?, job, &rank).await }).await
        }
        Scan::Cancel { job, reason } => {
            interruptible(async { steer::cancel(global, &client().await?, job, reason).await })
                .await
        }
        Scan::Explain { job, shard } => {
            interruptible(async { scan::explain(global, &client().await?, job, shard).await }).await
        }
    }
}

async fn on_result(global: &Global, command: Results) -> Result<(), Failure> {
    let client = Client::connect(global).await?;
    interruptible(async {
        match command {
            Results::Ls => result::ls(global, &client).await,
            Results::Get {
                job,
                track: None,
                verdicts,
                limit,
                truth,
            } => {
                let truth = truth.as_deref().map(truth::read).transpose()?;
                result::get(global, &client, job, &verdicts, limit, truth).await
            }
            Results::Get {
                job,
                track: Some(track),
                ..
            } => result::track(global, &client, job, track).await,
            Results::Export { job, format, to } => result::export(&client, job, format, to).await,
            Results::Report(flags) => report::run(global, &client, flags).await,
            Results::Verify { job } => result::verify(global, &client, job).await,
            Results::Summary { job } => result::summary(global, &client, job).await,
        }
    })
    .await
}

async fn on_node(global: &Global, command: Node) -> Result<(), Failure> {
    let client = Client::connect(global).await?;
    interruptible(async {
        match command {
            Node::Ls => node::ls(global, &client).await,
            Node::Get { name } => node::get(global, &client, name).await,
            Node::Explain { name } => node::explain(global, &client, name).await,
            Node::Cordon { name } => node::duty(global, &client, name, v1::Duty::Cordoned).await,
            Node::Uncordon { name } => node::duty(global, &client, name, v1::Duty::Serving).await,
            Node::Drain { name } => node::duty(global, &client, name, v1::Duty::Draining).await,
            Node::Revoke(flags) => node::revoke(global, &client, flags).await,
            Node::Revocations => node::revocations(global, &client).await,
        }
    })
    .await
}

async fn on_admin(global: &Global, command: Admin) -> Result<(), Failure> {
    let client = || Client::connect(global);
    interruptible(async {
        match command {
            Admin::Backup(Backup {
                command: Some(BackupCommand::Verify { file }),
                ..
            }) => admin::verify(global, &file),
            Admin::Backup(Backup { out, .. }) => {
                admin::backup(global, &client().await?, &out.unwrap_or_default()).await
            }
            Admin::Restore { file, offline } => admin::restore(global, &file, offline).await,
            Admin::Rebuild(offline) => admin::rebuild(global, offline).await,
            Admin::Leader => admin::leader(global).await,
            Admin::Gc { apply } => admin::gc(global, &client().await?, apply).await,
            Admin::Journal(Journal::Export { to }) => {
                admin::export_journal(&client().await?, to).await
            }
        }
    })
    .await
}

async fn on_bundle(global: &Global, command: Bundle) -> Result<(), Failure> {
    let client = Client::connect(global).await?;
    interruptible(async {
        match command {
            Bundle::Ls => bundle::ls(global, &client).await,
            Bundle::Get { bundle } => {
                bundle::get(global, &client, bundle.unwrap_or_default()).await
            }
            Bundle::Verify { bundle } => {
                bundle::verify(global, &client, bundle.unwrap_or_default()).await
            }
        }
    })
    .await
}
