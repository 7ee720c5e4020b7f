//! The log: one line per event, one write(2) per line, never a wait
