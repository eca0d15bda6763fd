//! A real worker process, and the agent's end of its socket.

use audio::child::Spawner;
use engine::frames::{FrameReader, write};
use engine::{FromWorker, Load, ToWorker};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command};
use types::{DeviceKind, Digest};

/// A worker, and the agent's end of its socket.
pub(crate) struct Agent {
    pub(crate) child: Child,
    pub(crate) socket: FrameReader<OwnedFd>,
    pub(crate) _spawner: Spawner,
}

impl Agent {
    pub(crate) fn start() -> Self {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let spawner = Spawner::start().unwrap();
        let command = Command::new(env!("CARGO_BIN_EXE_trackscan-worker"));
        let child = spawner.spawn(command, vec![theirs.into()]).unwrap();
        Self {
            child,
            socket: FrameReader::new(ours.into()),
            _spawner: spawner,
        }
    }

    pub(crate) fn say(&self, message: &ToWorker) {
        write(self.socket.fd(), message, &[]).unwrap();
    }

    /// The next message that is not a beat.
    pub(crate) fn hear(&mut self) -> FromWorker {
        loop {
            let message = self.socket.read::<FromWorker>().unwrap();
            let message = message.expect("the worker is there");
            if !matches!(message, FromWorker::Beat(_)) {
                return message;
            }
        }
    }

    pub(crate) fn load(&mut self, dir: &Path, bundle: Digest) -> FromWorker {
        self.say(&ToWorker::Load(Load {
            bundle_dir: dir.display().to_string(),
            bundle,
            device: DeviceKind::Cpu,
            index: 0,
            dtype: None,
            slots: 1,
            max_batch: None,
        }));
        self.hear()
    }

    pub(crate) fn ends(mut self) -> bool {
        self.child.wait().unwrap().success()
    }
}
