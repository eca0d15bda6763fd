//! The worker's loop behind the engine seam: rings in, scores out, and the deterministic stub.
