//! A small separator's description, sound in every rule, for tests of what surrounds one.

use bundle::sample;
use bundle::separator::Config;

pub(crate) fn config() -> Config {
    sample::separator()
}
