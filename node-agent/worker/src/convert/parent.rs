//! The converter's side of its reader: starts one, feeds it, takes a bounded answer and says how it ended. Believes nothing of
//! what it says: the answer is parsed like any file.

use super::reader::{EXIT_PANICKED, EXIT_REFUSED, EXIT_SANDBOX, What};
use audio::child::{SpawnError, Spawner};
use checkpoint::{BagError, Refusal, VALUES_MAX};
use clap::ValueEnum as _;
use std::io::{self, Read as _, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;

/// Longest answer: all values in single precision behind a header of a mebibyte.
const ANSWER_BYTES_MAX: u64 = (VALUES_MAX * size_of::<f32>()) as u64 + (1 << 20);

/// Why a file gave nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    /// It is no checkpoint that is read.
    #[error("the checkpoint is refused")]
    Checkpoint(#[from] Refusal),
    /// It is no bag that is read.
    #[error("the bag is refused")]
    Bag(#[from] BagError),
    /// It ended the reader, which has limits and runs nothing.
    #[error(
        "the reader of the file ended by {0}: it asked for more than it may have, or is hostile"
    )]
    Ended(String),
    /// The reader could not shut itself in.
    #[error("the kernel refused the sandbox of the file's reader")]
    Sandbox,
    /// It could not be started.
    #[error("starting the reader of the file")]
    Start(#[from] SpawnError),
    /// Words with it failed.
    #[error("talking with the reader of the file")]
    Talk(#[from] io::Error),
}

/// What the reader makes of a file.
///
/// # Errors
/// [`AskError`].
pub(crate) fn ask(what: What, file: &[u8]) -> Result<Vec<u8>, AskError> {
    // It is killed with the thread that started it, so that lives until it has ended.
    let spawner = Spawner::start()?;
    let mut child = start(&spawner, what)?;
    let answer = talk(&mut child, file);
    let status = child.wait()?;
    drop(spawner);
    judge(what, status, answer?)
}

fn start(spawner: &Spawner, what: What) -> Result<Child, AskError> {
    let name = what
        .to_possible_value()
        .map(|value| value.get_name().to_owned());
    let mut command = Command::new(std::env::current_exe()?);
    command
        .arg("read")
        .args(name)
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    Ok(spawner.spawn(command, Vec::new())?)
}

/// Feeds it and takes its answer at the same time, since either pipe holds little.
fn talk(child: &mut Child, file: &[u8]) -> io::Result<Vec<u8>> {
    let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
    let (Some(mut stdin), Some(stdout)) = (stdin, stdout) else {
        return Err(io::ErrorKind::BrokenPipe.into());
    };
    thread::scope(|scope| {
        // A reader that has ended takes no more; its status says why.
        scope.spawn(move || drop(stdin.write_all(file)));
        let mut answer = Vec::new();
        let length = stdout.take(ANSWER_BYTES_MAX + 1).read_to_end(&mut answer)?;
        if length as u64 > ANSWER_BYTES_MAX {
            child.kill()?;
        }
        Ok(answer)
    })
}

fn judge(what: What, status: ExitStatus, answer: Vec<u8>) -> Result<Vec<u8>, AskError> {
    let nonsense = || AskError::Ended("an answer that is none".to_owned());
    match status.code() {
        Some(0) => Ok(answer),
        Some(EXIT_REFUSED) => Err(match what {
            What::Checkpoint => serde_json::from_slice::<Refusal>(&answer)
                .map_or_else(|_| nonsense(), AskError::Checkpoint),
            What::Bag => serde_json::from_slice::<BagError>(&answer)
                .map_or_else(|_| nonsense(), AskError::Bag),
        }),
        Some(EXIT_SANDBOX) => Err(AskError::Sandbox),
        Some(EXIT_PANICKED) => Err(AskError::Ended("a panic".to_owned())),
        Some(code) => Err(AskError::Ended(format!("exit status {code}"))),
        None => {
            let signal = status.signal().unwrap_or(0);
            Err(AskError::Ended(format!("signal {signal}")))
        }
    }
}
