//! The work of a run: jobs over one catalogue, so many open at once that no node ever lacks any. Each has a thread of its own that submits it, sees it
//! published and goes on with the next, so that a command that hangs holds up no other job. One that fails under a fault is given
//! again under the same name, so that nothing is submitted twice.

use crate::books::Books;
use anyhow::{Context, Result, bail};
use cluster::Operator;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The catalogue of the run.
pub(crate) const CATALOG: &str = "music";

/// Jobs open at once: a node that dies holds up the last shards of several for as long as a grant lives, and others go on.
const OPEN: u64 = 6;

/// Between two looks at the books.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Between two tries to submit: a leader that is gone is another one's within seconds.
const TRY_EVERY: Duration = Duration::from_millis(500);

/// How often scanctl is asked about an open job: the line that tells of its end is lost where its leader dies before it writes it.
const ASK_EVERY: Duration = Duration::from_secs(10);

/// How long open jobs may take to be published once no fault lasts: far beyond every time-out and back-off of the product.
const CALM: Duration = Duration::from_secs(600);

/// What became of the jobs.
#[derive(Debug, Default, Clone)]
pub(crate) struct Jobs {
    /// Those that are published, in their order.
    pub(crate) published: Vec<String>,
    /// Those that are not yet, or never were.
    pub(crate) open: Vec<String>,
}

/// The running submitters.
pub(crate) struct Work {
    jobs: Arc<Mutex<Jobs>>,
    stopped: Arc<OnceLock<Instant>>,
    threads: Vec<JoinHandle<()>>,
}

impl Work {
    pub(crate) fn begin(operator: &Operator, books: &Arc<Mutex<Books>>) -> Self {
        let jobs = Arc::<Mutex<Jobs>>::default();
        let stopped = Arc::<OnceLock<Instant>>::default();
        let numbers = Arc::<AtomicU64>::default();
        let seat = || Seat {
            operator: operator.clone(),
            books: Arc::clone(books),
            jobs: Arc::clone(&jobs),
            numbers: Arc::clone(&numbers),
            stopped: Arc::clone(&stopped),
            asked: Instant::now(),
        };
        let threads = (0..OPEN).map(|number| {
            let mut seat = seat();
            std::thread::spawn(move || seat.work(number == 0))
        });
        Self {
            threads: threads.collect(),
            jobs,
            stopped,
        }
    }

    /// The job that was published first, once one is.
    pub(crate) fn first(&self) -> Option<String> {
        lock(&self.jobs).published.first().cloned()
    }

    /// What becomes of the jobs, as it does.
    pub(crate) fn jobs(&self) -> Arc<Mutex<Jobs>> {
        Arc::clone(&self.jobs)
    }

    /// Nothing more is begun from here on.
    pub(crate) fn stop(&self) {
        self.stopped.get_or_init(Instant::now);
    }

    /// Whether all that was begun is published, or was given up.
    pub(crate) fn is_over(&self) -> bool {
        self.threads.iter().all(JoinHandle::is_finished)
    }

    /// What became of the jobs, once it is over.
    pub(crate) fn end(self) -> Jobs {
        self.stop();
        for thread in self.threads {
            let _ = thread.join();
        }
        lock(&self.jobs).clone()
    }
}

/// The jobs as they are at this moment.
pub(crate) fn lock(jobs: &Mutex<Jobs>) -> MutexGuard<'_, Jobs> {
    jobs.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Who has one job open at a time.
struct Seat {
    operator: Operator,
    books: Arc<Mutex<Books>>,
    jobs: Arc<Mutex<Jobs>>,
    numbers: Arc<AtomicU64>,
    stopped: Arc<OnceLock<Instant>>,
    asked: Instant,
}

impl Seat {
    /// One job after the other. The run's first is alone, since everything waits for it.
    fn work(&mut self, begins: bool) {
        let mut may_begin = begins;
        while self.stopped.get().is_none() {
            may_begin = may_begin || !lock(&self.jobs).published.is_empty();
            match may_begin {
                true => self.see_through(self.numbers.fetch_add(1, Ordering::SeqCst)),
                false => std::thread::sleep(LOOK_EVERY),
            }
        }
    }

    /// Whoever has begun a job sees it published: one whose submission was not answered may be there.
    fn see_through(&mut self, number: u64) {
        let Some(job) = self.submitted(number) else {
            return lock(&self.jobs).open.push(format!("chaos-{number}"));
        };
        lock(&self.jobs).open.push(job.clone());
        while !self.is_published(&job) {
            if self.is_given_up() {
                return;
            }
            std::thread::sleep(LOOK_EVERY);
        }
        let mut jobs = lock(&self.jobs);
        jobs.open.retain(|other| *other != job);
        jobs.published.push(job);
    }

    fn submitted(&self, number: u64) -> Option<String> {
        loop {
            // Where it fails nobody leads, or nobody is reached.
            match submit(&self.operator, number) {
                Ok(job) => return Some(job),
                Err(_) if self.is_given_up() => return None,
                Err(_) => std::thread::sleep(TRY_EVERY),
            }
        }
    }

    fn is_published(&mut self, job: &str) -> bool {
        let books = self.books.lock().unwrap_or_else(PoisonError::into_inner);
        let told = books.published.contains(job);
        drop(books);
        if told || self.asked.elapsed() < ASK_EVERY {
            return told;
        }
        self.asked = Instant::now();
        let said = self.operator.try_ask(&["scan", "get", job]);
        said.is_ok_and(|said| said["state"] == "published")
    }

    fn is_given_up(&self) -> bool {
        let since = self.stopped.get();
        since.is_some_and(|since| since.elapsed() >= CALM)
    }
}

fn submit(operator: &Operator, number: u64) -> Result<String> {
    let name = format!("chaos-{number}");
    let words = ["scan", "submit", "--catalog", CATALOG, "--stages", "both"];
    let more = [
        "--shard-tracks",
        "64",
        "--accept-demonstration",
        "--request-id",
        &name,
    ];
    let said = operator.try_ask(&[&words[..], &more].concat())?;
    let job = said["job"].as_str().context("read the job's name")?;
    Ok(job.to_owned())
}

/// Imports the catalogue, whose tracks lie in the source of that name.
pub(crate) fn import(operator: &Operator, tracks: usize) -> Result<()> {
    let said = operator.ask(&["catalog", "import", CATALOG, "", "--source", "music"])?;
    if said["snapshot"]["rows"] != tracks {
        bail!("import {tracks} tracks: {said}");
    }
    Ok(())
}
