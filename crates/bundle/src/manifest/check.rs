//! The rules that a manifest's values keep. A signed manifest can still be wrong, and a wrong one must be refused
//! before a worker allocates by it or a track is judged by it.

use super::{
    Architecture, Calibration, FORMAT, FORMAT_RESIDUAL, Gate, Manifest, Picture, Preprocessing,
    Screen, Tier, Verdicts,
};
use crate::error::BundleError;
use crate::window::WindowSpec;

/// Above the fastest music file that is decoded (384 kHz).
const RATE_HZ_MAX: u32 = 384_000;
/// A transform of three seconds at 22 kHz: far above any use, far below trouble.
const N_FFT_MAX: u32 = 65_536;
/// A window of 4096 frames of 512 samples is 95 s at 22 kHz.
const FRAMES_MAX: u32 = 4_096;
/// Longest track that a decoder passes on, seconds.
pub const TRACK_SECONDS_MAX: u64 = 4 * 3_600;
/// Most windows of the longest track: eight times those of the demonstration bundle, and few enough that a worker's answer
/// about a track, about 20 bytes for each window, fits its largest message.
pub const TRACK_WINDOWS_MAX: u64 = 40_000;
/// Twice the finest mel scale seen in use.
const MELS_MAX: u32 = 512;
/// Eight blocks of halving take 256 bands to one.
const BLOCKS_MAX: usize = 8;
/// Twice the widest block of the published detectors of this kind.
const CHANNELS_MAX: u32 = 1_024;
/// Operating points shown side by side.
const TIERS_MAX: usize = 8;
/// A thumbnail has at most 4 KiB (64 rows of 64 columns).
const PICTURE_ROWS_MAX: u32 = 64;
/// A window of a few seconds never needs more columns than a whole thumbnail has.
const PICTURE_COLUMNS_MAX: u32 = 64;
/// Windows of a canary clip: it runs at each flush and must stay cheap.
const CANARY_WINDOWS_MAX: usize = 16;
/// Longest bundle, tier and file name: they stand in paths and rows.
const NAME_BYTES_MAX: usize = 64;

pub(super) type Checked = Result<(), BundleError>;

pub(super) fn require(holds: bool, field: &'static str, rule: impl Into<String>) -> Checked {
    if holds {
        Ok(())
    } else {
        Err(BundleError::Value {
            field,
            rule: rule.into(),
        })
    }
}

/// A name made of lower-case letters, digits, dots, dashes and underscores, that begins with a letter or digit.
pub(crate) fn plain_name(name: &str) -> bool {
    let inner = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    name.len() <= NAME_BYTES_MAX
        && name.bytes().all(inner)
        && name
            .bytes()
            .next()
            .is_some_and(|b| b.is_ascii_alphanumeric())
}

impl Manifest {
    /// Checks every value against its rule.
    ///
    /// # Errors
    /// [`BundleError::Value`] with the first field that breaks its rule.
    pub fn check(&self) -> Checked {
        require(
            plain_name(&self.name),
            "name",
            "is 1 to 64 of a-z A-Z 0-9 . - _",
        )?;
        require(self.version > 0, "version", "is at least 1")?;
        self.screen.check()?;
        self.check_residual()?;
        self.gate.check()?;
        self.verdicts.check()?;
        require(self.epsilon.is_sound(), "epsilon", "lies between 0 and 10")?;
        self.picture.check(&self.screen)?;
        self.check_files()
    }

    /// A residual raises the format, so that a version that knows none says so instead of judging without it.
    fn check_residual(&self) -> Checked {
        let format = match self.residual {
            Some(_) => FORMAT_RESIDUAL,
            None => FORMAT,
        };
        require(
            self.format == format,
            "format",
            "is 2 with a residual and 1 without",
        )?;
        let Some(residual) = &self.residual else {
            return Ok(());
        };
        residual.check()?;
        let other = [&self.screen.weights, &self.canary.clip, &self.model_card];
        require(
            !other.contains(&&residual.weights),
            "residual.weights",
            "is a file of its own",
        )
    }

    fn check_files(&self) -> Checked {
        let rising = self
            .files
            .windows(2)
            .all(|pair| pair[0].name < pair[1].name);
        require(rising, "files", "are sorted by name, each once")?;
        let own = [&self.screen.weights, &self.canary.clip, &self.model_card];
        let residual = self.residual.as_ref().map(|residual| &residual.weights);
        for name in own.into_iter().chain(residual) {
            let listed = self.files.iter().any(|file| &file.name == name);
            require(listed, "files", format!("list `{}`", name.escape_default()))?;
        }
        let windows = self.canary.scores.len();
        require(
            (1..=CANARY_WINDOWS_MAX).contains(&windows),
            "canary.scores",
            "are 1 to 16",
        )?;
        let finite = self
            .canary
            .scores
            .iter()
            .all(|score| score.logit.is_finite());
        require(finite, "canary.scores", "are finite")
    }
}

impl Screen {
    fn check(&self) -> Checked {
        self.preprocessing.check()?;
        let windows = &self.windows;
        require(
            (2..=FRAMES_MAX).contains(&windows.frames),
            "windows.frames",
            "is 2 to 4096",
        )?;
        require(
            (1..=windows.frames).contains(&windows.stride),
            "windows.stride",
            "is 1 to windows.frames",
        )?;
        let longest = TRACK_SECONDS_MAX * u64::from(self.preprocessing.rate_hz);
        require(
            WindowSpec::of(self).count(longest) <= TRACK_WINDOWS_MAX,
            "windows.stride",
            "gives a track of four hours at most 40000 windows",
        )?;
        self.check_architecture()?;
        require(
            self.level.silent_below_db.is_finite(),
            "level.silent_below_db",
            "is finite",
        )?;
        require(
            self.level.least_windows >= 1,
            "level.least_windows",
            "is at least 1",
        )?;
        self.calibration.check("calibration")?;
        let mut features = self.features.clone();
        features.sort_unstable();
        features.dedup();
        require(
            features.len() == self.features.len(),
            "features",
            "are named once each",
        )
    }

    fn check_architecture(&self) -> Checked {
        let Architecture::CnnV1(cnn) = &self.architecture;
        let blocks = cnn.channels.len();
        require(
            (1..=BLOCKS_MAX).contains(&blocks),
            "architecture.channels",
            "has 1 to 8 blocks",
        )?;
        let widths = || cnn.channels.iter().chain([&cnn.hidden]);
        let bounded = widths().all(|width| (1..=CHANNELS_MAX).contains(width));
        require(bounded, "architecture", "has widths of 1 to 1024")?;
        let smallest = self.preprocessing.mels.min(self.windows.frames);
        require(
            smallest >> blocks >= 1,
            "architecture.channels",
            "leaves at least one cell after halving",
        )?;
        require(
            (0.0..1.0).contains(&cnn.dropout),
            "architecture.dropout",
            "lies between 0 and 1",
        )?;
        let embedded = self
            .embedding
            .as_ref()
            .is_none_or(|e| e.values == cnn.pooled());
        require(
            embedded,
            "embedding.values",
            "equals the network's pooled width",
        )
    }
}

impl Calibration {
    pub(super) fn check(&self, field: &'static str) -> Checked {
        require(
            self.slope.is_finite() && self.slope > 0.0,
            field,
            "has a slope above 0",
        )?;
        require(self.intercept.is_finite(), field, "has a finite intercept")?;
        require(
            self.prior > 0.0 && self.prior < 1.0,
            field,
            "has a prior between 0 and 1",
        )
    }
}

impl Preprocessing {
    fn check(&self) -> Checked {
        require(
            (8_000..=RATE_HZ_MAX).contains(&self.rate_hz),
            "preprocessing.rate_hz",
            "is 8000 to 384000",
        )?;
        let n_fft = (16..=N_FFT_MAX).contains(&self.n_fft) && self.n_fft.is_multiple_of(2);
        require(n_fft, "preprocessing.n_fft", "is even, 16 to 65536")?;
        require(
            (1..=self.n_fft).contains(&self.hop),
            "preprocessing.hop",
            "is 1 to n_fft",
        )?;
        require(
            (2..=MELS_MAX).contains(&self.mels),
            "preprocessing.mels",
            "is 2 to 512",
        )?;
        let range = self.low_hz >= 0.0
            && self.low_hz < self.high_hz
            && self.high_hz <= f64::from(self.rate_hz) / 2.0;
        require(
            range,
            "preprocessing.high_hz",
            "lies above low_hz and at most at half the rate",
        )?;
        require(
            self.floor > 0.0 && self.floor.is_finite(),
            "preprocessing.floor",
            "is above 0",
        )?;
        let scale = self.shift.is_finite() && self.gain.is_finite() && self.gain > 0.0;
        require(
            scale,
            "preprocessing.gain",
            "is above 0, with a finite shift",
        )
    }
}

impl Gate {
    fn check(&self) -> Checked {
        let ordered = self.unsure.is_none_or(|band| {
            band.low.is_finite() && band.high.is_finite() && band.low < band.high
        });
        require(ordered, "gate.unsure", "has low below high")?;
        require(
            self.positives_from.is_none_or(f64::is_finite),
            "gate.positives_from",
            "is finite",
        )
    }
}

impl Verdicts {
    pub(super) fn check(&self) -> Checked {
        require(
            (1..=TIERS_MAX).contains(&self.tiers.len()),
            "verdicts.tiers",
            "are 1 to 8",
        )?;
        self.tiers.iter().try_for_each(Tier::check)?;
        let rising = self.tiers.windows(2).all(|pair| {
            pair[0].score <= pair[1].score && pair[0].false_positives >= pair[1].false_positives
        });
        require(
            rising,
            "verdicts.tiers",
            "rise in score and fall in false positives",
        )?;
        let named = self
            .tiers
            .iter()
            .filter(|tier| tier.name == self.likely_ai_tier)
            .count();
        require(named == 1, "verdicts.likely_ai_tier", "names one tier")?;
        let tier = self
            .tiers
            .iter()
            .find(|tier| tier.name == self.likely_ai_tier);
        let ordered = match (self.no_evidence_below, tier) {
            (Some(low), Some(tier)) => low <= tier.score,
            (None, _) | (_, None) => true,
        };
        require(
            ordered,
            "verdicts.no_evidence_below",
            "is at most the score of likely_ai_tier",
        )
    }
}

impl Tier {
    fn check(&self) -> Checked {
        require(
            plain_name(&self.name),
            "verdicts.tiers",
            "have names of a-z A-Z 0-9 . - _",
        )?;
        require(
            self.score.is_finite(),
            "verdicts.tiers",
            "have finite scores",
        )?;
        let counted = self.humans > 0 && self.false_positives <= self.humans;
        require(
            counted,
            "verdicts.tiers",
            "count at least one human and no more false positives than humans",
        )?;
        let rate = self.false_positives as f64 / self.humans as f64;
        let bound = self.fpr_bound_95 >= rate && self.fpr_bound_95 <= 1.0;
        require(
            bound,
            "verdicts.tiers",
            "have a bound between their rate and 1",
        )
    }
}

impl Picture {
    fn check(&self, screen: &Screen) -> Checked {
        let (mels, frames) = (screen.preprocessing.mels, screen.windows.frames);
        let rows = (1..=PICTURE_ROWS_MAX.min(mels)).contains(&self.rows);
        require(rows, "picture.rows", "is 1 to 64 and at most the mel bands")?;
        let columns = (1..=PICTURE_COLUMNS_MAX).contains(&self.columns)
            && frames.is_multiple_of(self.columns);
        require(
            columns,
            "picture.columns",
            "is 1 to 64 and divides windows.frames",
        )?;
        let scale =
            self.low_db.is_finite() && self.high_db.is_finite() && self.low_db < self.high_db;
        require(scale, "picture.low_db", "lies below high_db")
    }
}
