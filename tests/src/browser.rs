//! A headless browser that opens a file of ours, for suites that ask what a reader would see: Debian's chromium, with a profile of
//! its own that is thrown away. It may reach nothing: what it tries to fetch goes to a proxy that only counts.

use std::io::Read;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
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

/// What came of opening a page.
#[derive(Debug)]
pub struct Opened {
    /// The document as it stood after its scripts had run.
    pub dom: String,
    /// What the page's console said: errors of scripts, and what the page's own policy refused.
    pub console: Vec<String>,
    /// Connections that were tried, to wherever.
    pub connections: usize,
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
        connections: proxy.connections(),
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

/// A proxy that counts and answers nothing.
struct Proxy {
    port: u16,
    seen: Arc<AtomicUsize>,
}

impl Proxy {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let seen = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&seen);
        // It ends with the test process: whoever asked it is gone by then.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                counted.fetch_add(1, Ordering::Relaxed);
                let Ok(mut stream) = stream else { continue };
                let _ = stream.set_read_timeout(Some(Duration::from_secs(1)));
                let mut asked = [0; 512];
                let length = stream.read(&mut asked).unwrap_or(0);
                eprintln!("asked for: {}", String::from_utf8_lossy(&asked[..length]));
            }
        });
        Self { port, seen }
    }

    fn connections(&self) -> usize {
        self.seen.load(Ordering::Relaxed)
    }
}
