//! Holds the workspace against `docs/ARCHITECTURE.md`: crate arrows, sole owners, purity, invariants, what is said of misuse, and that the tree is tidy.
//!
//! Run by `make test`. The tables of the document are parsed, so that neither it nor the manifests can drift alone: whoever turns an arrow
//! edits the document, in the same change, and a reviewer sees it. Reads files and `cargo metadata` only; starts no process of ours.

mod arrows;
mod document;
mod invariants;
mod misuse;
mod owners;
mod tidy;
mod tree;
