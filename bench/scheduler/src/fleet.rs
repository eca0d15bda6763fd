//! Many nodes around one core: who does what when, and what became of the job.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use anyhow::{Context, bail};
use scheduler::record::{JobState, Lane};
use scheduler::{Answer, JobKey, JobView, Request, Submission};
use types::{
    ActorId, CatalogName, Digest, JobId, JobSpec, Millis, Policy, Requirements, ShardPlan, Stages,
    TenantId, UnixMillis,
};

use crate::machine;
use crate::node::{Ends, Node, Offer};
use crate::shell::{Answered, Asker, GENERATION, Shell};

/// Time between two beats: the product's default.
const BEAT_EVERY: Millis = Millis(2_000);

/// How long a job may take in virtual time before it is said to hang: ten times what the fleet needs for it.
const HANGS_AFTER: Millis = Millis(40_000_000);

/// What a node does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Beat,
    /// The grant at work is done, if the node's plan is still of that number.
    Done(u64),
}

/// Nodes around a core.
pub(crate) struct Fleet {
    /// The core and its store.
    pub(crate) shell: Shell,
    /// Grants that beats have renewed.
    pub(crate) renewed: u64,
    nodes: Vec<Node>,
    agenda: BinaryHeap<Reverse<(Millis, usize, Due)>>,
    answers: Vec<Answered>,
    job: JobKey,
}

impl Fleet {
    /// So many nodes that have joined, and one job of so many tracks, over a store whose writes take so long.
    ///
    /// # Errors
    /// When the core refuses any of it.
    pub(crate) fn new(nodes: usize, tracks: u32, write_takes: Millis) -> anyhow::Result<Self> {
        Self::around(Shell::new(write_takes), nodes, tracks, Stages::Screen)
    }

    /// The same around a shell that no time passes in and that keeps every record, with a job of these stages.
    ///
    /// # Errors
    /// When the core refuses any of it.
    pub(crate) fn kept(nodes: usize, tracks: u32, stages: Stages) -> anyhow::Result<Self> {
        Self::around(Shell::keeping(), nodes, tracks, stages)
    }

    fn around(shell: Shell, nodes: usize, tracks: u32, stages: Stages) -> anyhow::Result<Self> {
        let mut fleet = Self {
            shell,
            renewed: 0,
            nodes: (0..nodes).map(|n| Node::new(n, rate(n))).collect(),
            agenda: BinaryHeap::new(),
            answers: Vec::new(),
            job: JobKey {
                tenant: TenantId::default(),
                job: JobId::new("scan").context("name a job")?,
            },
        };
        for node in 0..nodes {
            fleet.ask(node, fleet.nodes[node].join());
        }
        fleet.ask(0, submission(&fleet.job, tracks, stages)?);
        fleet.settle()?;
        Ok(fleet)
    }

    /// Lets the fleet work until the job is published.
    ///
    /// # Errors
    /// When the core refuses a call, or the job does not end.
    pub(crate) fn scan(&mut self) -> anyhow::Result<()> {
        for node in 0..self.nodes.len() {
            let offset = BEAT_EVERY.0 * node as u64 / self.nodes.len() as u64;
            self.agenda.push(Reverse((Millis(offset), node, Due::Beat)));
            self.pull(node);
        }
        while !self.is_published() {
            self.next()?;
            if self.shell.now > HANGS_AFTER {
                bail!("the job did not end within {HANGS_AFTER} of virtual time");
            }
        }
        Ok(())
    }

    /// Lets every node take as many tracks as it may hold, until nothing is left or nobody may hold more.
    ///
    /// # Errors
    /// When the core refuses a pull.
    pub(crate) fn take_all(&mut self) -> anyhow::Result<()> {
        let mut before = u64::MAX;
        while self.open()? < before {
            before = self.open()?;
            for node in 0..self.nodes.len() {
                let request = self.nodes[node].pull_for(u32::MAX);
                self.ask(node, request);
                self.settle()?;
            }
        }
        Ok(())
    }

    /// Lets every node commit the next tracks of each grant that it holds.
    ///
    /// # Errors
    /// When the core refuses a commit.
    pub(crate) fn flush_all(&mut self, tracks: u32) -> anyhow::Result<()> {
        self.flush_from(0, tracks, Ends::All)
    }

    /// The same for the nodes from one on, whose tracks end as said.
    ///
    /// # Errors
    /// When the core refuses a commit.
    pub(crate) fn flush_from(
        &mut self,
        first: usize,
        tracks: u32,
        ends: Ends,
    ) -> anyhow::Result<()> {
        for node in first..self.nodes.len() {
            for offer in self.nodes[node].flush(self.shell.now, tracks, ends) {
                self.offer(node, offer);
            }
            self.settle()?;
        }
        Ok(())
    }

    /// Bytes that the nodes' own model takes, at the least: what a copy of it takes.
    pub(crate) fn model_bytes(&self) -> u64 {
        let before = machine::allocated();
        let copy = self.nodes.clone();
        let bytes = machine::allocated() - before;
        drop(copy);
        bytes
    }

    /// The job as the core knows it.
    ///
    /// # Errors
    /// When it does not know it.
    pub(crate) fn job(&self) -> anyhow::Result<JobView<'_>> {
        self.shell.core.job(&self.job).context("the job is known")
    }

    /// Tracks that nobody holds and no part covers.
    ///
    /// # Errors
    /// When the core does not know the job.
    pub(crate) fn open(&self) -> anyhow::Result<u64> {
        let totals = self.job()?.totals;
        Ok(totals.tracks - totals.granted - totals.done)
    }

    fn is_published(&self) -> bool {
        let job = self.shell.core.job(&self.job);
        job.is_some_and(|job| matches!(job.record.state, JobState::Published(_)))
    }

    /// The next thing that happens: a write comes back, or a node does something.
    fn next(&mut self) -> anyhow::Result<()> {
        let due = self.agenda.peek().map(|Reverse((at, ..))| *at);
        let due = due.context("every node beats on")?;
        if self.shell.next_write().is_some_and(|at| at <= due) {
            self.shell.land(&mut self.answers);
        } else if let Some(Reverse((at, node, due))) = self.agenda.pop() {
            self.shell.now = self.shell.now.max(at);
            self.shell.tick(&mut self.answers);
            self.due(node, due);
        }
        self.take_answers()
    }

    fn due(&mut self, node: usize, due: Due) {
        let now = self.shell.now;
        match due {
            Due::Beat => {
                let beat = self.nodes[node].beat(now);
                self.ask(node, beat);
                self.pull(node);
                let next = now + BEAT_EVERY;
                self.agenda.push(Reverse((next, node, Due::Beat)));
            }
            Due::Done(plan) if plan == self.nodes[node].plan => {
                if let Some(offer) = self.nodes[node].finish(now) {
                    self.offer(node, offer);
                }
                self.begin(node);
            }
            Due::Done(_) => {}
        }
    }

    fn pull(&mut self, node: usize) {
        if let Some(request) = self.nodes[node].pull(self.shell.now) {
            self.ask(node, request);
        }
    }

    /// Plans the end of the grant that the node is at, or is to begin.
    fn begin(&mut self, node: usize) {
        let one = &mut self.nodes[node];
        one.plan += 1;
        if let Some(at) = one.begin(self.shell.now) {
            self.agenda.push(Reverse((at, node, Due::Done(one.plan))));
        }
    }

    fn ask(&mut self, node: usize, request: Request) {
        let asker = Asker { node, about: None };
        self.shell.ask(asker, request, &mut self.answers);
    }

    fn offer(&mut self, node: usize, (about, request): Offer) {
        let about = Some(about);
        let asker = Asker { node, about };
        self.shell.ask(asker, request, &mut self.answers);
    }

    /// Lets all that is under way end, without letting time pass for nodes.
    fn settle(&mut self) -> anyhow::Result<()> {
        self.take_answers()?;
        while self.shell.next_write().is_some() {
            self.shell.land(&mut self.answers);
            self.take_answers()?;
        }
        Ok(())
    }

    fn take_answers(&mut self) -> anyhow::Result<()> {
        while let Some((asker, answer)) = self.answers.pop() {
            let answer = answer.with_context(|| format!("answer to node {}", asker.node))?;
            self.take(asker, answer);
        }
        Ok(())
    }

    fn take(&mut self, asker: Asker, answer: Answer) {
        let (now, at) = (self.shell.now, asker.node);
        let node = &mut self.nodes[at];
        let plan = node.plan;
        match answer {
            Answer::Joined(joined) => node.joined(joined.session),
            Answer::Pulled(pulled) => {
                if node.pulled(now, pulled) {
                    self.begin(at);
                }
            }
            Answer::Beaten(beaten) => {
                self.renewed += beaten.orders.len() as u64;
                let pull_now = node.beaten(now, &beaten);
                if node.plan != plan {
                    self.begin(at);
                }
                if pull_now {
                    self.pull(at);
                }
            }
            Answer::Committed(committed) => {
                if let Some(about) = asker.about {
                    node.committed(about, &committed);
                    self.begin(at);
                }
            }
            Answer::Submitted { .. }
            | Answer::Changed { .. }
            | Answer::Revoked { .. }
            | Answer::Done => {}
        }
    }
}

/// Tracks that a node does in 1,000 seconds: about 37 a second, as published for transcription on an L4, and from half to
/// one and a half times that, since no fleet is even.
const fn rate(node: usize) -> u32 {
    18_500 + 370 * ((node * 37) % 100) as u32
}

fn submission(job: &JobKey, tracks: u32, stages: Stages) -> anyhow::Result<Request> {
    let spec = JobSpec {
        tenant: job.tenant.clone(),
        actor: ActorId::default(),
        job: job.job.clone(),
        generation: GENERATION,
        catalog: CatalogName::new("catalog").context("name a catalog")?,
        list: Digest([2; 32]),
        plan: ShardPlan::new(tracks, None),
        bundle: Digest([3; 32]),
        policy: Policy {
            stages,
            ..Policy::default()
        },
        submitted_at: UnixMillis(1_700_000_000_000),
        retry: None,
    };
    Ok(Request::Submit(Submission {
        spec_sha256: Digest([4; 32]),
        spec,
        lane: Lane::Batch,
        priority: 0,
        deadline: None,
        requires: Requirements::default(),
    }))
}
