//! What a process asks when it starts. A bucket is asked the cheap questions, and so is a folder that is reached over a network or through a program
//! (NFS, SMB, FUSE). A folder on a file system of this machine is not: this crate's tests hold its answers, and each start would wait for
//! the fourteen syncs of asking. Called where a coordinator starts; what an answer means for it is decided there.

use std::io;
use std::path::Path;

use rustix::fs::statfs;

use super::{Depth, Report};
use crate::Storage;
use crate::objects::run_blocking;

/// File systems of this machine alone, by the numbers that statfs(2) gives them. Whatever has another number is asked.
const OF_THIS_MACHINE: &[u32] = &[
    0x0000_ef53, // ext2, ext3, ext4
    0x5846_5342, // xfs
    0x9123_683e, // btrfs
    0x2fc1_2fc1, // zfs
    0xf2f5_2010, // f2fs
    0x0102_1994, // tmpfs
    0x794c_7630, // overlayfs
];

impl Storage {
    /// Asks what a process needs to know that starts on it; none where that is known without asking.
    pub async fn probe_at_start(&self) -> Option<Report> {
        match self.is_known().await {
            true => None,
            false => Some(self.probe(Depth::Start).await),
        }
    }

    /// A mount that hangs holds a thread of blocking work, and no other.
    async fn is_known(&self) -> bool {
        let Some(folder) = self.folder().map(Path::to_owned) else {
            return false;
        };
        let looked = run_blocking(move || is_of_this_machine(&folder)).await;
        looked.unwrap_or(false)
    }
}

fn is_of_this_machine(folder: &Path) -> io::Result<bool> {
    let kind = u32::try_from(statfs(folder)?.f_type);
    Ok(kind.is_ok_and(|kind| OF_THIS_MACHINE.contains(&kind)))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use object_store::memory::InMemory;

    use super::*;
    use crate::probe::Question;

    #[test]
    fn file_systems_behind_a_network_or_a_program_are_none_of_this_machine() {
        for (name, kind) in [
            ("nfs", 0x6969),
            ("smb", 0x517b),
            ("cifs", 0xff53_4d42),
            ("smb2", 0xfe53_4d42),
            ("fuse", 0x6573_5546),
            ("9p", 0x0102_1997),
            ("ceph", 0x00c3_6400),
            ("lustre", 0x0bd0_0bd0),
            ("gpfs", 0x4750_4653),
            ("afs", 0x5346_414f),
        ] {
            assert!(!OF_THIS_MACHINE.contains(&kind), "{name}");
        }
        // The kernel is asked: this one is none that keeps files.
        assert!(!is_of_this_machine(Path::new("/proc")).unwrap());
        assert!(is_of_this_machine(Path::new("/no/such/folder")).is_err());
    }

    #[tokio::test]
    async fn a_store_that_is_no_folder_is_asked_the_cheap_questions_at_each_start() {
        let storage = Storage::on(Arc::new(InMemory::new()));
        let report = storage.probe_at_start().await.unwrap();
        let asked = report.findings.iter().map(|finding| finding.question);
        let cheap = Question::ALL.iter().copied().filter(|one| one.is_cheap());
        assert!(asked.eq(cheap), "{report:?}");
    }

    #[tokio::test]
    async fn a_start_leaves_nothing_in_a_folder_whether_it_asked_or_not() {
        let folder = tempfile::tempdir().unwrap();
        let storage = Storage::open_folder(folder.path()).unwrap();
        let known = is_of_this_machine(folder.path()).unwrap();
        let report = storage.probe_at_start().await;
        assert_eq!(report.is_none(), known, "{report:?}");
        assert!(report.is_none_or(|report| report.is_usable()));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
