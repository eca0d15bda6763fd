//! Random histories: the same steps on etcd and on the model, answer by answer. Clients read, write, lead and watch; now and then an operator
//! compacts the store, and a leader's lease ends as if nobody had renewed it.

use std::collections::BTreeSet;

use etcd_client::{Client, Error};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use types::{Epoch, Millis};

use super::judge::Record;
use super::{World, in_time, put};
use crate::etcd::failure::Failure;
use crate::etcd::read::read_error;
use crate::{
    Entry, Etcd, KeyRange, LeadError, Leader, Modelled, Outcome, Page, ReadError, Revision, Seen,
    Store, Txn,
};

/// Longer than a history takes, so that no lease runs out by itself in one of the two stores first.
const LIVES: Millis = Millis(60_000);

/// Histories of their own, and the steps of each.
const SEEDS: u64 = 8;
const STEPS: usize = 150;

/// One step, in the model's revisions.
#[derive(Clone, Debug)]
enum Step {
    Status,
    Get(String),
    Range(KeyRange),
    Write(Txn),
    Lead(String),
    Keep(Epoch),
    Resign(Epoch),
    LedBy,
    Watch(String, Revision),
    Compact(Revision),
    Expire,
}

/// What a store answers to it, in the model's revisions.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Status(Result<Revision, ReadError>),
    Got(Result<Option<Entry>, ReadError>),
    Page(Result<Page, ReadError>),
    Outcome(Outcome),
    Led(Result<Epoch, LeadError>),
    Kept(Result<(), LeadError>),
    Leader(Result<Option<Leader>, ReadError>),
    Watched(Result<Record, ReadError>),
    Compacted(Result<Revision, ReadError>),
    /// Who led until then.
    Expired(Result<Option<Leader>, ReadError>),
}

/// What the histories come to between them, or they would show less than they say.
const SHOWN: [&str; 7] = [
    "a compaction",
    "a compaction of what is gone or not there yet",
    "a leader whose lease ended",
    "a leader who was told that it is lost",
    "a reading of what is gone",
    "a watch of what is gone",
    "a watch of what was",
];

/// Which of these an answer is.
fn shown(answer: &Answer) -> Option<&'static str> {
    match answer {
        Answer::Compacted(Ok(_)) => Some("a compaction"),
        Answer::Compacted(Err(_)) => Some("a compaction of what is gone or not there yet"),
        Answer::Expired(Ok(Some(_))) => Some("a leader whose lease ended"),
        Answer::Kept(Err(LeadError::Lost)) => Some("a leader who was told that it is lost"),
        Answer::Page(Err(ReadError::Compacted { .. })) => Some("a reading of what is gone"),
        Answer::Watched(Err(ReadError::Compacted { .. })) => Some("a watch of what is gone"),
        Answer::Watched(Ok(seen)) if seen.len() > 1 => Some("a watch of what was"),
        Answer::Status(_)
        | Answer::Got(_)
        | Answer::Page(_)
        | Answer::Outcome(_)
        | Answer::Led(_)
        | Answer::Kept(_)
        | Answer::Leader(_)
        | Answer::Watched(_)
        | Answer::Expired(_) => None,
    }
}

/// What is done to a store behind its clients' backs.
enum Hand<'a> {
    Model(&'a Modelled),
    Etcd { client: &'a Client, leader: &'a str },
}

impl Hand<'_> {
    async fn compact(&self, revision: Revision) -> Result<(), ReadError> {
        match self {
            Self::Model(model) => model.compact(revision),
            Self::Etcd { client, .. } => {
                let to = i64::try_from(revision.0).expect("a server's revisions are far below");
                let mut client = Client::clone(client);
                let compacted = client.compact(to, None).await;
                let failed = |error: Error| read_error(Failure::of(&error), Some(revision));
                compacted.map(drop).map_err(failed)
            }
        }
    }

    /// Ends the lease of whoever leads.
    async fn expire(&self) {
        match self {
            Self::Model(model) => model.pass(LIVES),
            Self::Etcd { client, leader } => {
                let mut client = Client::clone(client);
                let found = client.get(*leader, None).await;
                let found = found.expect("the cluster serves");
                if let Some(led) = found.kvs().first() {
                    let revoked = client.lease_revoke(led.lease()).await;
                    revoked.expect("a leader's key has a lease");
                }
            }
        }
    }
}

/// A store whose revisions lie `ahead` of the model's: etcd has made some before the history begins.
struct Ahead<'a> {
    store: &'a dyn Store,
    ahead: u64,
    hand: Hand<'a>,
}

impl Ahead<'_> {
    fn to(&self, revision: Revision) -> Revision {
        Revision(revision.0 + self.ahead)
    }

    fn from(&self, revision: Revision) -> Revision {
        Revision(revision.0 - self.ahead)
    }

    fn entry(&self, entry: Entry) -> Entry {
        let revision = self.from(entry.revision);
        Entry { revision, ..entry }
    }

    fn error(&self, error: ReadError) -> ReadError {
        match error {
            ReadError::Compacted { revision } => ReadError::Compacted {
                revision: self.from(revision),
            },
            other @ (ReadError::Damaged { .. }
            | ReadError::Invalid(_)
            | ReadError::Unavailable { .. }) => other,
        }
    }

    fn txn(&self, txn: Txn) -> Txn {
        let compares = txn.compares.into_iter().map(|compare| match compare {
            crate::Compare::At { key, revision } => crate::Compare::At {
                key,
                revision: self.to(revision),
            },
            crate::Compare::Leads(epoch) => crate::Compare::Leads(Epoch(epoch.0 + self.ahead)),
            absent @ crate::Compare::Absent { .. } => absent,
        });
        Txn {
            compares: compares.collect(),
            ops: txn.ops,
        }
    }

    fn outcome(&self, outcome: Outcome) -> Outcome {
        match outcome {
            Outcome::Applied { revision } => Outcome::Applied {
                revision: self.from(revision),
            },
            other @ (Outcome::Refused(_) | Outcome::NotApplied(_) | Outcome::Unknown { .. }) => {
                other
            }
        }
    }

    async fn take(&self, step: Step) -> Answer {
        match step {
            Step::Status => {
                let status = self.store.status().await;
                Answer::Status(status.map(|status| self.from(status.revision)))
            }
            Step::Get(key) => {
                let got = self.store.get(&key).await;
                Answer::Got(got.map(|entry| entry.map(|entry| self.entry(entry))))
            }
            Step::Range(range) => self.range(range).await,
            Step::Write(txn) => {
                let outcome = self.store.write(self.txn(txn)).await;
                Answer::Outcome(self.outcome(outcome))
            }
            Step::Lead(name) => {
                let led = self.store.lead(&name).await;
                Answer::Led(led.map(|epoch| Epoch(epoch.0 - self.ahead)))
            }
            Step::Keep(epoch) => Answer::Kept(self.store.keep(Epoch(epoch.0 + self.ahead)).await),
            Step::Resign(epoch) => {
                Answer::Kept(self.store.resign(Epoch(epoch.0 + self.ahead)).await)
            }
            Step::LedBy => Answer::Leader(self.leader().await),
            Step::Watch(prefix, after) => Answer::Watched(self.watched(&prefix, after).await),
            Step::Compact(revision) => {
                let compacted = self.hand.compact(self.to(revision)).await;
                let compacted = compacted.map(|()| revision);
                Answer::Compacted(compacted.map_err(|error| self.error(error)))
            }
            Step::Expire => {
                let led = self.leader().await;
                self.hand.expire().await;
                Answer::Expired(led)
            }
        }
    }

    async fn leader(&self) -> Result<Option<Leader>, ReadError> {
        let leader = self.store.led_by().await?;
        Ok(leader.map(|leader| Leader {
            epoch: Epoch(leader.epoch.0 - self.ahead),
            name: leader.name,
        }))
    }

    /// Everything that a watch gives, up to a change that is made for it: nothing else says where a watch is at its end.
    async fn watched(&self, prefix: &str, after: Revision) -> Result<Record, ReadError> {
        let end = put(self.store, &format!("{prefix}end"), "of a watch").await;
        let watch = self.store.watch(prefix, self.to(after)).await;
        let mut watch = watch.map_err(|error| self.error(error))?;
        let mut seen = Vec::new();
        if self.to(after) == end {
            return Ok(seen);
        }
        loop {
            let next = in_time("what a watch gives", watch.next()).await;
            match next.map_err(|error| self.error(error))? {
                Seen::Progress { .. } => {}
                Seen::Changed {
                    revision,
                    mut changes,
                } => {
                    changes.sort_by(|a, b| a.key.cmp(&b.key));
                    seen.push((self.from(revision), changes));
                    if revision >= end {
                        return Ok(seen);
                    }
                }
            }
        }
    }

    async fn range(&self, range: KeyRange) -> Answer {
        let at = range.at.map(|revision| self.to(revision));
        let page = self.store.range(&KeyRange { at, ..range }).await;
        let page = page.map(|page| Page {
            revision: self.from(page.revision),
            entries: page.entries.into_iter().map(|e| self.entry(e)).collect(),
            next: page.next,
        });
        Answer::Page(page.map_err(|error| self.error(error)))
    }
}

/// What clients know while they go on: some of it is old by then, as it should be.
struct Clients {
    dice: ChaCha8Rng,
    known: Vec<Entry>,
    epochs: Vec<Epoch>,
    head: Revision,
    compacted: Revision,
    steps: usize,
}

impl Clients {
    fn new(seed: u64) -> Self {
        Self {
            dice: ChaCha8Rng::seed_from_u64(seed),
            known: Vec::new(),
            epochs: vec![Epoch(1_000_000)],
            head: Revision(0),
            compacted: Revision(0),
            steps: 0,
        }
    }

    fn key(&mut self) -> String {
        ["a", "a/1", "a/2", "b/1", "b/\0", "ключ"][self.dice.random_range(0..6)].to_owned()
    }

    fn revision(&mut self) -> Revision {
        let near = self.head.0 + 2;
        Revision(self.dice.random_range(1..=near))
    }

    fn epoch(&mut self) -> Epoch {
        let n = self.dice.random_range(0..self.epochs.len());
        self.epochs[n]
    }

    fn next(&mut self) -> Step {
        self.steps += 1;
        // A server takes a tenth of a second to begin a watch of what was: two of sixty steps keep a history short.
        match self.dice.random_range(0..60) {
            0..3 => Step::Status,
            3..12 => Step::Get(self.key()),
            12..24 => Step::Range(self.range()),
            24..27 => Step::Lead(format!("client {}", self.steps)),
            27..30 => Step::Keep(self.epoch()),
            30..33 => Step::Resign(self.epoch()),
            33..36 => Step::LedBy,
            36..38 => Step::Watch(self.prefix(), self.revision()),
            38 => Step::Compact(self.revision()),
            39 => Step::Expire,
            _ => Step::Write(self.txn()),
        }
    }

    fn prefix(&mut self) -> String {
        ["", "a", "a/", "b/", "none"][self.dice.random_range(0..5)].to_owned()
    }

    fn range(&mut self) -> KeyRange {
        KeyRange {
            prefix: self.prefix(),
            after: self.dice.random_bool(0.3).then(|| self.key()),
            limit: self.dice.random_range(0..4),
            at: self.dice.random_bool(0.5).then(|| self.revision()),
        }
    }

    fn txn(&mut self) -> Txn {
        let mut txn = Txn::default();
        if self.dice.random_bool(0.3) {
            txn = Txn::under(self.epoch());
        }
        for _ in 0..self.dice.random_range(0..3) {
            txn = self.compared(txn);
        }
        for _ in 0..self.dice.random_range(0..4) {
            let (key, value) = (self.key(), format!("{}", self.steps));
            txn = match self.dice.random_bool(0.7) {
                true => txn.put(key, value),
                false => txn.delete(key),
            };
        }
        txn
    }

    fn compared(&mut self, txn: Txn) -> Txn {
        let known = self.dice.random_range(0..4);
        match self.known.len().checked_sub(known + 1) {
            Some(n) if known < 3 => txn.at(self.known[n].key.clone(), self.known[n].revision),
            Some(_) | None if self.dice.random_bool(0.5) => txn.absent(self.key()),
            Some(_) | None => {
                let (key, revision) = (self.key(), self.revision());
                txn.at(key, revision)
            }
        }
    }

    fn hear(&mut self, answer: &Answer) {
        match answer {
            Answer::Got(Ok(Some(entry))) => self.known.push(entry.clone()),
            Answer::Page(Ok(page)) => self.known.extend(page.entries.iter().cloned()),
            Answer::Led(Ok(epoch)) => self.epochs.push(*epoch),
            Answer::Outcome(Outcome::Applied { revision }) | Answer::Status(Ok(revision)) => {
                self.head = *revision;
            }
            Answer::Compacted(Ok(revision)) => self.compacted = *revision,
            Answer::Got(_)
            | Answer::Page(_)
            | Answer::Led(_)
            | Answer::Outcome(_)
            | Answer::Status(_)
            | Answer::Kept(_)
            | Answer::Leader(_)
            | Answer::Watched(_)
            | Answer::Compacted(_)
            | Answer::Expired(_) => {}
        }
    }
}

#[tokio::test]
async fn etcd_answers_step_by_step_what_the_model_answers() {
    let world = World::one().await;
    let mut all = BTreeSet::new();
    for seed in 0..SEEDS {
        let prefix = format!("seed-{seed}");
        let mut settings = world.cluster.settings(&prefix);
        settings.leadership = std::time::Duration::from_millis(LIVES.0);
        let etcd = Etcd::open(settings).await.expect("the cluster serves");
        let leader = format!("{prefix}/leader/{:016x}", etcd.identity().record);
        let client = world.cluster.client(0).await;
        let ahead = etcd.status().await.expect("the cluster serves").revision.0;
        let etcd = Ahead {
            store: &etcd,
            ahead,
            hand: Hand::Etcd {
                client: &client,
                leader: &leader,
            },
        };
        let model = Modelled::new(7).with_leadership(LIVES);
        let model = Ahead {
            store: &model,
            ahead: 0,
            hand: Hand::Model(&model),
        };
        all.extend(compare(seed, &etcd, &model).await);
    }
    assert_eq!(all, BTreeSet::from(SHOWN));
}

/// Lets both stores take the same steps, and gives what was shown by it.
async fn compare(seed: u64, etcd: &Ahead<'_>, model: &Ahead<'_>) -> BTreeSet<&'static str> {
    let mut clients = Clients::new(seed);
    let mut all = BTreeSet::new();
    for n in 0..STEPS {
        let step = clients.next();
        let expected = model.take(step.clone()).await;
        let answered = etcd.take(step.clone()).await;
        assert_eq!(answered, expected, "seed {seed}, step {n}: {step:?}");
        clients.hear(&expected);
        all.extend(shown(&expected));
    }
    // The first change that is kept is the one at the revision to which all was compacted.
    let earliest = Revision(clients.compacted.0.saturating_sub(1));
    let expected = model.watched("", earliest).await;
    let seen = etcd.watched("", earliest).await;
    assert!(expected.is_ok(), "seed {seed}: {expected:?}");
    assert_eq!(seen, expected, "seed {seed}: the watch of all that is kept");
    if let Ok(Some(leader)) = model.store.led_by().await {
        let resigned = etcd.take(Step::Resign(leader.epoch)).await;
        assert_eq!(resigned, Answer::Kept(Ok(())));
    }
    all
}
