//! Waiting for a job: follows its watch stream to the end, takes it up again after the coordinator was away, and says so.
//! Called by `scan submit --wait`, `scan wait` and `scan watch`; what the end means is theirs.

use crate::args::Global;
use crate::client::Client;
use crate::failure::{Exit, Failure};
use crate::output::{say, text, write_line};
use crate::progress::Progress;
use crate::signals;
use crate::sink::aside;
use crate::view::JobView;
use proto::v1;
use std::time::Duration;
use tokio::time::Instant;

/// Wait before asking a coordinator again that went away; doubles up to [`RETRY_MAX`].
const RETRY_FIRST: Duration = Duration::from_millis(200);
/// Longest wait between two tries: a restarted coordinator is found again within this time.
const RETRY_MAX: Duration = Duration::from_secs(5);
/// How long a coordinator may be away when the first call is made: starting one again takes a few seconds.
const REACH_WAIT: Duration = Duration::from_secs(10);

/// What to show of each change.
pub(super) enum Show {
    /// A bar or plain lines on stderr.
    Progress(Progress),
    /// The job as the operator asked, on stdout.
    Each,
}

impl Show {
    /// Shows a change. A reader that stands still keeps nobody from hearing a signal.
    async fn one(&mut self, global: &Global, job: &JobView) -> Result<(), Failure> {
        match self {
            Self::Progress(progress) => {
                progress.show(job);
                Ok(())
            }
            Self::Each => {
                let text = text(global, job)?;
                aside(move || write_line(&text)).await
            }
        }
    }

    /// Says a line that is no progress.
    fn say(&self, line: &str) {
        match self {
            Self::Progress(progress) => progress.say(line),
            Self::Each => say(line),
        }
    }

    fn end(&self) {
        match self {
            Self::Progress(progress) => progress.end(),
            Self::Each => {}
        }
    }
}

/// Follows a job to its end, within `--timeout` where that was given. `last` is the job as it was last seen, also when
/// the waiting ends before the job.
pub(super) async fn follow(
    global: &Global,
    client: &Client,
    last: &mut JobView,
    show: &mut Show,
) -> Result<(), Failure> {
    let limit = global.timeout;
    let over = async {
        match limit {
            None => std::future::pending().await,
            Some(limit) => tokio::time::sleep(limit).await,
        }
    };
    let ended = tokio::select! {
        ended = resume(global, client, last, show) => ended,
        () = over => Err(Failure::Ended(Exit::WaitTimedOut)),
        exit = signals::end() => exit.and_then(|exit| Err(Failure::Ended(exit))),
    };
    show.end();
    if let Err(Failure::Ended(_)) = &ended {
        say(format_args!("job {} has not ended; it goes on", last.job));
    }
    ended
}

async fn resume(
    global: &Global,
    client: &Client,
    last: &mut JobView,
    show: &mut Show,
) -> Result<(), Failure> {
    let (mut pause, mut away) = (RETRY_FIRST, false);
    // The first stream begins with the job as it stands, so that it is shown even where nothing changes.
    let mut revision = 0;
    loop {
        let seen = stream(global, client, last, &mut revision, show, &mut away).await;
        match seen {
            Ok(true) => return Ok(()),
            Ok(false) => pause = RETRY_FIRST,
            Err(failure) if failure.is_away() => {
                if !away {
                    show.say(&format!("{failure}\n  still waiting for job {}", last.job));
                    away = true;
                }
                pause = (pause * 2).min(RETRY_MAX);
            }
            Err(other) => return Err(other),
        }
        tokio::time::sleep(pause).await;
    }
}

/// One stream: whether the job has ended, or the stream broke before.
async fn stream(
    global: &Global,
    client: &Client,
    last: &mut JobView,
    revision: &mut u64,
    show: &mut Show,
    away: &mut bool,
) -> Result<bool, Failure> {
    let request = v1::WatchJobRequest {
        caller: client.caller(),
        job: last.job.clone(),
        after_revision: *revision,
    };
    let mut changes = client.call(client.jobs().watch_job(request)).await?;
    if std::mem::take(away) {
        show.say("the coordinator answers again");
    }
    while let Some(change) = changes.message().await? {
        last.renewed(change.job.unwrap_or_default());
        *revision = last.revision;
        show.one(global, last).await?;
        if last.ended() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Makes a first call, and makes it again while the coordinator cannot be reached, for [`REACH_WAIT`] at most.
pub(super) async fn reach<T>(
    global: &Global,
    call: impl AsyncFn() -> Result<T, Failure>,
) -> Result<T, Failure> {
    let limit = global.timeout.unwrap_or(REACH_WAIT).min(REACH_WAIT);
    let (until, mut pause) = (Instant::now() + limit, RETRY_FIRST);
    let mut said = false;
    loop {
        match call().await {
            Err(failure) if failure.is_unreachable() && Instant::now() + pause < until => {
                if !said {
                    say(format_args!("{failure}\n  trying again for {limit:?}"));
                    said = true;
                }
            }
            other => return other,
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(RETRY_MAX);
    }
}
