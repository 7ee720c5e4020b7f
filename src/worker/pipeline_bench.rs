//! How fast lines become batches, with nobody who takes them: read, split, convert, batch, each of two
//! workers its own lines, beside the ceiling (a newline is sought in all of it, and nothing more). It is
//! `make bench-pipeline`, not a test.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use convert::{Converted, Converter, Scratch};
use spool::Packing;

use crate::batch::Batch;
use crate::lines::{Found, Lines};

const WORKERS: u64 = 2;
/// Rounds of each; the medians are told.
const ROUNDS: usize = 9;
/// As [`config::Batch`] has it by default.
const DOCS: usize = 1_000;
const BYTES: usize = 1 << 20;

/// Small offers, and fat products with a long text and a list.
fn delta(dir: &Path, is_fat: bool) -> PathBuf {
    let path = dir.join(if is_fat { "products.jsonl" } else { "offers.jsonl" });
    let mut file = std::io::BufWriter::new(File::create(&path).unwrap());
    let text = "A chair of solid oak, oiled by hand, für drinnen und draußen. ".repeat(20);
    let lists: Vec<String> =
        (0..12).map(|n| format!(r#"{{"name":"attribute {n}","value":{n}.50}}"#)).collect();
    let lists = lists.join(",");
    for n in 0..if is_fat { 200_000 } else { 2_000_000 } {
        let (price, shop, ts) = (n % 9_000 + 99, n % 50, 1_719_911_145 + n);
        let fat = match is_fat {
            true => format!(r#","text":"{text}","attributes":[{lists}]"#),
            false => String::new(),
        };
        writeln!(
            file,
            r#"{{"id":"A-{n:09}","title":"Chair {n}","price":{price}.50,"shop":"Shop{shop}","stock":{},"ts":{ts},"new":true,"color":"red,blue","brand":"acme"{fat}}}"#,
            n % 7
        )
        .unwrap();
    }
    file.flush().unwrap();
    path
}

/// A worker's lines, as it would hand them to its post threads; answers how many.
fn work(path: &Path, share: u64, converter: &Converter) -> u64 {
    let file = File::open(path).unwrap();
    let mut lines = Lines::new(file, Packing::None, (share, WORKERS), 1 << 24, (0, 0)).unwrap();
    let (mut batch, mut scratch, mut count) = (Batch::default(), Scratch::default(), 0);
    loop {
        match lines.next().unwrap() {
            Found::Line(place, range) => {
                let line = lines.bytes(range);
                let converted = converter.convert(line, &mut scratch, None);
                assert!(matches!(converted, Converted::Doc { .. }));
                assert!(batch.push((place.index, place.offset), line, &converted, 0));
                count += 1;
                if batch.len() >= DOCS || batch.bytes() >= BYTES {
                    batch.close();
                    std::hint::black_box(&batch);
                    batch.clear();
                }
            }
            Found::End(_) => return count,
            _ => {}
        }
    }
}

/// What can be had at most: all of it is read, and its newlines are found.
fn ceiling(path: &Path) -> u64 {
    use std::io::Read;
    let (mut file, mut buffer, mut count) = (File::open(path).unwrap(), vec![0; 256 << 10], 0);
    loop {
        match file.read(&mut buffer).unwrap() {
            0 => return count,
            n => count += memchr::memchr_iter(b'\n', &buffer[..n]).count() as u64,
        }
    }
}

/// Seconds that all workers take together.
fn timed(work: impl Fn(u64) -> u64 + Sync) -> f64 {
    let begin = Instant::now();
    std::thread::scope(|scope| {
        let work = &work;
        let workers: Vec<_> = (0..WORKERS).map(|share| scope.spawn(move || work(share))).collect();
        assert!(workers.into_iter().all(|worker| worker.join().unwrap() > 0));
    });
    begin.elapsed().as_secs_f64()
}

#[test]
#[ignore = "a benchmark: make bench-pipeline"]
fn lines_become_batches() {
    let dir = tempfile::tempdir().unwrap();
    let config = |convert: &str| {
        let text = format!(
            "[spool]\ndir = '/s'\n[solr]\nurls = ['http://a:8983/solr']\ncollection = 'c'\n{convert}"
        );
        Converter::new(&config::parse(&text, "bench".as_ref()).expect("it is good")).unwrap()
    };
    let rename = config(
        "[convert.fields]\nid = 'id'\nname_t = 'title'\nprice_f = 'price'\nshop_s = 'shop'\nbrand_s = 'brand'\nstock_i = 'stock'\nseen_l = 'ts'\nnew_b = 'new'\ncolor_s = 'color'\ntext_t = 'text'",
    );
    let plain = config("");
    for is_fat in [false, true] {
        let path = delta(dir.path(), is_fat);
        let bytes = path.metadata().unwrap().len();
        let lines = ceiling(&path);
        let mut seconds: [Vec<f64>; 3] = Default::default();
        for _ in 0..ROUNDS {
            seconds[0].push(timed(|_| ceiling(&path)));
            seconds[1].push(timed(|share| work(&path, share, &plain)));
            seconds[2].push(timed(|share| work(&path, share, &rename)));
        }
        for (what, mut seconds) in
            ["newlines found", "as they are", "ten renamed"].iter().zip(seconds)
        {
            seconds.sort_by(f64::total_cmp);
            let median = seconds[ROUNDS / 2];
            println!(
                "{:<8} {what:<15} {:>6.2} million lines/s {:>6.2} GB/s (fastest {:.2})",
                if is_fat { "products" } else { "offers" },
                lines as f64 / median / 1e6,
                bytes as f64 / median / 1e9,
                bytes as f64 / seconds[0] / 1e9,
            );
        }
    }
}
