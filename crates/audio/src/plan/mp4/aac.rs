//! The test by which AAC streams with a second, hidden half are told from plain ones: symphonia decodes the core of HE-AAC
//! alone and says nothing.

/// Highest core rate of a stream that may carry spectral band replication without saying so, Hz.
const HIDDEN_SBR_RATE_MAX: u32 = 24_000;
/// Sample rates by index.
const RATES: [u32; 13] = [
    96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000,
    7_350,
];

/// Whether AAC of this configuration and core rate is plain low complexity: no other object type, no signalled band
/// replication, and no core rate so low that it is usually present without being signalled.
pub(crate) fn is_plain_aac_lc(config: Option<&[u8]>, rate_hz: u32) -> bool {
    let Some(config) = config else {
        return rate_hz > HIDDEN_SBR_RATE_MAX;
    };
    let mut bits = Bits {
        bytes: config,
        at: 0,
    };
    let object = bits.object_type();
    let rate = bits.rate();
    object == Some(2) && rate.is_some_and(|rate| rate > HIDDEN_SBR_RATE_MAX) && !signals_sbr(config)
}

/// Whether the backward-compatible extension (0x2b7, then object type 5 and a set flag) stands behind the first two bytes.
fn signals_sbr(config: &[u8]) -> bool {
    (16..config.len() * 8).any(|at| {
        let mut bits = Bits { bytes: config, at };
        bits.take(11) == Some(0x2b7) && bits.take(5) == Some(5) && bits.take(1) == Some(1)
    })
}

struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    fn take(&mut self, count: usize) -> Option<u32> {
        let mut value = 0;
        for _ in 0..count {
            let byte = self.bytes.get(self.at / 8)?;
            value = value << 1 | u32::from(byte >> (7 - self.at % 8) & 1);
            self.at += 1;
        }
        Some(value)
    }

    fn object_type(&mut self) -> Option<u32> {
        match self.take(5)? {
            31 => Some(32 + self.take(6)?),
            object => Some(object),
        }
    }

    fn rate(&mut self) -> Option<u32> {
        match self.take(4)? {
            15 => self.take(24),
            index => RATES.get(index as usize).copied(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_low_complexity_aac_passes() {
        #[rustfmt::skip]
        let rows: [(Option<&[u8]>, u32, bool); 8] = [
            (Some(&[0x12, 0x10]), 44_100, true),                         // LC, 44.1 kHz, stereo
            (Some(&[0x11, 0x90]), 48_000, true),                         // LC, 48 kHz
            (Some(&[0x2b, 0x92, 0x08, 0x00]), 22_050, false),            // object type 5: HE-AAC, signalled first
            (Some(&[0x13, 0x90, 0x56, 0xe5, 0xa0]), 22_050, false),      // LC core, then the extension
            (Some(&[0x12, 0x10, 0x56, 0xe5, 0x98]), 44_100, false),      // the same above 24 kHz
            (Some(&[0x13, 0x90]), 22_050, false),                        // LC at 22.05 kHz says nothing, but may hide it
            (None, 44_100, true),
            (None, 24_000, false),
        ];
        for (config, rate, expected) in rows {
            assert_eq!(
                is_plain_aac_lc(config, rate),
                expected,
                "{config:x?} {rate}"
            );
        }
    }
}
