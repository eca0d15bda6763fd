//! A headless browser that opens a file of ours, for suites that ask what a reader would see: Debian's chromium, with a profile of
//! its own that is thrown away. It reaches nothing: all that it asks for goes to a proxy that writes down whom and answers nothing.

use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Flags by which it starts without a screen, and does nothing by itself.
const FLAGS: [&str; 13] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--disable-dev-shm-usage",
    "--no-default-browser-check",
    "--enable-logging=stderr",
    "--hide-scrollbars",
];

/// Whom it asks for by itself at each start, whatever it opens; exactly these.
const ITS_OWN: [&str; 3] = [
    "accounts.google.com",
    "clients2.google.com",
    "update.googleapis.com",
];

/// What came of opening a page.
#[derive(Debug)]
pub struct Opened {
    /// The document as it stood after its scripts had run.
    pub dom: String,
    /// What the page's console said: errors of scripts, and what the page's own policy refused.
    pub console: Vec<String>,
    /// Hosts that the page asked for.
    pub asked: Vec<String>,
}

/// Opens a file, at a fragment such as `#sort=score` where one is given.
///
/// # Panics
/// When there is no browser, or it fails.
#[must_use]
pub fn open(file: &Path, fragment: &str) -> Opened {
    let proxy = Proxy::start();
    let output = run(&proxy, &["--dump-dom".to_owned(), address(file, fragment)]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let console = said.lines().filter(|line| line.contains(":CONSOLE"));
    Opened {
        console: console.map(str::to_owned).collect(),
        dom: String::from_utf8(output.stdout).expect("a document is UTF-8"),
        asked: proxy.asked(),
    }
}

/// Takes a picture of a file's first `height` pixels.
///
/// # Panics
/// When there is no browser, or it fails.
pub fn picture(file: &Path, fragment: &str, height: u32, to: &Path) {
    let arguments = [
        format!("--window-size=1120,{height}"),
        format!("--screenshot={}", to.display()),
        address(file, fragment),
    ];
    run(&Proxy::start(), &arguments);
}

fn address(file: &Path, fragment: &str) -> String {
    format!("file://{}{fragment}", file.display())
}

fn run(proxy: &Proxy, arguments: &[String]) -> std::process::Output {
    let profile = tempfile::tempdir().expect("a folder for its profile");
    let mut command = Command::new("chromium");
    command
        .args(FLAGS)
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(format!("--proxy-server=http://127.0.0.1:{}", proxy.port))
        .arg("--proxy-bypass-list=<-loopback>")
        .args(arguments);
    let output = command.output();
    let output = output.expect("chromium starts: `make setup` installs it");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {said}", output.status);
    output
}

/// A proxy that writes down whom it is asked for, and answers nothing.
struct Proxy {
    port: u16,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let written = Arc::clone(&asked);
        // It ends with the test process: whoever asks it is gone by then.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let host = host(stream);
                written
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(host);
            }
        });
        Self { port, asked }
    }

    fn asked(&self) -> Vec<String> {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let of_the_page = asked
            .iter()
            .filter(|host| !ITS_OWN.contains(&host.as_str()));
        of_the_page.cloned().collect()
    }
}

/// The host of a request such as `GET http://host/path` or `CONNECT host:443`; whatever it says where it is none.
fn host(mut stream: TcpStream) -> String {
    let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
    let mut head = [0; 1_024];
    let length = stream.read(&mut head).unwrap_or(0);
    let head = String::from_utf8_lossy(&head[..length]).into_owned();
    let target = head.split(' ').nth(1).unwrap_or(&head);
    let target = target.split_once("://").map_or(target, |(_, rest)| rest);
    let end = target.find(['/', ':', '?']).unwrap_or(target.len());
    target[..end].to_owned()
}
