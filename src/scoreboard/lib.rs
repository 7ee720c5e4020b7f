//! The shared page: atomics only, one writer per field
