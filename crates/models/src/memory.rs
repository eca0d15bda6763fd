//! How much memory this process may still take on its machine: what the kernel says is available, and what its control groups leave it.
//!
//! Called before the separator is loaded on a processor. Where memory is promised beyond what there is, an allocation is granted and the process
//! is ended when it writes, which would look like the fault of the track in hand. Reads files of the kernel; takes nothing and sets nothing.

use std::fs;
use std::path::{Component, Path};

use crate::device::kilobytes;

/// Levels of a control group that are looked at, from its own upwards: systems nest a handful.
const LEVELS_MAX: usize = 64;

/// Bytes that may still be taken; none where nothing says so. `root` is where the kernel's files are found, `/`.
pub(crate) fn left(root: &Path) -> Option<u64> {
    let machine = kilobytes(root.join("proc/meminfo"), "MemAvailable");
    [machine, in_groups(root)].into_iter().flatten().min()
}

/// The files of one version of control groups.
struct Version {
    folder: &'static str,
    limit: &'static str,
    taken: &'static str,
    /// Lines of `memory.stat` that count files kept in memory, which the kernel gives up before it ends a process.
    cached: [&'static str; 2],
}

const FIRST: Version = Version {
    folder: "sys/fs/cgroup/memory",
    limit: "memory.limit_in_bytes",
    taken: "memory.usage_in_bytes",
    cached: ["total_inactive_file", "total_active_file"],
};

const SECOND: Version = Version {
    folder: "sys/fs/cgroup",
    limit: "memory.max",
    taken: "memory.current",
    cached: ["inactive_file", "active_file"],
};

/// The least that any group of this process leaves; none where none has a limit.
fn in_groups(root: &Path) -> Option<u64> {
    let groups = fs::read_to_string(root.join("proc/self/cgroup")).ok()?;
    let own = groups.lines().filter_map(group);
    own.filter_map(|(version, path)| version.least(root, path))
        .min()
}

/// The version and the path of a line `number:controllers:path`; none of one that counts no memory.
fn group(line: &str) -> Option<(Version, &str)> {
    let mut parts = line.splitn(3, ':');
    let (number, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
    let version = if number == "0" && controllers.is_empty() {
        SECOND
    } else if controllers.split(',').any(|name| name == "memory") {
        FIRST
    } else {
        return None;
    };
    Some((version, path))
}

impl Version {
    /// The least that a group or one above it leaves. In a container the path may be one that is seen only outside: then what is mounted is
    /// the group itself.
    fn least(&self, root: &Path, path: &str) -> Option<u64> {
        let mounted = root.join(self.folder);
        let below = Path::new(path.trim_start_matches('/'));
        let outside = below.components().any(|part| part == Component::ParentDir);
        let below = if outside { Path::new("") } else { below };
        let levels = below.ancestors().take(LEVELS_MAX);
        levels
            .filter_map(|level| self.left(&mounted.join(level)))
            .min()
    }

    /// What one group leaves; none without a limit.
    fn left(&self, folder: &Path) -> Option<u64> {
        let number = |name: &str| {
            let text = fs::read_to_string(folder.join(name)).ok()?;
            text.trim().parse::<u64>().ok()
        };
        let (limit, taken) = (number(self.limit)?, number(self.taken)?);
        let stat = fs::read_to_string(folder.join("memory.stat")).unwrap_or_default();
        let cached = stat.lines().filter_map(|line| {
            let (name, bytes) = line.split_once(' ')?;
            let counts = self.cached.contains(&name);
            bytes.parse::<u64>().ok().filter(|_| counts)
        });
        Some(limit.saturating_sub(taken.saturating_sub(cached.sum::<u64>())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is left where the kernel's files are these.
    fn with(files: &[(&str, &str)]) -> Option<u64> {
        let root = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        left(root.path())
    }

    const MACHINE: (&str, &str) = (
        "proc/meminfo",
        "MemTotal:       900 kB\nMemAvailable:   500 kB\n",
    );

    #[test]
    fn without_a_limit_it_is_what_the_machine_has_available() {
        assert_eq!(with(&[MACHINE]), Some(500 * 1_024));
        let unlimited = [
            MACHINE,
            ("proc/self/cgroup", "0::/a\n"),
            ("sys/fs/cgroup/a/memory.max", "max\n"),
            ("sys/fs/cgroup/a/memory.current", "100\n"),
        ];
        assert_eq!(with(&unlimited), Some(500 * 1_024));
        assert_eq!(with(&[]), None);
    }

    #[test]
    fn the_second_version_s_limit_counts_at_every_level_and_cached_files_do_not() {
        let files = [
            MACHINE,
            ("proc/self/cgroup", "0::/a/b\n"),
            ("sys/fs/cgroup/a/b/memory.max", "max\n"),
            ("sys/fs/cgroup/a/b/memory.current", "100\n"),
            ("sys/fs/cgroup/a/memory.max", "4000\n"),
            ("sys/fs/cgroup/a/memory.current", "3500\n"),
            (
                "sys/fs/cgroup/a/memory.stat",
                "anon 2000\nfile 1500\ninactive_file 300\nactive_file 200\nshmem 1000\n",
            ),
        ];
        assert_eq!(with(&files), Some(1_000));
    }

    #[test]
    fn the_first_version_s_limit_counts_alike() {
        let files = [
            MACHINE,
            ("proc/self/cgroup", "4:cpu,cpuacct:/c\n9:memory:/c\n"),
            ("sys/fs/cgroup/memory/c/memory.limit_in_bytes", "4000\n"),
            ("sys/fs/cgroup/memory/c/memory.usage_in_bytes", "3500\n"),
            (
                "sys/fs/cgroup/memory/c/memory.stat",
                "inactive_file 7\ntotal_inactive_file 40\ntotal_active_file 60\n",
            ),
            (
                "sys/fs/cgroup/memory/memory.limit_in_bytes",
                "9223372036854771712\n",
            ),
            ("sys/fs/cgroup/memory/memory.usage_in_bytes", "8000\n"),
        ];
        assert_eq!(with(&files), Some(600));
    }

    #[test]
    fn in_a_container_the_group_that_is_mounted_counts() {
        for path in ["0::/\n", "0::/../../other\n", "0::/docker/1234\n"] {
            let files = [
                MACHINE,
                ("proc/self/cgroup", path),
                ("sys/fs/cgroup/memory.max", "4000\n"),
                ("sys/fs/cgroup/memory.current", "1000\n"),
            ];
            assert_eq!(with(&files), Some(3_000), "{path}");
        }
    }

    #[test]
    fn a_group_beyond_its_limit_leaves_nothing() {
        let files = [
            MACHINE,
            ("proc/self/cgroup", "0::/\n"),
            ("sys/fs/cgroup/memory.max", "4000\n"),
            ("sys/fs/cgroup/memory.current", "5000\n"),
        ];
        assert_eq!(with(&files), Some(0));
    }
}
