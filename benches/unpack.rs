//! What it costs to come to a line's bytes: of a plain delta, and of one that is compressed with gzip and
//! zstd as these do it by default. All in one run, on one thread, from memory to the newlines.
//! `cargo bench -p bench --bench unpack`.

use std::fmt::Write as _;
use std::io::Write as _;

use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use spool::Packing;
use worker::{Piece, Unpacker};

/// As a worker has room for.
const CHUNK: usize = 256 * 1024;

fn main() {
    divan::main();
}

/// Offers of about 150 bytes, whose words and numbers change from line to line.
fn text() -> Vec<u8> {
    let words =
        ["oak", "beech", "steel", "chair", "table", "lamp", "garden", "für drinnen", "white"];
    let mut random = 88_172_645_463_325_252u64;
    let mut text = String::new();
    for n in 0..100_000 {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let word = |bits: u32| words[(random >> bits) as usize % words.len()];
        let (a, b, c) = (word(3), word(9), word(15));
        let (price, shop, stock, page) = (random % 90_000, random % 50, random % 7, random >> 24);
        let _ = writeln!(
            text,
            r#"{{"id":"A-{n:08}","title_s":"{a} {b} {c}","price_i":{price},"shop_s":"shop{shop}","stock_i":{stock},"ts_l":{},"url_s":"https://x.example/p/{page:x}"}}"#,
            1_719_911_145 + n
        );
    }
    text.into_bytes()
}

fn pack(text: &[u8], packing: Packing) -> Vec<u8> {
    match packing {
        Packing::None => text.to_vec(),
        Packing::Gzip => {
            let mut packed = flate2::write::GzEncoder::new(Vec::new(), Default::default());
            packed.write_all(text).expect("there is memory");
            packed.finish().expect("there is memory")
        }
        Packing::Zstd => zstd::encode_all(text, 0).expect("there is memory"),
    }
}

fn newlines(bytes: &[u8]) -> usize {
    memchr::memchr_iter(b'\n', bytes).count()
}

#[divan::bench(args = [Packing::None, Packing::Gzip, Packing::Zstd])]
fn lines(bencher: Bencher<'_, '_>, packing: Packing) {
    let text = text();
    let (packed, count) = (pack(&text, packing), newlines(&text));
    let mut into = vec![0; CHUNK];
    bencher.counter(ItemsCount::new(count)).counter(BytesCount::new(text.len())).bench_local(
        || {
            let Some(mut unpacker) = Unpacker::new(&packed[..], packing).expect("there is memory")
            else {
                let chunks = packed.chunks(CHUNK).map(|chunk| {
                    into[..chunk.len()].copy_from_slice(chunk);
                    newlines(&into[..chunk.len()])
                });
                return assert_eq!(chunks.sum::<usize>(), count);
            };
            let mut found = 0;
            loop {
                match unpacker.unpack(&mut into).expect("it is whole") {
                    Piece::Bytes(length) => found += newlines(&into[..length]),
                    Piece::Nothing => {}
                    Piece::End | Piece::Short => break,
                }
            }
            assert_eq!(found, count);
        },
    );
}
