//! What the model card of a converted bundle says of its separator, behind what it says of the screen.

use bundle::{Manifest, Residual, Segments};

/// The section; nothing without a residual.
pub(super) fn of(manifest: &Manifest) -> String {
    manifest.residual.as_ref().map_or_else(String::new, section)
}

fn section(residual: &Residual) -> String {
    let origin = match &residual.origin {
        Some(origin) => format!(
            "Its weights were converted from a file of {} bytes with SHA-256 `{}`.",
            origin.bytes, origin.sha256
        ),
        None => "Its weights were trained as they are.".to_owned(),
    };
    let segments = match residual.segments {
        Segments::All => "Every segment of a track is separated.".to_owned(),
        Segments::Spread { count } => format!("At most {count} segments of a track are separated."),
    };
    format!(
        "\n## Residual\n\nHTDemucs with the stems {}. {origin} Whoever brought that file answers for the right to use it. {segments}\n\n\
         Not calibrated: nobody has measured yet what this residual says of a track, and no verdict rests on it.\n",
        residual.architecture.sources().join(", "),
    )
}
