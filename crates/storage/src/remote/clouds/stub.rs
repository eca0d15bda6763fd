//! A stub of Google's and Azure's object stores, on a port of this machine: a put, a get and a look-up of one object as each answers them, and what a
//! test orders to go wrong. It keeps what it was asked. It checks no signature, and has no listing.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// Whose manners it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manners {
    Google,
    Azure,
}

impl Manners {
    /// The header of a put that must create, and its value.
    pub(super) const fn condition(self) -> (&'static str, &'static str) {
        match self {
            Self::Google => ("x-goog-if-generation-match", "0"),
            Self::Azure => ("if-none-match", "*"),
        }
    }

    /// What it says of a put that must create, where something stands.
    fn exists(self) -> Reply {
        match self {
            Self::Google => Reply::refusal(412, "PreconditionFailed"),
            Self::Azure => Reply::refusal(409, "BlobAlreadyExists"),
        }
    }

    /// What it says of an object that is not there.
    fn absent(self) -> Reply {
        match self {
            Self::Google => Reply::refusal(404, "NoSuchKey"),
            Self::Azure => Reply::refusal(404, "BlobNotFound"),
        }
    }

    /// What it calls a bucket that is not there.
    pub(super) const fn no_bucket(self) -> &'static str {
        match self {
            Self::Google => "NoSuchBucket",
            Self::Azure => "ContainerNotFound",
        }
    }
}

/// What becomes of a put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is refused with this status and not carried out.
    Refused(u16),
    /// It is carried out, and answered with this status all the same.
    DoneBut(u16),
    /// It is not carried out, and its connection ends without an answer.
    Lost,
    /// It is carried out, and its connection ends without an answer.
    DoneAndLost,
    /// It is carried out, and its connection stays without an answer.
    DoneAndSilent,
}

/// One request as it came.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) method: String,
    /// Without its query.
    pub(super) path: String,
    pub(super) query: String,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

impl Asked {
    /// The value of a header, whose name is in small letters.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

/// A server; it ends with this value.
pub(super) struct Stub {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct State {
    objects: BTreeMap<String, Vec<u8>>,
    asked: Vec<Asked>,
    /// What becomes of the next puts; those after them are served.
    fates: VecDeque<Fate>,
    /// What every request is told, whatever it asks.
    always: Option<(u16, &'static str)>,
    ended: bool,
}

/// What a request gets.
enum Reply {
    Said { status: u16, body: Vec<u8> },
    Ends,
    Silent,
}

impl Reply {
    fn refusal(status: u16, code: &str) -> Self {
        let body = format!("<Error><Code>{code}</Code><Message>by a stub</Message></Error>");
        Self::Said {
            status,
            body: body.into_bytes(),
        }
    }
}

impl Stub {
    pub(super) fn start(manners: Manners) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State::default()));
        let served = state.clone();
        let thread = std::thread::spawn(move || serve(&listener, manners, &served));
        Self {
            address,
            state,
            thread: Some(thread),
        }
    }

    pub(super) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Says what becomes of the next puts, and forgets what was asked before.
    pub(super) fn order(&self, fates: &[Fate]) {
        let mut state = self.state.lock().unwrap();
        state.fates = fates.iter().copied().collect();
        state.asked.clear();
    }

    /// Tells every request the same from here on, and forgets what was asked before.
    pub(super) fn always(&self, status: u16, code: &'static str) {
        let mut state = self.state.lock().unwrap();
        state.always = Some((status, code));
        state.asked.clear();
    }

    pub(super) fn asked(&self) -> Vec<Asked> {
        self.state.lock().unwrap().asked.clone()
    }

    /// How many puts came.
    pub(super) fn puts(&self) -> usize {
        let asked = self.asked();
        asked.iter().filter(|asked| asked.method == "PUT").count()
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        self.state.lock().unwrap().ended = true;
        let _wakes_the_thread = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _panicked = thread.join();
        }
    }
}

fn serve(listener: &TcpListener, manners: Manners, state: &Arc<Mutex<State>>) {
    for socket in listener.incoming() {
        if state.lock().unwrap().ended {
            return;
        }
        let (Ok(socket), state) = (socket, state.clone()) else {
            continue;
        };
        std::thread::spawn(move || {
            let _the_client_went = answer(socket, manners, &state);
        });
    }
}

/// Answers one request; a connection has no second one.
fn answer(mut socket: TcpStream, manners: Manners, state: &Mutex<State>) -> io::Result<()> {
    let asked = read(&socket)?;
    let is_head = asked.method == "HEAD";
    let reply = {
        let mut state = state.lock().unwrap();
        let reply = decide(&mut state, manners, &asked);
        state.asked.push(asked);
        reply
    };
    match reply {
        Reply::Said { status, body } => write(&mut socket, status, &body, is_head),
        Reply::Ends => Ok(()),
        Reply::Silent => io::copy(&mut socket, &mut io::sink()).map(drop),
    }
}

fn decide(state: &mut State, manners: Manners, asked: &Asked) -> Reply {
    if let Some((status, code)) = state.always {
        return Reply::refusal(status, code);
    }
    match asked.method.as_str() {
        "PUT" => put(state, manners, asked),
        "GET" | "HEAD" => match state.objects.get(&asked.path) {
            Some(bytes) => Reply::Said {
                status: 200,
                body: bytes.clone(),
            },
            None => manners.absent(),
        },
        _ => Reply::refusal(501, "NotImplemented"),
    }
}

fn put(state: &mut State, manners: Manners, asked: &Asked) -> Reply {
    match state.fates.pop_front() {
        None => carry_out(state, manners, asked),
        Some(Fate::Refused(status)) => Reply::refusal(status, "Refused"),
        Some(Fate::Lost) => Reply::Ends,
        Some(Fate::DoneBut(status)) => {
            carry_out(state, manners, asked);
            Reply::refusal(status, "Refused")
        }
        Some(Fate::DoneAndLost) => {
            carry_out(state, manners, asked);
            Reply::Ends
        }
        Some(Fate::DoneAndSilent) => {
            carry_out(state, manners, asked);
            Reply::Silent
        }
    }
}

fn carry_out(state: &mut State, manners: Manners, asked: &Asked) -> Reply {
    let (name, value) = manners.condition();
    if asked.header(name) == Some(value) && state.objects.contains_key(&asked.path) {
        return manners.exists();
    }
    state.objects.insert(asked.path.clone(), asked.body.clone());
    Reply::Said {
        status: 201,
        body: Vec::new(),
    }
}

fn read(socket: &TcpStream) -> io::Result<Asked> {
    let mut reader = BufReader::new(socket);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let mut lines = lines.into_iter();
    let first = lines.next().unwrap_or_default();
    let mut words = first.split(' ').map(str::to_owned);
    let (method, target) = (words.next(), words.next());
    let target = target.unwrap_or_default();
    let (path, query) = target.split_once('?').unwrap_or((target.as_str(), ""));
    let headers: BTreeMap<String, String> = lines.filter_map(|line| header(&line)).collect();
    let length = headers.get("content-length");
    let length = length.and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(Asked {
        method: method.unwrap_or_default(),
        path: path.to_owned(),
        query: query.to_owned(),
        headers,
        body,
    })
}

fn header(line: &str) -> Option<(String, String)> {
    let (name, value) = line.split_once(':')?;
    Some((name.trim().to_lowercase(), value.trim().to_owned()))
}

fn write(socket: &mut TcpStream, status: u16, body: &[u8], is_head: bool) -> io::Result<()> {
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status} -\r\nContent-Length: {length}\r\nETag: \"1\"\r\nLast-Modified: Thu, 01 Jan 1970 00:00:00 GMT\r\nConnection: close\r\n\r\n"
    );
    socket.write_all(head.as_bytes())?;
    match is_head {
        true => Ok(()),
        false => socket.write_all(body),
    }
}
