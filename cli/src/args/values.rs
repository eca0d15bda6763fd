//! How the texts of flags are read that are more than a word or a number. Each refusal is a sentence for the operator.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use types::{Share, SourceName};

/// Reads `30s`, `10m`, `2h`, `500ms` or a bare number of seconds.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number
        .parse()
        .map_err(|_| format!("`{text}` is no time: write 30s, 10m or 2h"))?;
    let scale = match unit {
        "ms" => return Ok(Duration::from_millis(number)),
        "" | "s" => 1,
        "m" => 60,
        "h" => 3_600,
        _ => return Err(format!("`{unit}` is no unit of time: use ms, s, m or h")),
    };
    number
        .checked_mul(scale)
        .map(Duration::from_secs)
        .ok_or_else(|| format!("`{text}` is too long"))
}

/// Reads a time, RFC 3339, or a span after now; in milliseconds since 1970.
pub(super) fn until(text: &str) -> Result<i64, String> {
    moment(text, 1)
}

/// Reads a time, RFC 3339, or a span before now; in milliseconds since 1970.
pub(super) fn when(text: &str) -> Result<i64, String> {
    moment(text, -1)
}

fn moment(text: &str, direction: i64) -> Result<i64, String> {
    if let Ok(at) = text.parse::<jiff::Timestamp>() {
        return Ok(at.as_millisecond());
    }
    let span = duration(text).map_err(|_| {
        format!("`{text}` is no time: write 2026-12-01T18:00:00Z, or a span such as 30m or 6h")
    })?;
    let span = i64::try_from(span.as_millis()).map_err(|_| format!("`{text}` is too long"))?;
    let now = jiff::Timestamp::now().as_millisecond();
    Ok(now.saturating_add(span.saturating_mul(direction)))
}

/// Reads a share: a number from 0 to 1, or so many percent.
pub(super) fn share(text: &str) -> Result<Share, String> {
    let said =
        || format!("`{text}` is no share: write 0.05 or 5%, from 0 to 1, six decimals at most");
    let Some(percent) = text.strip_suffix('%') else {
        return text.parse().map_err(|_| said());
    };
    let (whole, part) = percent.split_once('.').unwrap_or((percent, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || whole.len() > 3 || part.len() > 4 || !digits(whole) || !digits(part) {
        return Err(said());
    }
    let ppm: u32 = format!("{whole}{part:0<4}").parse().map_err(|_| said())?;
    Share::new(ppm).map_err(|_| said())
}

/// Reads a size: bytes, or a number with KiB, MiB, GiB or TiB.
pub(super) fn memory(text: &str) -> Result<u64, String> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number
        .parse()
        .map_err(|_| format!("`{text}` is no size: write 24GiB, or bytes"))?;
    let shift = match unit {
        "" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        "TiB" => 40,
        _ => {
            return Err(format!(
                "`{unit}` is no unit of size: use KiB, MiB, GiB or TiB"
            ));
        }
    };
    number
        .checked_mul(1 << shift)
        .ok_or_else(|| format!("`{text}` is too large"))
}

/// Reads a share strictly between 0 and 1.
pub(super) fn prior(text: &str) -> Result<f64, String> {
    let share = text
        .parse()
        .ok()
        .filter(|share| *share > 0.0 && *share < 1.0);
    share.ok_or_else(|| {
        format!("`{text}` is no share: write a number between 0 and 1, such as 0.05")
    })
}

/// Reads an address on loopback: until links are encrypted, nothing listens beyond this machine.
pub(super) fn loopback(text: &str) -> Result<SocketAddr, String> {
    let address = address(text)?;
    if address.ip().is_loopback() {
        return Ok(address);
    }
    Err("only addresses on loopback are listened on while links are not encrypted".to_owned())
}

/// Reads an address or `off`.
pub(super) fn metrics(text: &str) -> Result<String, String> {
    match text {
        "off" => Ok(text.to_owned()),
        _ => address(text).map(|address| address.to_string()),
    }
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse()
        .map_err(|_| "it is no address such as 127.0.0.1:7700".to_owned())
}

/// Reads `NAME=DIR`.
pub(super) fn source(text: &str) -> Result<(SourceName, PathBuf), String> {
    let (name, dir) = text
        .split_once('=')
        .ok_or_else(|| format!("`{text}` is not NAME=DIR"))?;
    let name = SourceName::new(name).map_err(|why| why.to_string())?;
    if dir.is_empty() {
        return Err(format!("`{text}` names no folder"));
    }
    Ok((name, PathBuf::from(dir)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_listened_on_beyond_this_machine() {
        for (text, good) in [
            ("127.0.0.1:7700", true),
            ("127.0.0.1:0", true),
            ("[::1]:7700", true),
            ("0.0.0.0:7700", false),
            ("192.0.2.1:7700", false),
            ("localhost:7700", false),
        ] {
            assert_eq!(loopback(text).is_ok(), good, "{text}");
        }
        assert_eq!(metrics("off"), Ok("off".to_owned()));
        assert!(metrics("7701").is_err());
    }

    #[test]
    fn a_share_is_a_number_or_percent_within_the_whole() {
        for (text, ppm) in [
            ("0", 0),
            ("0.05", 50_000),
            ("5%", 50_000),
            ("0.0001%", 1),
            ("100%", 1_000_000),
            ("1", 1_000_000),
        ] {
            assert_eq!(share(text).map(Share::ppm), Ok(ppm), "{text}");
        }
        for bad in ["", "%", "-1%", "101%", "1.1", "5 %", "0.00001%", "five"] {
            assert!(prior(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_moment_is_a_time_or_a_span_from_now() {
        assert_eq!(until("1970-01-01T00:00:01Z"), Ok(1_000));
        assert_eq!(when("1970-01-01T00:00:01Z"), Ok(1_000));
        let (later, earlier) = (until("1h").unwrap(), when("1h").unwrap());
        assert!((7_200_000 - 60_000..=7_200_000 + 60_000).contains(&(later - earlier)));
        for bad in ["", "tomorrow", "2026-12-01", "99999999999999999999s"] {
            assert!(until(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_prior_lies_between_none_and_all() {
        assert_eq!(prior("0.05"), Ok(0.05));
        for bad in ["", "0", "1", "5%", "nan", "inf", "-0.5"] {
            assert!(prior(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_size_is_bytes_or_a_number_with_a_binary_unit() {
        for (text, bytes) in [("17", 17), ("2KiB", 2_048), ("24GiB", 24 << 30)] {
            assert_eq!(memory(text), Ok(bytes), "{text}");
        }
        for bad in ["", "GiB", "1GB", "-1", "99999999999TiB"] {
            assert!(memory(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn times_are_read_with_their_units() {
        for (text, seconds) in [("30s", 30), ("30", 30), ("10m", 600), ("2h", 7_200)] {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)));
        }
        for bad in [
            "",
            "s",
            "1d",
            "-1s",
            "99999999999999999999s",
            "9999999999999999999h",
        ] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }
}
