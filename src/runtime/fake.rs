//! A runtime in memory, for tests.
