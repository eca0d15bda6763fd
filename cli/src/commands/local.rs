//! Commands that need no coordinator: `explain CODE`, `completion`, `version`.

use crate::args::{self, Global};
use crate::failure::{Failure, problem};
use crate::output::{print, write_bytes};
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

pub(super) fn completion(shell: clap_complete::Shell) -> Result<(), Failure> {
    // The generator panics where it cannot write; into memory it always can.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut args::tree(), "scanctl", &mut script);
    write_bytes(&script)
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
