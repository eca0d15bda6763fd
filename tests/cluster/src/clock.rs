//! The time of day of chosen processes, stepped while they run. A library in C that this module has built stands before theirs and
//! adds what a shared file says. The machine's clock is never touched, and clocks that only ever rise are left alone.

use anyhow::{Context, Result, ensure};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

/// What stands before the C library's clock.
const SHIM: &str = include_str!("../shims/clock.c");

/// The variable by which the shim finds its file.
const VARIABLE: &str = "CLUSTER_CLOCK";

/// A clock that reads differently than the machine's by what it is told.
#[derive(Debug, Clone)]
pub struct Clock {
    shim: PathBuf,
    file: PathBuf,
    shared: Arc<Shared>,
}

impl Clock {
    /// A clock that is right as yet; `folder` keeps its shim and its file.
    ///
    /// # Errors
    /// Where there is no C compiler or the folder cannot be written.
    pub fn make(folder: &Path) -> Result<Self> {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("make the folder `{}`", folder.display()))?;
        let (shim, file) = (folder.join("clock.so"), folder.join("clock"));
        build(&folder.join("clock.c"), &shim)?;
        let shared = Shared::make(&file).with_context(|| format!("map `{}`", file.display()))?;
        Ok(Self {
            shim,
            file,
            shared: Arc::new(shared),
        })
    }

    /// From the next reading on the clock is so far ahead of the machine's.
    pub fn ahead(&self, by: Duration) {
        self.shared.set(nanos(by));
    }

    /// From the next reading on the clock is so far behind the machine's.
    pub fn behind(&self, by: Duration) {
        self.shared.set(-nanos(by));
    }

    /// The clock is right again, which is one more step.
    pub fn right(&self) {
        self.shared.set(0);
    }

    pub(crate) fn variables(&self) -> [(String, String); 2] {
        let text = |path: &Path| path.display().to_string();
        [
            ("LD_PRELOAD".to_owned(), text(&self.shim)),
            (VARIABLE.to_owned(), text(&self.file)),
        ]
    }
}

fn nanos(span: Duration) -> i64 {
    i64::try_from(span.as_nanos()).unwrap_or(i64::MAX)
}

fn build(source: &Path, shim: &Path) -> Result<()> {
    std::fs::write(source, SHIM).with_context(|| format!("write `{}`", source.display()))?;
    let output = Command::new("cc")
        .args(["-shared", "-fPIC", "-O2", "-Wall", "-Werror", "-o"])
        .args([shim, source])
        .output()
        .context("run `cc` to build the clock: install a C compiler (make setup)")?;
    ensure!(
        output.status.success(),
        "build the clock with `cc`: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

/// Eight bytes that the shims map too.
#[derive(Debug)]
struct Shared {
    at: *mut AtomicI64,
}

// SAFETY: the mapping lives as long as this value, and is only read and written as one atomic number.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

impl Shared {
    const BYTES: usize = size_of::<AtomicI64>();

    fn make(path: &Path) -> Result<Self> {
        let mut options = File::options();
        let file = options.create(true).truncate(true).read(true).write(true);
        let file = file.open(path)?;
        file.set_len(Self::BYTES as u64)?;
        // SAFETY: a fresh mapping of a file that nobody shortens; the kernel aligns it to a page.
        let at = unsafe {
            mmap(
                std::ptr::null_mut(),
                Self::BYTES,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::SHARED,
                &file,
                0,
            )?
        };
        Ok(Self { at: at.cast() })
    }

    fn set(&self, nanos: i64) {
        // SAFETY: `at` is mapped, aligned, and only ever used as this atomic.
        unsafe { &*self.at }.store(nanos, Ordering::SeqCst);
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // SAFETY: mapped by `make` with this length, and nobody holds a reference into it.
        let _ = unsafe { munmap(self.at.cast(), Self::BYTES) };
    }
}
