//! The coordinator: gRPC, store and storage around the scheduler.
