//! Commands that need no coordinator: `explain CODE`, `completion`, `version`.

use crate::args::{self, Global};
use crate::failure::{Failure, problem};
use crate::output::print;
use crate::up::siblings;
use crate::view::{CodeList, Versions};
use types::Code;

pub(super) fn explain(global: &Global, code: Option<&str>) -> Result<(), Failure> {
    let all = CodeList::all();
    let Some(text) = code else {
        return print(global, &all);
    };
    let found = all.named(&text.to_uppercase()).ok_or_else(|| {
        problem(
            Code::NotFound,
            format!("there is no code `{text}`; scanctl explain lists all"),
        )
    })?;
    print(global, &found)
}

#[expect(clippy::unnecessary_wraps, reason = "all commands end the same way")]
pub(super) fn completion(shell: clap_complete::Shell) -> Result<(), Failure> {
    clap_complete::generate(shell, &mut args::tree(), "scanctl", &mut std::io::stdout());
    Ok(())
}

pub(super) fn version(global: &Global) -> Result<(), Failure> {
    let siblings = siblings::versions()
        .into_iter()
        .map(|(name, version)| (name.to_owned(), version.unwrap_or_else(|why| why)));
    print(
        global,
        &Versions {
            scanctl: env!("CARGO_PKG_VERSION").to_owned(),
            siblings: siblings.collect(),
        },
    )
}
