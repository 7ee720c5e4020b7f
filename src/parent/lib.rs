//! The parent: one thread, one poll loop, slots and generations
