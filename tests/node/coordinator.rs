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
        let covered: Vec<v1::OrdinalRange> = self
            .commits
            .iter()
            .flat_map(|commit| &commit.parts)
            .flat_map(|part| part.tracks.clone())
            .collect();
        let is_covered = |ordinal: u32| {
            covered
                .iter()
                .any(|range| range.first <= ordinal && ordinal < range.end)
        };
        let rows = self.spec.as_ref().unwrap().plan.rows;
        self.queue = (0..rows).filter(|ordinal| !is_covered(*ordinal)).collect();
        self.grant_tracks = 1;
    }

    /// Tracks whose rows were committed.
    pub(crate) fn committed(&self) -> u32 {
        self.commits
            .iter()
            .flat_map(|commit| &commit.parts)
            .map(|part| part.rows)
            .sum()
    }
}

/// The coordinator's service.
#[derive(Clone)]
pub(crate) struct Played {
    pub(crate) books: Arc<Mutex<Books>>,
    pub(crate) address: SocketAddr,
}

impl Played {
    /// Serves a job of so many tracks on a free port, for as long as the runtime lives. Makes so many grants until it may
    /// make more. Its wall clock is so far ahead.
    pub(crate) async fn serve(spec: JobSpec, grants: usize, ahead_ms: i64) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let queue = (0..spec.plan.rows).step_by(GRANT_TRACKS as usize).collect();
        let books = Books {
            spec: Some(spec),
            queue,
            grant_tracks: GRANT_TRACKS,
            grants_left: grants,
            ahead_ms,
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
        _: Request<v1::JoinRequest>,
    ) -> Result<Response<v1::JoinResponse>, Status> {
        let (session, ahead_ms) = self.look(|books| {
            books.joins += 1;
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
            let wanted = pull.want_tracks.div_ceil(books.grant_tracks) as usize;
            let now = wanted.min(books.queue.len()).min(books.grants_left);
            books.grants_left -= now;
            let firsts: Vec<u32> = books.queue.drain(..now).collect();
            let grants: Vec<v1::Grant> = firsts
                .into_iter()
                .map(|first| grant(books, &spec, first))
                .collect();
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

fn grant(books: &mut Books, spec: &JobSpec, first: u32) -> v1::Grant {
    books.attempts += 1;
    let end = (first + books.grant_tracks).min(spec.plan.rows);
    let ordinals = v1::OrdinalRange { first, end };
    let shard = spec.plan.shard_of(first).to_string();
    books.live.insert((shard.clone(), books.attempts), ordinals);
    v1::Grant {
        job: spec.job.to_string(),
        shard,
        attempt: books.attempts,
        epoch: 1,
        generation: 1,
        ordinals: Some(ordinals),
        tracks: vec![ordinals],
        care: v1::Care::Normal.into(),
        flush: v1::Flush::AsConfigured.into(),
        escalation: None,
        rank: None,
        escalations_max: None,
        apart: Vec::new(),
    }
}
