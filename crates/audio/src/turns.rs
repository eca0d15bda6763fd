//! Long turns on the processor for what computes a whole track at a time: decoders, and the worker of a processor device.
//!
//! Called at a process's start, before it gives up its rights. Two programs that take a core from each other every few
//! milliseconds empty each other's caches each time; told to take longer turns, they do so a few times a second, and
//! whatever answers people or the coordinator still comes first. A wish, not a right: no permission is needed, and a
//! kernel that does not know of it leaves everything as it was. Never for what must react: the agent, a GPU's worker.

use std::io;
use std::mem;

/// Length of a turn, nanoseconds: as long as the kernel grants (Linux 6.12 on clamps to 0.1 to 100 ms). Before that it is ignored.
const TURN_NS: u64 = 100_000_000;

/// Asks for long turns for this thread and what it starts later. Its niceness stays.
///
/// # Errors
/// When the kernel refuses; nothing has changed then, and nothing needs to be done about it. A thread that somebody gave
/// another class (idle, real time) keeps it, without an error.
pub fn take_long() -> io::Result<()> {
    let mut wish = attributes()?;
    if [libc::SCHED_OTHER, libc::SCHED_BATCH].contains(&(wish.sched_policy as i32)) {
        wish.sched_policy = libc::SCHED_BATCH as u32;
        wish.sched_runtime = TURN_NS;
        // SAFETY: the kernel reads the structure, whose size is its first field, and keeps no pointer to it.
        answered(unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const wish, 0) })?;
    }
    Ok(())
}

/// How the kernel schedules this thread now.
fn attributes() -> io::Result<libc::sched_attr> {
    let size = mem::size_of::<libc::sched_attr>();
    // SAFETY: a structure of plain integers, for which zeros are a value.
    let mut now: libc::sched_attr = unsafe { mem::zeroed() };
    // SAFETY: the kernel writes at most `size` bytes, all within the structure.
    answered(unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &raw mut now, size, 0) })?;
    Ok(now)
}

fn answered(code: libc::c_long) -> io::Result<()> {
    if code < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_takes_long_turns_stays_as_nice_as_it_was() {
        let turns = std::thread::spawn(|| {
            let before = attributes().unwrap();
            take_long().unwrap();
            (before, attributes().unwrap())
        });
        let (before, after) = turns.join().unwrap();
        assert_eq!(after.sched_policy, libc::SCHED_BATCH as u32);
        assert_eq!(after.sched_nice, before.sched_nice);
    }

    #[test]
    fn a_thread_of_another_class_keeps_it() {
        let idle = std::thread::spawn(|| {
            let none = libc::sched_param { sched_priority: 0 };
            // SAFETY: the kernel reads the structure and keeps no pointer to it.
            let done = unsafe { libc::sched_setscheduler(0, libc::SCHED_IDLE, &raw const none) };
            assert_eq!(done, 0);
            take_long().unwrap();
            attributes().unwrap().sched_policy
        });
        assert_eq!(idle.join().unwrap(), libc::SCHED_IDLE as u32);
    }
}
