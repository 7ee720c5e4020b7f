//! Memory that parent and children share: 64-bit atomics and nothing else, so there is nothing in
//! it that a killed process could leave locked, and no pointer that another could follow.

use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous};
use std::io;
use std::num::NonZeroUsize;
use std::sync::atomic::AtomicU64;

/// Maps `count` shared words, all zero. They are shared with every child forked afterwards, and
/// never unmapped: they live as long as the process does.
pub fn shared_words(count: usize) -> io::Result<&'static [AtomicU64]> {
    let bytes = NonZeroUsize::new(count * size_of::<AtomicU64>())
        .ok_or_else(|| io::Error::other("no words asked for"))?;
    let rights = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    // SAFETY: an anonymous mapping at an address of the kernel's choice touches no memory of ours.
    let start = unsafe { mmap_anonymous(None, bytes, rights, MapFlags::MAP_SHARED)? };
    // SAFETY: the mapping is page-aligned, `count` words long, zeroed (zero is a valid AtomicU64),
    // never unmapped, and only ever seen as atomics, by every process that has it.
    Ok(unsafe { std::slice::from_raw_parts(start.as_ptr().cast::<AtomicU64>(), count) })
}
