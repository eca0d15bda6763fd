//! The sandbox of the real binary: what a file that took over the decoder would try is ended by the kernel.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::ExitStatus;

use audio::child::{DecoderChild, Spawner, code_of_death};
use audio::ring::SAMPLES_MIN;
use types::Code;

const DECODER: &str = env!("CARGO_BIN_EXE_trackscan-decoder");
/// The status of an attempt that the kernel let pass.
const PASSED: i32 = 42;

fn start(args: &[&str]) -> DecoderChild {
    let spawner = Box::leak(Box::new(Spawner::start().expect("a thread can be made")));
    spawner
        .spawn_decoder_with(Path::new(DECODER), args, SAMPLES_MIN)
        .expect("the decoder starts")
}

fn attempt(what: &str) -> ExitStatus {
    start(&["attempt", what])
        .wait()
        .expect("a child can be waited for")
}

#[test]
fn forbidden_acts_end_the_decoder_at_once() {
    for what in [
        "open",
        "openat",
        "socket",
        "connect",
        "execve",
        "fork",
        "clone",
        "kill",
        "ptrace",
        "fcntl",
        "ftruncate",
        "recvmsg",
        "io_uring",
        "executable memory",
        "prlimit",
    ] {
        let status = attempt(what);
        assert_eq!(status.signal(), Some(libc::SIGSYS), "{what}: {status}");
        assert_eq!(code_of_death(status), Code::DecodeCrash);
    }
}

#[test]
fn memory_is_granted_up_to_its_limit_and_an_abort_beyond() {
    assert_eq!(attempt("allocate").code(), Some(PASSED));
    let status = attempt("allocate too much");
    assert_eq!(status.signal(), Some(libc::SIGABRT), "{status}");
}

#[test]
fn computing_without_progress_ends_in_its_own_code() {
    let status = attempt("spin");
    assert_eq!(code_of_death(status), Code::DecodeStalled, "{status}");
}

#[test]
fn the_decoder_holds_no_descriptor_that_it_was_not_given() {
    let _open_elsewhere = std::fs::File::open("/proc/self/maps").unwrap();
    let mut child = start(&[]);
    let mut channel = audio::Channel::new(child.control.try_clone().unwrap());
    assert!(
        channel
            .receive::<audio::protocol::FromDecoder>()
            .unwrap()
            .is_some()
    );
    let folder = format!("/proc/{}/fd", child.pid());
    let mut names: Vec<u32> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            entry
                .unwrap()
                .file_name()
                .to_str()
                .unwrap()
                .parse()
                .unwrap()
        })
        .collect();
    names.sort_unstable();
    // The ring's memory is closed once it is mapped; the last one is the second handle of the socket.
    assert_eq!(names, [0, 1, 2, 3, 5, 6, 7]);
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.pid())).unwrap();
    assert!(
        status.contains("NoNewPrivs:\t1") && status.contains("Seccomp:\t2"),
        "{status}"
    );
    child.end().unwrap();
}

#[test]
fn a_decoder_whose_parent_hangs_up_ends_by_itself() {
    let mut child = start(&[]);
    let (control, _ours) = std::os::unix::net::UnixStream::pair().unwrap();
    drop(std::mem::replace(&mut child.control, control));
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn started_by_hand_it_says_so_and_prints_its_version() {
    let output = std::process::Command::new(DECODER).output().unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("node-agent"));
    let output = std::process::Command::new(DECODER)
        .arg("--version")
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).starts_with("trackscan-decoder "));
}
