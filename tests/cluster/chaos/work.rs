//! The work of a run: jobs over one catalogue, so many open at once that no node ever lacks any, the next submitted as one is published. A command that
//! fails under a fault is given again under the same name, so that nothing is submitted twice.

use crate::books::Books;
use crate::operator::Operator;
use anyhow::{Context, Result, bail};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The catalogue of the run.
pub(crate) const CATALOG: &str = "music";

/// Jobs open at once: while the last shards of one are held up by a fault, nodes find others.
const OPEN: usize = 3;

/// Between two looks at the books.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How often scanctl is asked about open jobs: the line that tells of a job's end is lost where its leader dies before it writes it.
const ASK_EVERY: Duration = Duration::from_secs(10);

/// How long open jobs may take to be published once no fault lasts: far beyond every time-out and back-off of the product.
const CALM: Duration = Duration::from_secs(600);

/// What became of the jobs.
#[derive(Debug, Default)]
pub(crate) struct Jobs {
    /// Those that are published, in their order.
    pub(crate) published: Vec<String>,
    /// Those that are not yet, or never were.
    pub(crate) open: Vec<String>,
}

/// The running submitter.
pub(crate) struct Work {
    jobs: Arc<Mutex<Jobs>>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Work {
    pub(crate) fn begin(operator: Operator, books: Arc<Mutex<Books>>) -> Self {
        let (jobs, stop) = (Arc::<Mutex<Jobs>>::default(), Arc::<AtomicBool>::default());
        let (shared, stopped) = (Arc::clone(&jobs), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            let mut hand = Hand {
                operator,
                books,
                jobs: shared,
                submitted: 0,
                asked: Instant::now(),
            };
            while !stopped.load(Ordering::SeqCst) {
                hand.look();
                hand.fill();
                std::thread::sleep(LOOK_EVERY);
            }
            let until = Instant::now() + CALM;
            while hand.look() > 0 && Instant::now() < until {
                std::thread::sleep(LOOK_EVERY);
            }
        });
        Self { jobs, stop, thread }
    }

    /// Jobs published so far.
    pub(crate) fn published(&self) -> usize {
        self.jobs
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .published
            .len()
    }

    /// Nothing more is submitted from here on.
    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::SeqCst);
    }

    /// Whether all that was submitted is published, or was given up.
    pub(crate) fn is_over(&self) -> bool {
        self.thread.is_finished()
    }

    /// What became of the jobs, once it is over.
    pub(crate) fn end(self) -> Jobs {
        self.stop();
        let _ = self.thread.join();
        std::mem::take(&mut *self.jobs.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

struct Hand {
    operator: Operator,
    books: Arc<Mutex<Books>>,
    jobs: Arc<Mutex<Jobs>>,
    submitted: u64,
    asked: Instant,
}

impl Hand {
    /// Looks which jobs are published, and gives how many are not.
    fn look(&mut self) -> usize {
        let asks = self.asked.elapsed() >= ASK_EVERY;
        if asks {
            self.asked = Instant::now();
        }
        let open = self.lock().open.clone();
        for job in open {
            if self.is_published(&job, asks) {
                let mut jobs = self.lock();
                jobs.open.retain(|other| *other != job);
                jobs.published.push(job);
            }
        }
        self.lock().open.len()
    }

    fn is_published(&self, job: &str, asks: bool) -> bool {
        let books = self.books.lock().unwrap_or_else(PoisonError::into_inner);
        let told = books.published.contains(job);
        drop(books);
        let state = || Some(self.operator.ask(&["scan", "get", job]).ok()?["state"].clone());
        told || asks && state().is_some_and(|state| state == "published")
    }

    /// Submits what is wanting; the first job is alone, since everything waits for it.
    fn fill(&mut self) {
        let wanted = match self.lock().published.is_empty() {
            true => 1,
            false => OPEN,
        };
        while self.lock().open.len() < wanted {
            let Ok(job) = submit(&self.operator, self.submitted) else {
                // Nobody leads, or nobody is reached: asked again at the next look.
                return;
            };
            self.submitted += 1;
            self.lock().open.push(job);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Jobs> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
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
    let said = operator.ask(&[&words[..], &more].concat())?;
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
