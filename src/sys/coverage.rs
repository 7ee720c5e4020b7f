//! Only in a build that measures which lines the tests reach (`make coverage`): the counters of a
//! process that leaves by `_exit`, which no handler would write.
//!
//! A child begins with what its parent had counted, and that is written twice then. It makes a line
//! count more often, and never a line that did not run. To set the counters back at the fork would be
//! wrong: fork returns twice, and what LLVM derives from other counters would go below zero.

/// The same, and where the counters are written to.
pub(crate) fn reached(reach: &crate::confine::Reach) -> crate::confine::Reach {
    let file = std::env::var_os("LLVM_PROFILE_FILE").map(std::path::PathBuf::from);
    let folder = file.as_ref().and_then(|file| file.parent()).map(Into::into);
    let mut reach = reach.clone();
    reach.write.extend(folder);
    reach
}

/// Writes what this process has counted to where `LLVM_PROFILE_FILE` says.
pub(crate) fn write() {
    unsafe extern "C" {
        fn __llvm_profile_write_file() -> std::ffi::c_int;
    }
    // SAFETY: LLVM's runtime is linked into all that is built with its counters, and its function takes
    // nothing. Threads that count meanwhile cost a count, and no more.
    let _ = unsafe { __llvm_profile_write_file() }; // it says itself what went wrong
}
