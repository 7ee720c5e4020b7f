//! The status document: the contract between the monitor and whoever asks
