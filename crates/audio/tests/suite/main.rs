//! Formats against the system's own decoder, and MP4 files whose index lies.

mod common;
mod formats;
mod mp4;
