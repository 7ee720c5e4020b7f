//! Which shard an id belongs to: Solr's CompositeIdRouter, as far as tests need it.

/// The hash of an id without `!`: MurmurHash3 x86 32-bit of its UTF-8, seed 0.
///
/// Panics on an id with `!`, which Solr hashes in parts.
pub(crate) fn hash(id: &str) -> i32 {
    assert!(!id.contains('!'), "the fake Solr cannot route the id {id:?}: it has a `!`");
    murmur3(id.as_bytes()) as i32
}

fn murmur3(bytes: &[u8]) -> u32 {
    let mix = |word: u32| word.wrapping_mul(0xcc9e_2d51).rotate_left(15).wrapping_mul(0x1b87_3593);
    let mut hash = 0;
    for chunk in bytes.chunks(4) {
        let mut word = [0; 4];
        word[..chunk.len()].copy_from_slice(chunk);
        hash ^= mix(u32::from_le_bytes(word));
        if chunk.len() == 4 {
            hash = u32::rotate_left(hash, 13).wrapping_mul(5).wrapping_add(0xe654_6b64);
        }
    }
    hash ^= bytes.len() as u32;
    hash = (hash ^ (hash >> 16)).wrapping_mul(0x85eb_ca6b);
    hash = (hash ^ (hash >> 13)).wrapping_mul(0xc2b2_ae35);
    hash ^ (hash >> 16)
}

/// All hashes, in `n` ranges of one size, both ends included.
pub(crate) fn ranges(n: usize) -> Vec<(i32, i32)> {
    split((i32::MIN, i32::MAX), n)
}

/// A range in `n` of one size.
pub(crate) fn split((first, last): (i32, i32), n: usize) -> Vec<(i32, i32)> {
    let size = i64::from(last) - i64::from(first) + 1;
    let begin = |i: usize| i64::from(first) + size * i as i64 / n as i64;
    (0..n).map(|i| (begin(i) as i32, (begin(i + 1) - 1) as i32)).collect()
}
