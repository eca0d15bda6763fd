//! Which versions work together. The coordinator asks at a join, the agent when a coordinator of the version before turns it away.
//!
//! The first two numbers of a version are its **series**; versions of one series speak alike. The newer of two sides knows the series
//! before its own: a coordinator takes agents of both, and an agent joins a coordinator of either. Nobody knows a later one.

/// The version of this build: all binaries of the workspace share it.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The last version of the series before: under this name an agent joins a coordinator of it. It holds back no word, since that series
/// passes over what it does not know.
pub const VERSION_BEFORE: &str = "0.1.1";

/// A version's first two numbers; `None` for a text that is not three numbers.
fn series(version: &str) -> Option<(u32, u32)> {
    let mut numbers = version.split('.').map(|number| number.parse().ok());
    let (major, minor, _patch) = (numbers.next()??, numbers.next()??, numbers.next()??);
    numbers.next().is_none().then_some((major, minor))
}

/// Whether this build works with one that calls itself so: it is of this series or of the one before.
#[must_use]
pub fn works_with(version: &str) -> bool {
    let theirs = series(version);
    theirs.is_some() && [VERSION, VERSION_BEFORE].map(series).contains(&theirs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_before_is_of_the_series_before() {
        let (ours, before) = (series(VERSION).unwrap(), series(VERSION_BEFORE).unwrap());
        let next_minor = (before.0, before.1 + 1);
        let next_major = (before.0 + 1, 0);
        assert!([next_minor, next_major].contains(&ours), "{ours:?}");
    }

    #[test]
    fn a_series_works_with_itself_and_the_one_before_and_with_no_other() {
        let (major, minor) = series(VERSION).unwrap();
        let (before, last) = series(VERSION_BEFORE).unwrap();
        let same = [
            VERSION.to_owned(),
            format!("{major}.{minor}.99"),
            VERSION_BEFORE.to_owned(),
            format!("{before}.{last}.0"),
        ];
        for version in same {
            assert!(works_with(&version), "{version}");
        }
        let others = [
            String::new(),
            "x".to_owned(),
            format!("{major}.{minor}"),
            format!("{VERSION}.1"),
            format!("{major}.{}.0", minor + 1),
            format!("{}.{minor}.0", major + 1),
            "0.0.9".to_owned(),
        ];
        for version in others {
            assert!(!works_with(&version), "{version}");
        }
    }
}
