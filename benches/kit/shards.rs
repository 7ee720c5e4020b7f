//! A collection's shards: which documents are whose, and where each one's leader is.

use std::io;

use serde_json::Value;

use crate::http;

/// A shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shard {
    /// The first and the last hash that is its own; of signed numbers.
    pub range: (i32, i32),
    /// The Solr URL of its leader's node, such as `http://127.0.0.1:8983/solr`.
    pub node: String,
    /// The leader's own name.
    pub core: String,
}

/// Asks a node for the shards of a collection, in the order of their names.
pub fn of(node: &str, collection: &str) -> io::Result<Vec<Shard>> {
    let url =
        format!("{node}/admin/collections?action=CLUSTERSTATUS&collection={collection}&wt=json");
    let (status, body) = http::get(&url)?;
    let answer: Value = serde_json::from_slice(&body)?;
    read(&answer, collection).ok_or_else(|| {
        io::Error::other(format!("{node}: HTTP {status}, no shards of {collection} with leaders"))
    })
}

fn read(answer: &Value, collection: &str) -> Option<Vec<Shard>> {
    let shards = answer["cluster"]["collections"][collection]["shards"].as_object()?;
    let mut named: Vec<(&String, Shard)> = Vec::new();
    for (name, shard) in shards {
        let (from, to) = shard["range"].as_str()?.split_once('-')?;
        let hash = |hex: &str| Some(u32::from_str_radix(hex, 16).ok()? as i32);
        let replicas = shard["replicas"].as_object()?;
        let leader = replicas.values().find(|replica| replica["leader"] == "true")?;
        let text = |key: &str| leader[key].as_str().map(str::to_owned);
        let (node, core) = (text("base_url")?, text("core")?);
        named.push((name, Shard { range: (hash(from)?, hash(to)?), node, core }));
    }
    named.sort_by_key(|(name, _)| *name);
    Some(named.into_iter().map(|(_, shard)| shard).collect())
}

/// The index of the shard that an id belongs to. (The two-part hash of an id with a `!` is not
/// known here: the benchmark's deltas have none.)
pub fn find(shards: &[Shard], id: &[u8]) -> Option<usize> {
    assert!(!id.contains(&b'!'), "an id with a route: {}", String::from_utf8_lossy(id));
    let hash = murmur3(id) as i32;
    shards.iter().position(|shard| shard.range.0 <= hash && hash <= shard.range.1)
}

/// MurmurHash3 x86, 32 bits, seed 0: Solr's hash of an id (its `Hash.murmurhash3_x86_32`).
pub fn murmur3(bytes: &[u8]) -> u32 {
    let mix = |k: u32| k.wrapping_mul(0xcc9e_2d51).rotate_left(15).wrapping_mul(0x1b87_3593);
    let mut words = bytes.chunks_exact(4);
    let mut hash = 0u32;
    for word in &mut words {
        hash ^= mix(u32::from_le_bytes([word[0], word[1], word[2], word[3]]));
        hash = hash.rotate_left(13).wrapping_mul(5).wrapping_add(0xe654_6b64);
    }
    let rest = words.remainder().iter().rev().fold(0, |k, byte| k << 8 | u32::from(*byte));
    hash ^= mix(rest);
    hash ^= bytes.len() as u32;
    hash = (hash ^ hash >> 16).wrapping_mul(0x85eb_ca6b);
    hash = (hash ^ hash >> 13).wrapping_mul(0xc2b2_ae35);
    hash ^ hash >> 16
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn ids_have_the_hash_that_solr_gives_them() {
        for (id, hash) in [
            ("a", 0x3c25_69b2),
            ("offer-000000001", 0x12df_5793),
            ("offer-000000002", 0x98fb_e996),
            ("7zip:amd64", 0xe073_035c),
            ("Größe", 0xe36f_382e),
            ("日本語", 0xa5a4_7297),
            ("42", 0xbc58_a436),
            ("", 0),
        ] {
            assert_eq!(murmur3(id.as_bytes()), hash, "{id}");
        }
    }

    #[test]
    fn a_documents_leader_is_read_from_the_clusters_status() {
        let replica = |port: u16, core: &str| json!({"core": core, "leader": "true", "base_url": format!("http://h:{port}/solr")});
        let answer = json!({"cluster": {"collections": {"c": {"shards": {
            "shard2": {"range": "0-7fffffff", "replicas": {"r": replica(2, "c2")}},
            "shard1": {"range": "80000000-ffffffff", "replicas": {
                "r": {"core": "x", "base_url": "http://h:9/solr"}, "s": replica(1, "c1")}},
        }}}}});
        let shards = read(&answer, "c").unwrap();
        assert_eq!(shards[0].core, "c1");
        assert_eq!(shards[1].node, "http://h:2/solr");
        assert_eq!(find(&shards, b"offer-000000001"), Some(1));
        assert_eq!(find(&shards, b"offer-000000002"), Some(0));
        assert_eq!(read(&answer, "d"), None);
    }
}
