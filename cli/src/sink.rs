//! Where an export goes: stdout, a pipe or device, or a file. A file is written beside its name and takes it once it is
//! whole and on the disk, so that whatever goes wrong, what stood there before still stands. Used by `result export` and `admin journal export`.

use crate::failure::{Failure, problem};
use std::fs::File;
use std::io::Write;
use std::os::fd::{BorrowedFd, RawFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::{Builder, NamedTempFile};
use types::Code;

/// Permissions of a new file before the user's mask is applied, as any program makes one.
const NEW_FILE_MODE: u32 = 0o666;

/// Writes what the coordinator streams to `to`, or to stdout. `piece` takes a chunk apart: its bytes, and whether it ends the stream.
///
/// # Errors
/// The coordinator's refusal, before anything is opened; `COORDINATOR_UNREACHABLE` where the stream of `what` just ends.
pub(crate) async fn receive<T>(
    to: Option<&Path>,
    what: &str,
    mut chunks: tonic::Streaming<T>,
    piece: impl Fn(T) -> (Vec<u8>, bool),
) -> Result<(), Failure> {
    // Whether there is anything is known with the first chunk, and only then is anything opened.
    let mut next = chunks.message().await?;
    let mut sink = Sink::open(to).await?;
    while let Some(chunk) = next {
        let (bytes, last) = piece(chunk);
        if last {
            return sink.finish();
        }
        sink.write(bytes).await?;
        next = chunks.message().await?;
    }
    let said = format!("the export of {what} ended before the file was whole");
    Err(problem(Code::CoordinatorUnreachable, said))
}

/// Where bytes go.
#[derive(Debug)]
pub(crate) enum Sink {
    /// To stdout.
    Stdout,
    /// Straight to what is no regular file, or to an open file of this process by another name.
    Through(Arc<File>),
    /// Beside a name that they take in the end.
    Beside {
        /// What was written so far; removed unless it is finished.
        unfinished: NamedTempFile,
        /// The name.
        name: PathBuf,
    },
}

impl Sink {
    /// Opens what stands at `to`, or stdout.
    ///
    /// # Errors
    /// `INVALID_REQUEST` where it cannot be written.
    pub(crate) async fn open(to: Option<&Path>) -> Result<Self, Failure> {
        let Some(to) = to.filter(|to| *to != Path::new("/dev/stdout")) else {
            return Ok(Self::Stdout);
        };
        let opened = match (own_file(to), std::fs::metadata(to).ok()) {
            (Some(number), _) => again(number).map(through),
            (None, Some(there)) if !there.is_file() || is_process_file(to) => {
                open_in_time(to.to_owned()).await.map(through)
            }
            (None, there) => beside(to, there.as_ref()),
        };
        opened.map_err(|why| {
            let said = format!("could not create `{}`: {why}", to.display());
            problem(Code::InvalidRequest, said)
        })
    }

    /// Writes the next bytes. Whoever waits for a slow reader can be interrupted.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) async fn write(&mut self, bytes: Vec<u8>) -> Result<(), Failure> {
        match self {
            Self::Stdout => aside(move || crate::output::write_bytes(&bytes)).await,
            Self::Through(file) => {
                let file = Arc::clone(file);
                aside(move || Ok((&*file).write_all(&bytes)?)).await
            }
            Self::Beside { unfinished, .. } => Ok(unfinished.write_all(&bytes)?),
        }
    }

    /// All bytes are written: a file takes its name, and is on the disk with it.
    ///
    /// # Errors
    /// What the system says; then nothing has taken the name.
    pub(crate) fn finish(self) -> Result<(), Failure> {
        let Self::Beside { unfinished, name } = self else {
            return Ok(());
        };
        unfinished.as_file().sync_all()?;
        unfinished.persist(&name).map_err(|why| why.error)?;
        Ok(File::open(folder_of(&name))?.sync_all()?)
    }
}

fn through(file: File) -> Sink {
    Sink::Through(Arc::new(file))
}

/// Runs what may wait for a reader away from the thread that hears of signals.
pub(crate) async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|lost| Err(problem(Code::Internal, format!("write the output: {lost}"))))
}

/// Opens a pipe or a device for writing: a named pipe only once somebody reads it.
async fn open_in_time(path: PathBuf) -> std::io::Result<File> {
    let opening = tokio::task::spawn_blocking(move || File::options().write(true).open(path));
    opening
        .await
        .unwrap_or_else(|lost| Err(std::io::Error::other(lost)))
}

/// The number of an open file of this process that a path names.
fn own_file(path: &Path) -> Option<RawFd> {
    if path == Path::new("/dev/stderr") {
        return Some(2);
    }
    let number = ["/dev/fd", "/proc/self/fd"]
        .iter()
        .find_map(|folder| path.strip_prefix(folder).ok())?;
    let number: RawFd = number.to_str()?.parse().ok()?;
    (number >= 0).then_some(number)
}

/// An open file of this process by another number. Opened anew by its name it would be written from its beginning, over what
/// stands there; this way it goes on where it is, as its owner does afterwards.
fn again(number: RawFd) -> std::io::Result<File> {
    // SAFETY: the number is not -1, and only the next call uses it, which refuses one that names no open file. Whatever it
    // names stays open: nothing in this process closes a file that it did not open itself.
    let own = unsafe { BorrowedFd::borrow_raw(number) };
    own.try_clone_to_owned().map(File::from)
}

/// Whether a path names an open file of some process: replacing that name would miss who reads it.
fn is_process_file(path: &Path) -> bool {
    ["/dev/fd", "/proc"]
        .iter()
        .any(|place| path.starts_with(place))
}

/// A file beside the name, with the permissions of the one that stands there. Through a link goes what it names.
fn beside(to: &Path, there: Option<&std::fs::Metadata>) -> std::io::Result<Sink> {
    use std::os::unix::fs::PermissionsExt;
    let name = match there {
        Some(_) => to.canonicalize()?,
        None => to.to_owned(),
    };
    let unfinished = Builder::new()
        .prefix(".scanctl-")
        .permissions(PermissionsExt::from_mode(NEW_FILE_MODE))
        .tempfile_in(folder_of(&name))?;
    if let Some(there) = there {
        // To write into a file is to be allowed to, be its folder as free as it may.
        File::options().write(true).open(&name)?;
        unfinished.as_file().set_permissions(there.permissions())?;
    }
    Ok(Sink::Beside { unfinished, name })
}

fn folder_of(name: &Path) -> &Path {
    match name.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        Some(_) | None => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::io::Read;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn names(folder: &Path) -> usize {
        fs::read_dir(folder).unwrap().count()
    }

    #[tokio::test]
    async fn a_file_is_what_it_was_until_the_new_one_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("out.csv");
        fs::write(&file, "old").unwrap();
        fs::set_permissions(&file, PermissionsExt::from_mode(0o640)).unwrap();
        let mut broken_off = Sink::open(Some(&file)).await.unwrap();
        broken_off.write(b"ne".to_vec()).await.unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"old");
        drop(broken_off);
        assert_eq!(
            (fs::read(&file).unwrap(), names(folder.path())),
            (b"old".to_vec(), 1)
        );
        let mut whole = Sink::open(Some(&file)).await.unwrap();
        whole.write(b"new".to_vec()).await.unwrap();
        whole.finish().unwrap();
        assert_eq!(
            (fs::read(&file).unwrap(), names(folder.path())),
            (b"new".to_vec(), 1)
        );
        assert_eq!(
            fs::metadata(&file).unwrap().permissions().mode() & 0o777,
            0o640
        );
    }

    #[tokio::test]
    async fn a_new_file_has_the_permissions_that_any_program_gives_one_and_a_link_stays_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let (file, other, link) = ("out.csv", "other.csv", "link.csv");
        let at = |name: &str| folder.path().join(name);
        fs::write(at(other), "").unwrap();
        symlink(other, at(link)).unwrap();
        for name in [file, link] {
            let mut sink = Sink::open(Some(&at(name))).await.unwrap();
            sink.write(name.into()).await.unwrap();
            sink.finish().unwrap();
        }
        let mode = |name: &str| fs::metadata(at(name)).unwrap().permissions().mode();
        assert_eq!(mode(file), mode(other));
        assert!(fs::symlink_metadata(at(link)).unwrap().is_symlink());
        assert_eq!(fs::read(at(other)).unwrap(), link.as_bytes());
        assert_eq!(names(folder.path()), 3);
    }

    #[tokio::test]
    async fn a_pipe_is_written_through() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, mode).unwrap();
        let at = pipe.clone();
        let reader = std::thread::spawn(move || {
            let mut text = String::new();
            File::open(at)
                .unwrap()
                .read_to_string(&mut text)
                .map(|_| text)
        });
        let mut sink = Sink::open(Some(&pipe)).await.unwrap();
        sink.write(b"through".to_vec()).await.unwrap();
        sink.finish().unwrap();
        assert_eq!(reader.join().unwrap().unwrap(), "through");
        assert_eq!(names(folder.path()), 1);
    }

    #[tokio::test]
    async fn what_cannot_be_written_is_refused_before_anything_is_made() {
        let folder = tempfile::tempdir().unwrap();
        for bad in ["", "no/such/out.csv"] {
            let opened = Sink::open(Some(&folder.path().join(bad))).await;
            let Err(Failure::Problem { code, .. }) = opened else {
                panic!("{bad}: {opened:?}");
            };
            assert_eq!(code, "INVALID_REQUEST");
        }
        assert_eq!(names(folder.path()), 0);
    }
}
