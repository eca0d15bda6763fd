//! A coordinator that a test plays: it hands out one list, keeps what is committed, and says what it is told to say.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use proto::v1::agents_server::{Agents, AgentsServer};
use proto::v1::{self, order};
use std::time::{SystemTime, UNIX_EPOCH};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};
use types::JobSpec;

use crate::world::Options;

/// Tracks of one grant: few, so that several parts come about.
const GRANT_TRACKS: u32 = 4;

/// What the coordinator knows.
#[derive(Default)]
pub(crate) struct Books {
    spec: Option<JobSpec>,
    /// First ordinals that are to be granted.
    queue: Vec<u32>,
    grant_tracks: u32,
    /// Grants that may still be made.
    pub(crate) grants_left: usize,
    /// Escalation parts that count and are to be granted.
    onward: Vec<(v1::EscalationPart, Vec<v1::OrdinalRange>)>,
    /// They are kept back while this is set.
    pub(crate) keeps_onward: bool,
    /// Most tracks of a grant that may go on; then there is one grant of all tracks.
    escalations_max: Option<u32>,
    /// What the last session said of its node.
    pub(crate) joined: Option<v1::JoinRequest>,
    attempts: u32,
    live: BTreeMap<(String, u32), v1::OrdinalRange>,
    /// What was committed, in order.
    pub(crate) commits: Vec<v1::CommitRequest>,
    /// Every beat.
    pub(crate) beats: Vec<v1::BeatRequest>,
    /// Sessions so far.
    pub(crate) joins: u64,
    /// Whether the last session was left in order.
    pub(crate) left: bool,
    /// Commits are not answered while this is set.
    pub(crate) deaf: bool,
    /// How far its wall clock is ahead of this machine's; where it is 0 it does not tell the time.
    pub(crate) ahead_ms: i64,
}

impl Books {
    /// Ends every grant and grants again, each for itself, what was not committed.
    pub(crate) fn grant_again(&mut self) {
        self.live.clear();
        let rows = self.spec.as_ref().unwrap().plan.rows;
        let shards = self.commits.iter().map(|commit| commit.shard.clone());
        let roots = shards.filter(|shard| !shard.contains('.'));
        let roots: Vec<String> = roots.collect();
        let screened = |ordinal: &u32| roots.iter().any(|shard| self.covers(shard, *ordinal));
        self.queue = (0..rows).filter(|ordinal| !screened(ordinal)).collect();
        self.grant_tracks = 1;
        let onward = self.commits.iter().flat_map(sent_on);
        let onward = onward.map(|(part, tracks)| {
            let shard = name_of(&part);
            let alone = tracks.iter().flat_map(|range| range.first..range.end);
            let open = alone.filter(|ordinal| !self.covers(&shard, *ordinal));
            (part, joined(open))
        });
        self.onward = onward.filter(|(_, open)| !open.is_empty()).collect();
    }

    /// Whether a track of a shard is in a part that counts.
    fn covers(&self, shard: &str, ordinal: u32) -> bool {
        let commits = self.commits.iter().filter(|commit| commit.shard == shard);
        let mut ranges = commits
            .flat_map(|commit| &commit.parts)
            .flat_map(|part| &part.tracks);
        ranges.any(|range| range.first <= ordinal && ordinal < range.end)
    }

    /// Tracks whose rows were committed and go no further.
    pub(crate) fn committed(&self) -> u32 {
        let parts = self.commits.iter().flat_map(|commit| &commit.parts);
        let ended = parts.filter(|part| part.kind() == v1::PartKind::Terminal);
        ended.map(|part| part.rows).sum()
    }

    /// The next grants, of so many tracks.
    fn grants(&mut self, spec: &JobSpec, want_tracks: u32) -> Vec<v1::Grant> {
        let mut grants = Vec::new();
        let wanted = want_tracks.div_ceil(self.grant_tracks) as usize;
        while grants.len() < wanted && self.grants_left > 0 {
            let root = (!self.queue.is_empty()).then(|| self.queue.remove(0));
            let onward = !self.keeps_onward && !self.onward.is_empty();
            let grant = match root {
                Some(first) => root_grant(self, spec, first),
                None if onward => {
                    let (part, tracks) = self.onward.remove(0);
                    escalation_grant(self, spec, part, tracks)
                }
                None => break,
            };
            self.grants_left -= 1;
            grants.push(grant);
        }
        grants
    }
}

/// The coordinator's service.
#[derive(Clone)]
pub(crate) struct Played {
    pub(crate) books: Arc<Mutex<Books>>,
    pub(crate) address: SocketAddr,
}

impl Played {
    /// Serves a job on a free port, for as long as the runtime lives, as the options say.
    pub(crate) async fn serve(spec: JobSpec, options: &Options) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let grant_tracks = match options.escalations_max {
            Some(_) => spec.plan.rows,
            None => GRANT_TRACKS,
        };
        let queue = (0..spec.plan.rows).step_by(grant_tracks as usize).collect();
        let books = Books {
            spec: Some(spec),
            queue,
            grant_tracks,
            grants_left: options.grants.unwrap_or(usize::MAX),
            escalations_max: options.escalations_max,
            ahead_ms: options.ahead_ms,
            ..Books::default()
        };
        let played = Self {
            books: Arc::new(Mutex::new(books)),
            address: listener.local_addr().unwrap(),
        };
        let service = AgentsServer::new(played.clone());
        let server = tonic::transport::Server::builder().add_service(service);
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        played
    }

    /// A look at the books.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&mut Books) -> T) -> T {
        look(&mut self.books.lock().unwrap())
    }
}

/// The wall clock of a coordinator that is so far ahead.
fn told(ahead_ms: i64) -> i64 {
    match ahead_ms {
        0 => 0,
        ahead => wall_ms() + ahead,
    }
}

/// This machine's wall clock.
pub(crate) fn wall_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(since.as_millis()).unwrap()
}

#[tonic::async_trait]
impl Agents for Played {
    async fn join(
        &self,
        call: Request<v1::JoinRequest>,
    ) -> Result<Response<v1::JoinResponse>, Status> {
        let (session, ahead_ms) = self.look(|books| {
            books.joins += 1;
            books.joined = Some(call.into_inner());
            books.left = false;
            (books.joins, books.ahead_ms)
        });
        let (beat_every_ms, grant_lives_ms) = (200, 5_000);
        let version = env!("CARGO_PKG_VERSION").to_owned();
        Ok(Response::new(v1::JoinResponse {
            session,
            epoch: 1,
            generation: 1,
            beat_every_ms,
            grant_lives_ms,
            version,
            wall_ms: told(ahead_ms),
        }))
    }

    async fn pull(
        &self,
        call: Request<v1::PullRequest>,
    ) -> Result<Response<v1::PullResponse>, Status> {
        let pull = call.into_inner();
        let answer = self.look(|books| {
            let spec = books.spec.clone().unwrap();
            let grants = books.grants(&spec, pull.want_tracks);
            let brief = v1::JobBrief {
                spec: Some(spec.into()),
                list_object: String::new(),
            };
            v1::PullResponse {
                pull: pull.pull,
                grants,
                jobs: vec![brief],
                again_after_ms: 200,
                sources: Vec::new(),
            }
        });
        Ok(Response::new(answer))
    }

    async fn beat(
        &self,
        call: Request<v1::BeatRequest>,
    ) -> Result<Response<v1::BeatResponse>, Status> {
        let beat = call.into_inner();
        let orders = beat.held.iter().map(|held| {
            let live =
                self.look(|books| books.live.contains_key(&(held.shard.clone(), held.attempt)));
            let go = order::Order::Continue(v1::Continue {});
            let order = if live {
                go
            } else {
                order::Order::Stop(v1::Stop {})
            };
            v1::GrantOrder {
                job: held.job.clone(),
                shard: held.shard.clone(),
                attempt: held.attempt,
                order: Some(v1::Order { order: Some(order) }),
                flush: v1::Flush::AsConfigured.into(),
            }
        });
        let orders = orders.collect();
        let ahead_ms = self.look(|books| {
            books.beats.push(beat);
            books.ahead_ms
        });
        Ok(Response::new(v1::BeatResponse {
            epoch: 1,
            orders,
            pull_now: false,
            drain: false,
            wall_ms: told(ahead_ms),
        }))
    }

    async fn commit(
        &self,
        call: Request<v1::CommitRequest>,
    ) -> Result<Response<v1::CommitResponse>, Status> {
        let commit = call.into_inner();
        if self.look(|books| books.deaf) {
            return Err(Status::unavailable("no answer today"));
        }
        let outcome = self.look(|books| {
            let known =
                |other: &&v1::CommitRequest| other.parts[0].sha256 == commit.parts[0].sha256;
            if books.commits.iter().any(|other| known(&other)) {
                return v1::CommitOutcome::DoneAlready;
            }
            if !books
                .live
                .contains_key(&(commit.shard.clone(), commit.attempt))
            {
                return v1::CommitOutcome::Superseded;
            }
            books.onward.extend(sent_on(&commit));
            books.commits.push(commit);
            v1::CommitOutcome::Counted
        });
        let order = v1::Order {
            order: Some(order::Order::Continue(v1::Continue {})),
        };
        Ok(Response::new(v1::CommitResponse {
            outcome: outcome.into(),
            order: Some(order),
        }))
    }

    async fn leave(
        &self,
        _: Request<v1::LeaveRequest>,
    ) -> Result<Response<v1::LeaveResponse>, Status> {
        self.look(|books| books.left = true);
        Ok(Response::new(v1::LeaveResponse {}))
    }
}

/// The escalation parts of a commit, with their tracks.
fn sent_on(
    commit: &v1::CommitRequest,
) -> impl Iterator<Item = (v1::EscalationPart, Vec<v1::OrdinalRange>)> {
    let parts = commit.parts.iter();
    let onward = parts.filter(|part| part.kind() == v1::PartKind::Escalation);
    onward.map(|part| {
        let of = v1::EscalationPart {
            root: commit.shard.parse().unwrap(),
            attempt: commit.attempt,
            first: part.tracks[0].first,
            sha256: part.sha256.clone(),
        };
        (of, part.tracks.clone())
    })
}

/// The shard that an escalation part is.
fn name_of(part: &v1::EscalationPart) -> String {
    format!("{}.{}-{}", part.root, part.attempt, part.first)
}

fn root_grant(books: &mut Books, spec: &JobSpec, first: u32) -> v1::Grant {
    let end = (first + books.grant_tracks).min(spec.plan.rows);
    let shard = spec.plan.shard_of(first).to_string();
    let tracks = vec![v1::OrdinalRange { first, end }];
    v1::Grant {
        escalations_max: books.escalations_max,
        flush: match books.escalations_max {
            Some(_) => v1::Flush::AtEnd.into(),
            None => v1::Flush::AsConfigured.into(),
        },
        ..grant(books, spec, shard, tracks)
    }
}

fn escalation_grant(
    books: &mut Books,
    spec: &JobSpec,
    part: v1::EscalationPart,
    tracks: Vec<v1::OrdinalRange>,
) -> v1::Grant {
    v1::Grant {
        escalation: Some(part.clone()),
        ..grant(books, spec, name_of(&part), tracks)
    }
}

fn grant(
    books: &mut Books,
    spec: &JobSpec,
    shard: String,
    tracks: Vec<v1::OrdinalRange>,
) -> v1::Grant {
    books.attempts += 1;
    let (first, end) = (tracks[0].first, tracks[tracks.len() - 1].end);
    let ordinals = v1::OrdinalRange { first, end };
    books.live.insert((shard.clone(), books.attempts), ordinals);
    v1::Grant {
        job: spec.job.to_string(),
        shard,
        attempt: books.attempts,
        epoch: 1,
        generation: 1,
        ordinals: Some(ordinals),
        tracks,
        care: v1::Care::Normal.into(),
        flush: v1::Flush::AsConfigured.into(),
        escalation: None,
        rank: None,
        escalations_max: None,
        apart: Vec::new(),
    }
}

/// Rising ordinals as the ranges of a track set, which never touch.
fn joined(ordinals: impl Iterator<Item = u32>) -> Vec<v1::OrdinalRange> {
    let mut ranges: Vec<v1::OrdinalRange> = Vec::new();
    for ordinal in ordinals {
        match ranges.last_mut().filter(|last| last.end == ordinal) {
            Some(last) => last.end += 1,
            None => ranges.push(v1::OrdinalRange {
                first: ordinal,
                end: ordinal + 1,
            }),
        }
    }
    ranges
}
