//! The configuration file, checked, every mistake with its place
