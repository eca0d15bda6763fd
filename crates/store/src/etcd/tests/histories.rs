//! Random histories: the same steps on etcd and on the model, answer by answer.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use types::{Epoch, Millis};

use super::judge::Record;
use super::{World, in_time, put};
use crate::{
    Entry, Etcd, KeyRange, LeadError, Leader, Modelled, Outcome, Page, ReadError, Revision, Seen,
    Store, Txn,
};

/// Longer than a history takes, so that no lease runs out in one of the two stores first.
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
}

/// A store whose revisions lie `ahead` of the model's: etcd has made some before the history begins.
struct Ahead<'a> {
    store: &'a dyn Store,
    ahead: u64,
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
            Step::LedBy => {
                let leader = self.store.led_by().await;
                Answer::Leader(leader.map(|leader| {
                    leader.map(|leader| Leader {
                        epoch: Epoch(leader.epoch.0 - self.ahead),
                        name: leader.name,
                    })
                }))
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
    steps: usize,
}

impl Clients {
    fn new(seed: u64) -> Self {
        Self {
            dice: ChaCha8Rng::seed_from_u64(seed),
            known: Vec::new(),
            epochs: vec![Epoch(1_000_000)],
            head: Revision(0),
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
        match self.dice.random_range(0..20) {
            0 => Step::Status,
            1..4 => Step::Get(self.key()),
            4..8 => Step::Range(self.range()),
            8 => Step::Lead(format!("client {}", self.steps)),
            9 => Step::Keep(self.epoch()),
            10 => Step::Resign(self.epoch()),
            11 => Step::LedBy,
            _ => Step::Write(self.txn()),
        }
    }

    fn range(&mut self) -> KeyRange {
        let prefix = ["", "a", "a/", "b/", "none"][self.dice.random_range(0..5)];
        KeyRange {
            prefix: prefix.to_owned(),
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
            Answer::Got(_)
            | Answer::Page(_)
            | Answer::Led(_)
            | Answer::Outcome(_)
            | Answer::Status(_)
            | Answer::Kept(_)
            | Answer::Leader(_) => {}
        }
    }
}

#[tokio::test]
async fn etcd_answers_step_by_step_what_the_model_answers() {
    let world = World::one().await;
    for seed in 0..SEEDS {
        let mut settings = world.cluster.settings(&format!("seed-{seed}"));
        settings.leadership = std::time::Duration::from_millis(LIVES.0);
        let etcd = Etcd::open(settings).await.expect("the cluster serves");
        let model = Modelled::new(7).with_leadership(LIVES);
        compare(seed, &etcd, &model).await;
    }
}

async fn compare(seed: u64, etcd: &Etcd, model: &Modelled) {
    let ahead = etcd.status().await.expect("the cluster serves").revision.0;
    let etcd = Ahead { store: etcd, ahead };
    let model = Ahead {
        store: model,
        ahead: 0,
    };
    let mut clients = Clients::new(seed);
    for n in 0..STEPS {
        let step = clients.next();
        let expected = model.take(step.clone()).await;
        let answered = etcd.take(step.clone()).await;
        assert_eq!(answered, expected, "seed {seed}, step {n}: {step:?}");
        clients.hear(&expected);
    }
    let head = model
        .store
        .status()
        .await
        .expect("a model answers")
        .revision;
    let (seen, expected) = (changes(&etcd, head).await, changes(&model, head).await);
    assert_eq!(seen, expected, "seed {seed}: the watch from the beginning");
    if let Ok(Some(leader)) = model.store.led_by().await {
        let resigned = etcd.take(Step::Resign(leader.epoch)).await;
        assert_eq!(resigned, Answer::Kept(Ok(())));
    }
}

/// Everything that a watch from the beginning gives, up to a revision.
async fn changes(of: &Ahead<'_>, head: Revision) -> Record {
    // A last change, so that the end is seen; both stores are as far then.
    let end = put(of.store, "end", "of the history").await;
    assert!(of.from(end) > head);
    let watch = of.store.watch("", of.to(Revision(0))).await;
    let mut watch = watch.expect("a reachable store answers");
    let mut seen = Vec::new();
    loop {
        match in_time("the end of a history", watch.next()).await.unwrap() {
            Seen::Progress { .. } => {}
            Seen::Changed {
                revision,
                mut changes,
            } => {
                changes.sort_by(|a, b| a.key.cmp(&b.key));
                seen.push((of.from(revision), changes));
                if revision >= end {
                    return seen;
                }
            }
        }
    }
}
