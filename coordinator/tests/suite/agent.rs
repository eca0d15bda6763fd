//! An agent played by the test: it joins, pulls, beats and commits over gRPC like a real one, reads the list's rows from
//! storage, and puts real parts there. Only the audio is left out: a row's verdict follows from its ordinal.

use proto::v1;
use storage::{EncodedPart, PartFooter, PartKind, StageSpan, Storage};
use tonic::Status;
use tonic::transport::Channel;
use types::{
    CatalogRow, Epoch, Generation, JobSpec, Ledger, NodeId, Range, ShardId, Stage, StageUse,
    TrackRow, TrackSet, UnixMillis, Verdict,
};
use v1::agents_client::AgentsClient;

use crate::people::{People, caller};
use crate::world::{Process, World};

/// A coordinator with a job, and what a node holds of it.
pub(crate) async fn begun(
    world: &World,
    flags: &[&str],
) -> (Process, People, Agent, v1::PullResponse, String) {
    let process = world.spawn(flags);
    let mut people = People::new(process.channel().await);
    people.imported(&world.music()).await;
    let job = people.submit("r-1").await.job.unwrap().spec.unwrap().job;
    let mut agent = Agent::new(process.channel().await, world.storage(), "n1");
    agent.join().await.unwrap();
    let pulled = agent.pull(16).await.unwrap();
    (process, people, agent, pulled, job)
}

pub(crate) struct Agent {
    client: AgentsClient<Channel>,
    storage: Storage,
    pub(crate) node: String,
    pub(crate) session: u64,
    pub(crate) nonce: u64,
    pub(crate) version: String,
    pub(crate) stages: Vec<v1::Stage>,
    pull: u64,
    beat: u64,
}

impl Agent {
    pub(crate) fn new(channel: Channel, storage: Storage, node: &str) -> Self {
        let client = AgentsClient::new(channel);
        Self {
            client,
            storage,
            node: node.to_owned(),
            session: 0,
            nonce: 7,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            stages: vec![v1::Stage::Decode, v1::Stage::Screen],
            pull: 0,
            beat: 0,
        }
    }

    /// The same agent, its session and counts kept, on a new connection.
    pub(crate) fn reconnect(&mut self, channel: Channel) {
        self.client = AgentsClient::new(channel);
    }

    pub(crate) async fn join(&mut self) -> Result<v1::JoinResponse, Status> {
        let device = v1::Device {
            kind: v1::DeviceKind::Cpu.into(),
            index: 0,
            name: "test".into(),
            memory_bytes: 1,
        };
        let request = v1::JoinRequest {
            caller: caller(),
            node: self.node.clone(),
            version: self.version.clone(),
            devices: vec![device],
            stages: self.stages.iter().map(|stage| (*stage).into()).collect(),
            decoders: 1,
            sources: Vec::new(),
            accepts_sources: true,
            nonce: self.nonce,
        };
        let joined = self.client.join(request).await?.into_inner();
        (self.session, self.pull, self.beat) = (joined.session, 0, 0);
        Ok(joined)
    }

    pub(crate) async fn pull(&mut self, want_tracks: u32) -> Result<v1::PullResponse, Status> {
        self.pull += 1;
        self.pull_again(want_tracks).await
    }

    /// Repeats the last pull under its number.
    pub(crate) async fn pull_again(
        &mut self,
        want_tracks: u32,
    ) -> Result<v1::PullResponse, Status> {
        let request = v1::PullRequest {
            caller: caller(),
            node: self.node.clone(),
            session: self.session,
            pull: self.pull,
            tracks_per_1000_seconds: Some(1_000_000),
            want_tracks,
            bundles: Vec::new(),
        };
        Ok(self.client.pull(request).await?.into_inner())
    }

    /// Beats with these grants in hand.
    pub(crate) async fn beat(&mut self, grants: &[v1::Grant]) -> Result<v1::BeatResponse, Status> {
        self.beat_as(grants, |_| {}).await
    }

    /// The same with something else said.
    pub(crate) async fn beat_as(
        &mut self,
        grants: &[v1::Grant],
        change: impl FnOnce(&mut v1::BeatRequest),
    ) -> Result<v1::BeatResponse, Status> {
        self.beat += 1;
        let held = grants.iter().map(|grant| v1::Held {
            job: grant.job.clone(),
            shard: grant.shard.clone(),
            attempt: grant.attempt,
            in_hand: grant.tracks.clone(),
            yielded_at: None,
            deaths: Vec::new(),
            unflushed: 0,
        });
        let mut request = v1::BeatRequest {
            caller: caller(),
            node: self.node.clone(),
            session: self.session,
            beat: self.beat,
            held: held.collect(),
            released: Vec::new(),
            devices_out: Vec::new(),
            storage_trouble: String::new(),
            draining: false,
        };
        change(&mut request);
        Ok(self.client.beat(request).await?.into_inner())
    }

    pub(crate) async fn leave(&mut self) -> Result<(), Status> {
        let request = v1::LeaveRequest {
            caller: caller(),
            node: self.node.clone(),
            session: self.session,
        };
        self.client.leave(request).await.map(drop)
    }

    /// Makes the part of a whole grant, puts it into storage, and gives the commit that offers it.
    pub(crate) async fn make(&self, brief: &v1::JobBrief, grant: &v1::Grant) -> v1::CommitRequest {
        let spec: JobSpec = brief.spec.clone().unwrap().try_into().unwrap();
        let tracks = proto::track_set("tracks", &grant.tracks).unwrap();
        let snapshot = self
            .storage
            .snapshot(&spec.tenant, spec.list)
            .await
            .unwrap();
        let mut rows = Vec::new();
        for range in tracks.ranges() {
            let range = Range {
                first: range.first,
                end: range.end,
            };
            rows.extend(
                snapshot
                    .read(range)
                    .await
                    .unwrap()
                    .iter()
                    .map(|row| scanned(&spec, row)),
            );
        }
        let footer = footer(&spec, grant, &self.node, tracks);
        let part = storage::parts::encode(&footer, &rows).unwrap();
        self.storage.put_part(&part).await.unwrap();
        self.offer(grant, &footer, &part, &rows)
    }

    fn offer(
        &self,
        grant: &v1::Grant,
        footer: &PartFooter,
        part: &EncodedPart,
        rows: &[TrackRow],
    ) -> v1::CommitRequest {
        let count = |verdict| rows.iter().filter(|row| row.verdict == verdict).count() as u64;
        let made = |stage: Stage| v1::Made {
            stage: v1::Stage::from(stage).into(),
            device: "cpu:0".into(),
            from_ms: 1,
            to_ms: 2,
        };
        let part = v1::Part {
            kind: v1::PartKind::Terminal.into(),
            tracks: grant.tracks.clone(),
            sha256: part.sha256.to_string(),
            rows: part.rows,
            bytes: part.bytes.len() as u64,
            verdicts: Some(v1::VerdictCounts {
                likely_ai: count(Verdict::LikelyAi),
                no_evidence: count(Verdict::NoEvidence),
                inconclusive: count(Verdict::Inconclusive),
                unscannable: count(Verdict::Unscannable),
            }),
            ledger: proto::uses(&footer.ledger),
            made: vec![made(Stage::Decode), made(Stage::Screen)],
            canaries: vec![v1::Canary {
                stage: v1::Stage::Screen.into(),
                device: "cpu:0".into(),
                good: true,
            }],
        };
        v1::CommitRequest {
            caller: caller(),
            node: self.node.clone(),
            session: self.session,
            job: grant.job.clone(),
            generation: grant.generation,
            shard: grant.shard.clone(),
            attempt: grant.attempt,
            parts: vec![part],
        }
    }

    pub(crate) async fn commit(
        &mut self,
        request: v1::CommitRequest,
    ) -> Result<v1::CommitResponse, Status> {
        Ok(self.client.commit(request).await?.into_inner())
    }

    /// Pulls, works and commits until a pull brings nothing.
    pub(crate) async fn work(&mut self) -> u32 {
        let mut commits = 0;
        loop {
            let pulled = self.pull(16).await.unwrap();
            if pulled.grants.is_empty() {
                return commits;
            }
            for grant in &pulled.grants {
                let request = self.make(brief(&pulled, grant), grant).await;
                let answer = self.commit(request).await.unwrap();
                assert_eq!(answer.outcome(), v1::CommitOutcome::Counted);
                commits += 1;
            }
        }
    }
}

/// The brief of a grant's job.
pub(crate) fn brief<'a>(pulled: &'a v1::PullResponse, grant: &v1::Grant) -> &'a v1::JobBrief {
    let of = |brief: &&v1::JobBrief| brief.spec.as_ref().unwrap().job == grant.job;
    pulled.jobs.iter().find(of).unwrap()
}

fn footer(spec: &JobSpec, grant: &v1::Grant, node: &str, tracks: TrackSet) -> PartFooter {
    let count = tracks.len();
    let used = StageUse {
        device_us: 1_000 * count,
        tracks: count,
        audio_ms: 20_000 * count,
        ..StageUse::default()
    };
    let waited = StageUse {
        wait_us: 9_000 * count,
        ..used
    };
    let span = |stage| StageSpan {
        stage,
        node: NodeId::new(node).unwrap(),
        device: "cpu:0".to_owned(),
        from: UnixMillis(1),
        to: UnixMillis(2),
    };
    PartFooter {
        kind: PartKind::Terminal,
        tenant: spec.tenant.clone(),
        generation: Generation(grant.generation),
        job: spec.job.clone(),
        list: spec.list,
        shard: grant.shard.parse::<ShardId>().unwrap(),
        attempt: types::Attempt(grant.attempt),
        tracks,
        escalation: None,
        bundle: spec.bundle,
        policy: spec.policy.clone(),
        epoch: Epoch(grant.epoch),
        spans: vec![span(Stage::Decode), span(Stage::Screen)],
        ledger: Ledger {
            decode: used,
            screen: waited,
            residual: StageUse::default(),
        },
    }
}

/// The verdict that every agent here gives a track.
pub(crate) fn verdict(ordinal: u32) -> Verdict {
    if ordinal.is_multiple_of(3) {
        Verdict::LikelyAi
    } else {
        Verdict::NoEvidence
    }
}

/// Whether an agent here finds a track unscannable: one that is called so, as long as it is not tried again.
fn is_broken(spec: &JobSpec, row: &CatalogRow) -> bool {
    row.key.starts_with("broken") && spec.retry.is_none()
}

fn scanned(spec: &JobSpec, row: &CatalogRow) -> TrackRow {
    let heard = heard(spec, row);
    if !is_broken(spec, row) {
        return heard;
    }
    TrackRow {
        verdict: Verdict::Unscannable,
        code: Some(types::Code::SourceUnreadable),
        screen: None,
        timeline: Vec::new(),
        features: Vec::new(),
        ..heard
    }
}

fn heard(spec: &JobSpec, row: &CatalogRow) -> TrackRow {
    let logit = if verdict(row.ordinal) == Verdict::LikelyAi {
        4.0
    } else {
        -4.0
    };
    TrackRow {
        ordinal: row.ordinal,
        track_id: row.track_id.clone(),
        source: row.source.clone(),
        key: row.key.clone(),
        isrc: row.isrc.clone(),
        declared_ai: row.declared_ai,
        verdict: verdict(row.ordinal),
        reason: None,
        code: None,
        detail: None,
        screen: Some(types::Score {
            logit,
            probability: 0.9,
            prior: 0.5,
            windows: 2,
        }),
        residual: None,
        fused: None,
        residual_features: Vec::new(),
        segments: Vec::new(),
        timeline: vec![
            types::TimelinePoint {
                start_ms: 0,
                logit,
                rms_db: Some(-20.0),
            },
            types::TimelinePoint {
                start_ms: 500,
                logit,
                rms_db: None,
            },
        ],
        features: vec![1.0, 2.0],
        thumbnail: None,
        embedding: None,
        mean: Some(0.0),
        deviation: Some(0.1),
        borderline: false,
        warnings: Vec::new(),
        duration_ms: Some(20_000),
        sample_rate_hz: Some(44_100),
        channels: Some(2),
        codec: Some("pcm".to_owned()),
        bytes: row.bytes,
        content_sha256: None,
        provenance: Vec::new(),
        bundle: spec.bundle,
        device: "cpu:0".to_owned(),
        decode_us: 500,
        screen_us: 1_000,
        residual_us: 0,
    }
}
