//! Makes music and hostile files for training and tests.
