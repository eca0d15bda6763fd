//! The bench's table, for people and as JSON.

use super::clock::Times;
use serde::Serialize;
use std::io::Write as _;
use std::path::Path;

/// What was measured, and where.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Digest of the bundle.
    pub bundle: String,
    /// The device's name.
    pub device: String,
    /// Its kind.
    pub kind: String,
    /// Number format.
    pub dtype: String,
    /// Threads of one operation on the processor.
    pub threads: u32,
    /// Passes that each median is of.
    pub rounds: u32,
    /// The rows, in order.
    pub rows: Vec<Row>,
}

/// One stage at one batch.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// What ran.
    pub stage: &'static str,
    /// Windows or segments at once; absent where there are none.
    pub batch: Option<usize>,
    /// Seconds of sound that one pass hears.
    pub audio_seconds: f64,
    /// Seconds of one pass; absent where it did not fit the device.
    pub seconds: Option<f64>,
    /// Processor seconds of one pass.
    pub cpu_seconds: Option<f64>,
    /// Seconds of sound per second.
    pub speed: Option<f64>,
}

impl Row {
    pub(super) fn of(
        stage: &'static str,
        batch: Option<usize>,
        audio_seconds: f64,
        times: Times,
    ) -> Self {
        Self {
            stage,
            batch,
            audio_seconds,
            seconds: Some(times.wall),
            cpu_seconds: Some(times.cpu),
            speed: Some(audio_seconds / times.wall.max(f64::MIN_POSITIVE)),
        }
    }

    /// A batch that does not fit the device.
    pub(super) fn too_large(stage: &'static str, batch: usize) -> Self {
        Self {
            batch: Some(batch),
            ..Self::absent(stage)
        }
    }

    /// A stage that the bundle does not have.
    pub(super) fn absent(stage: &'static str) -> Self {
        Self {
            stage,
            batch: None,
            audio_seconds: 0.0,
            seconds: None,
            cpu_seconds: None,
            speed: None,
        }
    }

    fn line(&self) -> String {
        let batch = self
            .batch
            .map_or_else(String::new, |batch| batch.to_string());
        let (Some(seconds), Some(cpu), Some(speed)) = (self.seconds, self.cpu_seconds, self.speed)
        else {
            return format!("{:<26}{batch:>6}  does not fit", self.stage);
        };
        format!(
            "{:<26}{batch:>6}{:>10.1}{seconds:>11.4}{cpu:>11.4}{speed:>11.1}",
            self.stage, self.audio_seconds
        )
    }
}

impl Report {
    /// Prints the table.
    pub(super) fn print(&self) -> std::io::Result<()> {
        let mut out = std::io::stdout().lock();
        writeln!(
            out,
            "{} ({}), {}, {} threads, medians of {}",
            self.device, self.kind, self.dtype, self.threads, self.rounds
        )?;
        writeln!(
            out,
            "{:<26}{:>6}{:>10}{:>11}{:>11}{:>11}",
            "stage", "batch", "audio s", "s", "cpu s", "audio s/s"
        )?;
        self.rows
            .iter()
            .try_for_each(|row| writeln!(out, "{}", row.line()))
    }

    /// Writes it as JSON.
    pub(super) fn write(&self, path: &Path) -> std::io::Result<()> {
        let mut bytes = serde_json::to_vec_pretty(self)?;
        bytes.push(b'\n');
        std::fs::write(path, bytes)
    }
}
