//! `trackscan-sim`: runs seeds of the simulator and replays what failed. It owns the clock, the files and the threads; the
//! simulation knows none of them.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use clap::{Parser, Subcommand};
use scheduler::journal::Replay;
use sim::{Origin, Record, Report, Tally, bounds, fault_kinds, run};

/// A virtual cluster around both cores, with faults, judged at every step.
#[derive(Parser)]
#[command(version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run seeds one after the other, and print one line about them all
    Run {
        /// The first seed
        #[arg(long, default_value_t = 0)]
        from: u64,
        /// How many
        #[arg(long, default_value_t = 100)]
        seeds: u64,
        /// Threads
        #[arg(long, default_value_t = 2)]
        jobs: usize,
        /// One seed in so many runs twice and must give the same log; unless given, every one of a slice that begins below seed 2,000, and one
        /// in twenty of any other
        #[arg(long)]
        twice_every: Option<u64>,
        /// A file to which a line about these seeds is appended
        #[arg(long)]
        record: Option<PathBuf>,
        /// The commit that the line names
        #[arg(long, default_value = "unknown")]
        commit: String,
        /// Where the logs of failures are kept
        #[arg(long, default_value = "sim-failures")]
        keep: PathBuf,
        /// Go on after a failure, and count them
        #[arg(long)]
        go_on: bool,
        /// A cluster to which nothing happens
        #[arg(long)]
        calm: bool,
    },
    /// Plant one bug after the other and print what found it
    #[cfg(feature = "mutants")]
    Mutants {
        /// The first seed
        #[arg(long, default_value_t = 0)]
        from: u64,
        /// Most seeds for each
        #[arg(long, default_value_t = 20_000)]
        seeds: u64,
        /// Only those whose names have this in them
        #[arg(long)]
        only: Option<String>,
    },
    /// Run a failure again, exactly, and print its log
    Replay {
        /// A log kept by `run`
        #[arg(required_unless_present_any = ["seed", "journal"], conflicts_with_all = ["seed", "journal"])]
        file: Option<PathBuf>,
        /// Or the journal of a coordinator: its events go through a core again, which must do and know the same
        #[arg(long, conflicts_with = "seed")]
        journal: Option<PathBuf>,
        /// Or a seed
        #[arg(long)]
        seed: Option<u64>,
        /// Print only so many lines from the end; all where 0
        #[arg(long, default_value_t = 40)]
        tail: usize,
        /// With a bug planted, by the name that `mutants` prints
        #[cfg(feature = "mutants")]
        #[arg(long, requires = "seed")]
        planted: Option<String>,
    },
}

fn main() -> Result<()> {
    // What a core's panic says is in the report; its trace would only hide the rest.
    std::panic::set_hook(Box::new(|_| {}));
    match Cli::parse().command {
        Command::Run {
            from,
            seeds,
            jobs,
            twice_every,
            record,
            commit,
            keep,
            go_on,
            calm,
        } => {
            let fewer = if from < ALL_TWICE { 1 } else { 20 };
            let slice = Slice {
                from,
                seeds,
                twice_every: twice_every.unwrap_or(fewer),
                record: record.map(|file| (file, commit)),
                keep,
                go_on,
                calm,
            };
            slice.run(jobs)
        }
        #[cfg(feature = "mutants")]
        Command::Mutants { from, seeds, only } => {
            mutants(from..from.saturating_add(seeds), &only.unwrap_or_default())
        }
        Command::Replay {
            file,
            journal,
            seed,
            tail,
            #[cfg(feature = "mutants")]
            planted,
        } => {
            #[cfg(feature = "mutants")]
            planted.as_deref().map_or(Ok(()), plant_named)?;
            match (file, journal) {
                (Some(file), _) => replay_file(&file, tail),
                (None, Some(journal)) => replay_journal(&journal),
                (None, None) => replay_seed(seed.unwrap_or(0), tail),
            }
        }
    }
}

/// A slice that begins below it runs every seed twice.
const ALL_TWICE: u64 = 2_000;

/// Seeds that are run together.
struct Slice {
    from: u64,
    seeds: u64,
    twice_every: u64,
    /// Where a line is appended, and the commit that it names.
    record: Option<(PathBuf, String)>,
    keep: PathBuf,
    go_on: bool,
    calm: bool,
}

#[derive(Default)]
struct Sum {
    tally: Tally,
    seeds: u64,
    twice: u64,
    failures: Vec<String>,
}

impl Slice {
    fn run(&self, jobs: usize) -> Result<()> {
        let begun = Instant::now();
        let (next, stop, sum) = (
            AtomicU64::new(0),
            AtomicBool::new(false),
            Mutex::new(Sum::default()),
        );
        std::thread::scope(|scope| {
            for _ in 0..jobs.max(1) {
                scope.spawn(|| self.work(&next, &stop, &sum));
            }
        });
        let sum = sum.into_inner().unwrap_or_default();
        self.print(&sum, begun.elapsed().as_secs_f64());
        if let Some((file, commit)) = &self.record {
            self.append(&sum, file, commit)?;
        }
        ensure!(
            sum.failures.is_empty(),
            "{} of {} seeds failed",
            sum.failures.len(),
            sum.seeds
        );
        Ok(())
    }

    fn work(&self, next: &AtomicU64, stop: &AtomicBool, sum: &Mutex<Sum>) {
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            if at >= self.seeds || stop.load(Ordering::Relaxed) {
                return;
            }
            let seed = self.from + at;
            let origin = self.origin(seed);
            let report = run(&origin, false);
            let twice = self.twice_every > 0 && at.is_multiple_of(self.twice_every);
            let failure = self.judge(seed, &origin, &report, twice);
            let Ok(mut sum) = sum.lock() else { return };
            sum.tally.add(&report.tally);
            sum.seeds += 1;
            sum.twice += u64::from(twice);
            if let Some(failure) = failure {
                eprintln!("{failure}");
                sum.failures.push(failure);
                stop.store(!self.go_on, Ordering::Relaxed);
            }
        }
    }

    fn origin(&self, seed: u64) -> Origin {
        if self.calm {
            Origin::Calm(seed)
        } else {
            Origin::Seed(seed)
        }
    }

    /// What failed, in words; its log is kept.
    fn judge(&self, seed: u64, origin: &Origin, report: &Report, twice: bool) -> Option<String> {
        let again = (twice || report.violation.is_some()).then(|| {
            let keep_log = report.violation.is_some();
            run(origin, keep_log)
        });
        let same = again
            .as_ref()
            .map_or(Ok(()), |again| report.agrees_with(again));
        let what = match (&report.violation, same) {
            (_, Err(differs)) => differs.to_string(),
            (Some(violation), Ok(())) => format!("{} {}", violation.id, violation.what),
            (None, Ok(())) => return None,
        };
        let kept = again.map(|again| self.keep_log(seed, &again));
        let place = match kept {
            Some(Ok(path)) => path.display().to_string(),
            Some(Err(error)) => format!("not kept: {error:#}"),
            None => String::new(),
        };
        Some(format!("seed {seed}: {what} ({place})"))
    }

    fn keep_log(&self, seed: u64, report: &Report) -> Result<PathBuf> {
        fs::create_dir_all(&self.keep)
            .with_context(|| format!("make folder `{}`", self.keep.display()))?;
        let path = self.keep.join(format!("seed-{seed}.log"));
        let text = Record::of(seed, report).to_text();
        fs::write(&path, text).with_context(|| format!("write `{}`", path.display()))?;
        Ok(path)
    }

    /// Appends what these seeds came to.
    fn append(&self, sum: &Sum, file: &Path, commit: &str) -> Result<()> {
        let open = fs::OpenOptions::new().create(true).append(true).open(file);
        let mut file_open = open.with_context(|| format!("open `{}`", file.display()))?;
        writeln!(file_open, "{} commit {commit}", self.line(sum))
            .with_context(|| format!("append to `{}`", file.display()))
    }

    #[expect(clippy::print_stdout, reason = "the summary is this program's output")]
    fn print(&self, sum: &Sum, seconds: f64) {
        let rate = sum.seeds as f64 / seconds.max(0.001);
        println!("{} seconds {seconds:.1} seeds/s {rate:.1}", self.line(sum));
        for kind in fault_kinds() {
            let times = sum.tally.struck.get(kind).copied().unwrap_or_default();
            println!("  {kind:<24} {times:>9}");
        }
        for bound in bounds() {
            let times = sum.tally.reached.get(bound).copied().unwrap_or_default();
            println!("  {bound:<24} {times:>9}");
        }
    }

    fn line(&self, sum: &Sum) -> String {
        let tally = &sum.tally;
        format!(
            "seeds {}..{} run {} twice {} cluster-hours {:.1} events {} handled {} faults {} reigns {} grants {} commits {} \
             revocations {} collected {} published {} cancelled {} violations {}",
            self.from,
            self.from + self.seeds,
            sum.seeds,
            sum.twice,
            tally.cluster_hours(),
            tally.events,
            tally.handled,
            tally.faults,
            tally.reigns,
            tally.grants,
            tally.commits,
            tally.revocations,
            tally.collected,
            tally.published,
            tally.cancelled,
            sum.failures.len(),
        )
    }
}

/// Plants each bug and runs seeds until one finds it.
#[cfg(feature = "mutants")]
#[expect(clippy::print_stdout, reason = "the table is this program's output")]
fn mutants(seeds: std::ops::Range<u64>, only: &str) -> Result<()> {
    use sim::mutants::{Planted, plant};
    let wanted = Planted::all()
        .into_iter()
        .filter(|one| one.name().contains(only));
    let mut missed = Vec::new();
    println!(
        "{:<32} {:<6} {:>6} {:>8}",
        "mutant", "found", "seeds", "seconds"
    );
    for planted in wanted {
        let begun = Instant::now();
        plant(Some(planted));
        let found = seeds.clone().find_map(|seed| {
            let violation = run(&Origin::Seed(seed), false).violation;
            violation.map(|violation| (seed + 1, violation.id, violation.what))
        });
        plant(None);
        let nothing = || (seeds.end, String::from("-"), String::new());
        let (needed, id, what) = found.unwrap_or_else(nothing);
        let seconds = begun.elapsed().as_secs_f64();
        println!("{:<32} {id:<6} {needed:>6} {seconds:>8.2}", planted.name());
        if !only.is_empty() {
            println!("  {what}");
        }
        if id == "-" {
            missed.push(planted.name());
        }
    }
    ensure!(missed.is_empty(), "not found: {}", missed.join(", "));
    Ok(())
}

/// Plants the bug of that name for what this thread runs.
#[cfg(feature = "mutants")]
fn plant_named(name: &str) -> Result<()> {
    use sim::mutants::{Planted, plant};
    let mut all = Planted::all().into_iter();
    let found = all.find(|one| one.name().split(' ').any(|word| word == name));
    plant(Some(
        found.with_context(|| format!("find planted bug `{name}`"))?,
    ));
    Ok(())
}

fn replay_file(file: &Path, tail: usize) -> Result<()> {
    let text = fs::read_to_string(file).with_context(|| format!("read `{}`", file.display()))?;
    let record = Record::parse(&text).with_context(|| format!("read `{}`", file.display()))?;
    let report = run(&Origin::Tape(record.tape.clone()), true);
    show(&report, tail);
    let again = Record::of(record.seed, &report);
    let pairs = again.lines.iter().zip(&record.lines);
    if let Some((now, then)) = pairs
        .into_iter()
        .find(|(now, then)| now.replace('\n', " ") != **then)
    {
        bail!("the replay differs\n  then {then}\n  now  {now}");
    }
    ensure!(
        again.digest == record.digest && again.lines.len() == record.lines.len(),
        "the replay differs in its length"
    );
    Ok(())
}

/// Feeds a journal line by line, so that a long one needs no memory.
#[expect(clippy::print_stdout, reason = "the summary is this program's output")]
fn replay_journal(file: &Path) -> Result<()> {
    let open = fs::File::open(file).with_context(|| format!("open `{}`", file.display()))?;
    let mut replay = Replay::new();
    for line in BufReader::new(open).lines() {
        let line = line.with_context(|| format!("read `{}`", file.display()))?;
        replay
            .line(&line)
            .with_context(|| format!("replay `{}`", file.display()))?;
    }
    let told = replay.end();
    let digest = told
        .digest
        .map_or_else(String::new, |digest| digest.to_string());
    println!(
        "lines {} cores {} events {} actions {} states {} records {} digest {digest}{}",
        told.lines,
        told.cores,
        told.events,
        told.actions,
        told.states,
        told.records,
        if told.torn {
            ", the last line was cut short"
        } else {
            ""
        }
    );
    Ok(())
}

fn replay_seed(seed: u64, tail: usize) -> Result<()> {
    let report = run(&Origin::Seed(seed), true);
    show(&report, tail);
    let again = run(&Origin::Seed(seed), false);
    ensure!(
        again.digest == report.digest,
        "two runs of seed {seed} differ"
    );
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the log is this program's output")]
fn show(report: &Report, tail: usize) {
    let from = if tail == 0 {
        0
    } else {
        report.lines.len().saturating_sub(tail)
    };
    for line in &report.lines[from..] {
        println!("{line}");
    }
    match &report.violation {
        Some(violation) => println!("violation {} {}", violation.id, violation.what),
        None => println!("no violation"),
    }
}
