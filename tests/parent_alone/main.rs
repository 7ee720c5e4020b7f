//! The parent's crates in a binary of their own. It is never run: `tests/link-check` links all of
//! their code into it, called or not, and reads off what the parent could ask of libc at most.

use parent as _;

fn main() {}
