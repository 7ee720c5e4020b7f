//! The kernel, wrapped once.
