//! How memory goes back to the system.

/// What is freed goes back at once, if it is large: blocks of 256 KiB and more are mapped and
/// unmapped one by one. (By itself glibc learns from the first large block that is freed to keep all
/// others, for good.) Elsewhere nothing happens.
pub fn give_back_what_is_freed() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    for (option, bytes) in
        [(libc::M_MMAP_THRESHOLD, 256 << 10), (libc::M_TRIM_THRESHOLD, 512 << 10)]
    {
        // SAFETY: mallopt takes two numbers and may be called at any time.
        unsafe { libc::mallopt(option, bytes) };
    }
}
