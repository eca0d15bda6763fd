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
    /// Bytes of the device's memory that were taken after the passes, as [`crate::device::held_bytes`] counts them; absent where none were asked
    /// for.
    pub memory_bytes: Option<u64>,
}

/// Bytes of the unit in which the table states memory.
const MEBIBYTE: u64 = 1 << 20;

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
            memory_bytes: None,
        }
    }

    /// The same with what the device's memory held after it. Of a batch that did not fit nothing is known.
    pub(super) fn holding(self, memory_bytes: Option<u64>) -> Self {
        Self {
            memory_bytes: memory_bytes.filter(|_| self.seconds.is_some()),
            ..self
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
            memory_bytes: None,
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
        let memory = self
            .memory_bytes
            .map_or_else(String::new, |bytes| (bytes / MEBIBYTE).to_string());
        let line = format!(
            "{:<26}{batch:>6}{:>10.1}{seconds:>11.4}{cpu:>11.4}{speed:>11.1}{memory:>9}",
            self.stage, self.audio_seconds
        );
        line.trim_end().to_owned()
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
            "{:<26}{:>6}{:>10}{:>11}{:>11}{:>11}{:>9}",
            "stage", "batch", "audio s", "s", "cpu s", "audio s/s", "MiB"
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

#[cfg(test)]
mod tests {
    use super::*;

    fn ran() -> Row {
        let times = Times {
            wall: 0.5,
            cpu: 0.25,
        };
        Row::of("residual", Some(4), 8.0, times)
    }

    #[test]
    fn memory_stands_in_the_row_of_a_batch_that_ran_alone() {
        assert_eq!(ran().holding(Some(7)).memory_bytes, Some(7));
        assert_eq!(ran().holding(None).memory_bytes, None);
        let too_large = Row::too_large("residual", 4).holding(Some(7));
        assert_eq!(too_large.memory_bytes, None);
        assert!(too_large.line().ends_with("does not fit"));
    }

    #[test]
    fn a_line_states_memory_in_mebibytes_where_it_is_known() {
        let line = ran().holding(Some(3 << 20)).line();
        assert!(line.ends_with("       16.0        3"), "{line}");
        assert!(ran().line().ends_with("16.0"));
    }
}
