//! Configuration, tracing, metrics, signals and drain.
