//! `doctor storage --storage`, asked of the coordinator's own binary: of a folder, of an S3 server of this project's suites and of moto, each
//! with what sets it apart. No coordinator runs.

use crate::schemas::check;
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use storage::moto::Moto;
use tests::cluster::scanctl;
use tests::process::spawn_bound;

/// Nobody listens there: no coordinator is asked.
const NOBODY: &str = "http://127.0.0.1:9";
/// Questions whose answer differs from one time to the next: how writers meet, and how busy the machine is.
const BY_CHANCE: [&str; 2] = ["one-winner", "prompt"];

/// The S3 server `s3s-fs` as a process, over a folder with one bucket.
struct Server {
    process: Child,
    address: String,
}

impl Server {
    fn start(folder: &Path) -> Self {
        fs::create_dir_all(folder.join("bucket")).unwrap();
        let mut command = Command::new(tests::binaries().join("examples/s3_server"));
        command.arg(folder).arg("127.0.0.1:0");
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut process = spawn_bound(command);
        let mut address = String::new();
        let stdout = process.stdout.take().unwrap();
        BufReader::new(stdout).read_line(&mut address).unwrap();
        let address = address.trim().to_owned();
        assert!(!address.is_empty(), "the S3 server said no address");
        Self { process, address }
    }

    fn url(&self, keys: &Path) -> String {
        let text = "aws_access_key_id=test-key\naws_secret_access_key=test-secret-hunter2\n";
        fs::write(keys, text).unwrap();
        let (address, keys) = (&self.address, keys.display());
        format!(
            "s3://bucket/scans?endpoint=http://{address}&allow-http=true&credentials=file:{keys}"
        )
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _gone_already = self.process.kill();
        let _reaped = self.process.wait();
    }
}

/// Asks a place everything: it is usable, and these questions alone have another answer than yes.
#[track_caller]
fn check_place(url: &str, expected: &[(&str, &str)]) {
    let output = scanctl(
        NOBODY,
        &["doctor", "storage", "--storage", url, "-o", "json"],
    );
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{url}: {said}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    check("doctor-storage", &report);
    assert_eq!(report["usable"], true, "{report:#}");
    let word = |found: &Value, field: &str| found[field].as_str().unwrap().to_owned();
    let asked = report["findings"].as_array().unwrap().iter();
    let asked = asked.map(|found| (word(found, "question"), word(found, "answer")));
    let steady = asked.filter(|(question, _)| !BY_CHANCE.contains(&question.as_str()));
    let others: Vec<_> = steady.filter(|(_, answer)| answer != "yes").collect();
    let owned = |(question, answer): &(&str, &str)| ((*question).to_owned(), (*answer).to_owned());
    let expected: Vec<_> = expected.iter().map(owned).collect();
    assert_eq!(others, expected, "{report:#}");
}

#[test]
fn the_doctor_judges_a_folder_and_two_s3_servers_by_what_sets_each_apart() {
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("keys");
    let place = folder.path().join("place");
    fs::create_dir(&place).unwrap();
    check_place(
        &format!("file://{}", place.display()),
        &[("replace-version", "no")],
    );
    let server = Server::start(&folder.path().join("buckets"));
    check_place(
        &server.url(&keys),
        &[("synced", "unknown"), ("read-version", "no")],
    );
    let moto = Moto::start();
    check_place(&moto.url("scans", &keys), &[("synced", "unknown")]);
}

#[test]
fn the_doctor_says_that_a_server_does_not_take_these_keys_and_shows_none_of_them() {
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("keys");
    let server = Server::start(&folder.path().join("buckets"));
    let url = server.url(&keys);
    let wrong = "aws_access_key_id=test-key\naws_secret_access_key=wrong-secret\n";
    fs::write(&keys, wrong).unwrap();
    let output = scanctl(
        NOBODY,
        &["doctor", "storage", "--storage", &url, "-o", "json"],
    );
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(11), "{report:#}");
    assert_eq!(report["trouble"], "STORAGE_DENIED", "{report:#}");
    let said = [output.stdout, output.stderr].concat();
    assert!(!String::from_utf8_lossy(&said).contains("wrong-secret"));
}
