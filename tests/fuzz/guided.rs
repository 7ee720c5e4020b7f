//! The fuzzer that looks which branches are taken. `FUZZ_TARGET` names the target; arguments are
//! libFuzzer's.
#![no_main]

use std::sync::LazyLock;

static TARGET: LazyLock<fn(&[u8])> = LazyLock::new(|| {
    let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
    let target = fuzz::TARGETS.iter().find(|target| target.name == name);
    target.unwrap_or_else(|| panic!("FUZZ_TARGET={name}: no such target")).run
});

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| TARGET(bytes));
