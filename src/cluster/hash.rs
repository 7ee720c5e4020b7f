//! The hash of Solr's CompositeIdRouter, its oddities included.
//!
//! An id with `!` has parts: `app!user!17` takes bits from the hash of each, so that what shares its
//! first parts lies close together. `app/2!user/4!17` says how many bits. What is no number there,
//! or too large, is not refused: Java shifts by it, modulo 32, and so does this.

/// Hashes an id as compositeId does: the signed number that the shards' ranges are made of.
///
/// ```
/// assert_eq!(cluster::hash("x!1") as u32, 0x3e9aac93); // x's upper half, 1's lower half
/// assert_eq!(cluster::hash("x!1") as u32 >> 16, cluster::hash("x!2") as u32 >> 16);
/// ```
pub fn hash(id: &str) -> i32 {
    // Nearly all ids are short and have none: to look at each byte is quicker than to begin a search.
    if id.bytes().all(|byte| byte != b'!') {
        return murmur3(id);
    }
    match id.split_once('!') {
        None => murmur3(id),
        Some((first, rest)) => composite(first, rest),
    }
}

fn composite(first: &str, rest: &str) -> i32 {
    match rest.split_once('!') {
        None => two(first, rest),
        Some(("", "")) => two(first, ""), // "a!!" is "a!": SOLR-6257
        Some((second, third)) => three(first, second, third),
    }
}

fn two(first: &str, second: &str) -> i32 {
    let (first, bits) = bits(first, 16);
    let lower = if bits == 32 { 0 } else { (u32::MAX.wrapping_shr(bits as u32)) as i32 };
    murmur3(first) & upper(bits) | murmur3(second) & lower
}

fn three(first: &str, second: &str, third: &str) -> i32 {
    let ((first, one), (second, two)) = (bits(first, 8), bits(second, 8));
    let both = one.wrapping_add(two);
    let (first_mask, second_mask) = (upper(one), upper(one) ^ upper(both));
    let third_mask = !(first_mask | second_mask);
    murmur3(first) & first_mask | murmur3(second) & second_mask | murmur3(third) & third_mask
}

/// The mask of so many upper bits.
fn upper(bits: i32) -> i32 {
    if bits == 0 { 0 } else { (-1i32).wrapping_shl(32i32.wrapping_sub(bits) as u32) }
}

/// A part without its `/bits`, and how many they are.
fn bits(part: &str, unsaid: i32) -> (&str, i32) {
    let Some((part, digits)) = part.split_once('/').filter(|(before, _)| !before.is_empty()) else {
        return (part, unsaid);
    };
    let mut bits = 0i32;
    for digit in digits.bytes() {
        if !digit.is_ascii_digit() {
            return (part, -1);
        }
        bits = bits.wrapping_mul(10).wrapping_add(i32::from(digit - b'0')); // 4294967297 is 1
    }
    (part, if bits > 32 { -1 } else { bits })
}

/// MurmurHash3, x86, 32 bits, seed 0, of the UTF-8.
fn murmur3(text: &str) -> i32 {
    let bytes = text.as_bytes();
    let mix = |word: u32| word.wrapping_mul(0xcc9e_2d51).rotate_left(15).wrapping_mul(0x1b87_3593);
    let mut hash = 0u32;
    let mut words = bytes.chunks_exact(4);
    for word in &mut words {
        let word = u32::from_le_bytes(word.try_into().expect("four bytes"));
        hash = (hash ^ mix(word)).rotate_left(13).wrapping_mul(5).wrapping_add(0xe654_6b64);
    }
    let tail = words.remainder().iter().rev().fold(0, |word, byte| word << 8 | u32::from(*byte));
    hash ^= mix(tail); // of nothing it is 0
    hash ^= bytes.len() as u32; // Java's int, which wraps round too
    hash = (hash ^ hash >> 16).wrapping_mul(0x85eb_ca6b);
    hash = (hash ^ hash >> 13).wrapping_mul(0xc2b2_ae35);
    (hash ^ hash >> 16) as i32
}

#[cfg(test)]
mod tests {
    use super::hash;

    /// From Solr's own CompositeIdRouter.
    const VECTORS: &[(&str, u32)] = &[
        ("", 0),
        ("a", 0x3c2569b2),
        ("42", 0xbc58a436),
        ("hello", 0x248bfa47),
        ("offer-000000001", 0x12df5793),
        ("offer-000000002", 0x98fbe996),
        ("7zip:amd64", 0xe073035c),
        ("Größe", 0xe36f382e),
        ("日本語", 0xa5a47297),
        ("😀", 0xbeb42efa),
        ("漢字😀", 0x2fc55d1f),
        // two parts
        ("x!1", 0x3e9aac93),
        ("x/2!1", 0x1416ac93),
        ("contact!0000000KISS", 0xdfbbe260),
        ("user/4!uniqueid", 0x9479455e),
        ("!b", 0x00007e03),
        // three
        ("x!y!1", 0x3e7dac93),
        ("a!b!c", 0x3cded65f),
        ("app/2!user/4!uniqueid", 0x5479455e),
        // the third has all that is left
        ("a!b!c!d", 0x3cde7073),
        // empty ones
        ("!", 0),
        ("a!", 0x3c250000),
        ("a!!", 0x3c250000),
        ("a!b!", 0x3cde0000),
        // bits that are none, few, many, too many, no number, not there
        ("a/0!x", 0x3e9a9b1b),
        ("a/32!x", 0x3c2569b2),
        ("a/33!x", 0x3c2569b3),
        ("a/b!c", 0x3c2569b3),
        ("http://example.com/a!b", 0x28b92213),
    ];

    #[test]
    fn an_id_has_solrs_hash() {
        for (id, expected) in VECTORS {
            assert_eq!(hash(id) as u32, *expected, "{id}: {:08x}", hash(id));
        }
    }

    #[test]
    fn bits_wrap_round_as_javas_int_does() {
        assert_eq!(hash("hello/4294967297!x"), hash("hello/1!x")); // 2^32 + 1
        assert_eq!(hash("a/2147483648!x"), hash("a/0!x") | hash("a")); // -2^31: no shift at all
    }

    #[test]
    fn a_slash_in_front_says_no_bits() {
        assert_eq!(hash("/4!x") as u32 >> 16, hash("/4") as u32 >> 16);
        assert_eq!(hash("a/!x"), hash("a/0!x"));
    }
}
