use super::*;
use std::io::Write;

fn delta(text: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(text).unwrap();
    file
}

fn read(file: &File, share: u32, of: u32, longest: u64, from: (u64, u64)) -> Vec<(Place, Vec<u8>)> {
    let file = file.try_clone().unwrap();
    let mut lines =
        Lines::new(file, Packing::None, (share.into(), of.into()), longest, (from.0, from.1))
            .unwrap();
    let mut all = Vec::new();
    loop {
        match lines.next().unwrap() {
            Found::Line(place, range) => all.push((place, lines.bytes(range).to_vec())),
            Found::TooLong(place, length) => {
                all.push((place, format!("too long: {length}").into_bytes()))
            }
            Found::More | Found::Within(_) => {}
            Found::Short => panic!("it is whole"),
            Found::End(_) => return all,
        }
    }
}

/// Lines of many lengths, some over the buffer's border, some longer than the buffer.
fn mixed() -> Vec<u8> {
    let mut text = Vec::new();
    for n in 0..3000usize {
        let length = match n % 500 {
            7 => CHUNK - 3 + n % 7,
            8 => 2 * CHUNK + n,
            _ => n * 7919 % 400,
        };
        text.extend(format!("{n}:").bytes());
        text.extend(std::iter::repeat_n(b'a' + (n % 26) as u8, length));
        text.push(b'\n');
    }
    text
}

#[test]
fn every_line_belongs_to_exactly_one_share() {
    let text = mixed();
    let expected: Vec<&[u8]> = text[..text.len() - 1].split(|b| *b == b'\n').collect();
    let file = delta(&text);
    for of in [1, 2, 3, 7, 64] {
        let mut seen = vec![None; expected.len()];
        for share in 0..of {
            for (place, bytes) in read(&file, share, of, 1 << 24, (0, 0)) {
                assert_eq!(place.index % u64::from(of), u64::from(share));
                assert_eq!(place.end - place.offset, bytes.len() as u64 + 1);
                assert_eq!(text[place.offset as usize..][..bytes.len()], bytes[..]);
                assert!(seen[place.index as usize].replace(bytes).is_none());
            }
        }
        for (line, expected) in seen.into_iter().zip(&expected) {
            assert_eq!(line.as_deref(), Some(*expected), "of {of}");
        }
    }
}

#[test]
fn what_is_appended_behind_the_end_that_was_said_is_not_read() {
    let text = mixed();
    let mut file = delta(&text);
    let end = text.len() as u64;
    let all = read(&file, 0, 1, 1 << 24, (0, 0)).len();
    assert!(ends_a_line(&file, end).unwrap() && ends_a_line(&file, 0).unwrap());
    assert!(!ends_a_line(&file, end - 1).unwrap() && !ends_a_line(&file, end + 1).unwrap());
    file.write_all(b"more\nand ").unwrap();
    let whole =
        Lines::new(file.try_clone().unwrap(), Packing::None, (0, 1), 1 << 24, (0, 0)).unwrap();
    let mut lines = whole.up_to(end);
    let place = loop {
        if let Found::End(place) = lines.next().unwrap() {
            break place;
        }
    };
    assert_eq!((place.index as usize, place.offset), (all, end));
    assert_eq!(lines.has_grown(end).unwrap(), Grown::Yes);
    assert_eq!(read(&file, 0, 1, 1 << 24, (0, 0)).len(), all + 2);
    // Taken up again at the end, too.
    let mut none =
        Lines::new(file, Packing::None, (0, 1), 1 << 24, (3000, end)).unwrap().up_to(end);
    assert!(matches!(none.next().unwrap(), Found::End(place) if place.offset == end));
}

#[test]
fn reading_goes_on_from_any_mark() {
    let text = mixed();
    let file = delta(&text);
    let all = read(&file, 0, 1, 1 << 24, (0, 0));
    for (place, _) in all.iter().step_by(701) {
        for (share, of) in [(0, 1), (2, 3)] {
            let rest = read(&file, share, of, 1 << 24, (place.index, place.offset));
            let expected = all.iter().filter(|(p, _)| {
                p.index >= place.index && p.index % u64::from(of) == u64::from(share)
            });
            assert!(rest.iter().eq(expected), "from {place:?}, {share} of {of}");
        }
    }
}

#[test]
fn an_overlong_line_costs_no_memory_and_no_other_line() {
    let long = vec![b'x'; 5 * CHUNK];
    let text = [b"one\n", &long[..], b"\nthree\n", &long[..100], b"\nfive"].concat();
    let file = delta(&text);
    let mut lines =
        Lines::new(file.try_clone().unwrap(), Packing::None, (0, 1), 99, (0, 0)).unwrap();
    while !matches!(lines.next().unwrap(), Found::End(_)) {
        assert!(lines.buffer.len() <= CHUNK);
    }
    let found: Vec<Vec<u8>> = read(&file, 0, 1, 99, (0, 0)).into_iter().map(|l| l.1).collect();
    let length = format!("too long: {}", long.len()).into_bytes();
    assert_eq!(found, [&b"one"[..], &length, b"three", b"too long: 100", b"five"]);
    assert_eq!(read(&file, 0, 2, 99, (0, 0)).len(), 3);
}

#[test]
fn line_ends_are_those_of_unix_and_windows_and_the_last_needs_none() {
    let bytes = |text: &[u8]| -> Vec<Vec<u8>> {
        read(&delta(text), 0, 1, 100, (0, 0)).into_iter().map(|l| l.1).collect()
    };
    assert_eq!(bytes(b""), Vec::<Vec<u8>>::new());
    assert_eq!(bytes(b"\n"), [b""]);
    assert_eq!(bytes(b"a\r\n\r\nb\rc\n\n"), [&b"a"[..], b"", b"b\rc", b""]);
    assert_eq!(bytes(b"a\nb"), [b"a", b"b"]);
    assert_eq!(bytes(b"a\nb\r"), [b"a", b"b"]);
}

#[test]
fn what_is_appended_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.jsonl");
    let mut file = File::create(&path).unwrap();
    file.write_all(b"a\nb\n").unwrap();
    let mut lines =
        Lines::new(File::open(&path).unwrap(), Packing::None, (0, 1), 100, (0, 0)).unwrap();
    let mut next = || loop {
        match lines.next().unwrap() {
            Found::More => {}
            found => return (found, lines.has_grown(4).unwrap()),
        }
    };
    assert!(matches!(next(), (Found::Line(..), _)) && matches!(next(), (Found::Line(..), _)));
    let end = |index, offset| Found::End(Place { index, offset, end: offset });
    assert_eq!(next(), (end(2, 4), Grown::No));
    file.write_all(b"c").unwrap();
    assert!(matches!(next(), (Found::Line(p, _), Grown::No) if p.index == 2 && p.end == 5));
    assert_eq!(next(), (end(3, 5), Grown::No));
    file.write_all(b"d\n").unwrap();
    assert_eq!(lines.has_grown(4).unwrap(), Grown::Torn);
}

#[test]
fn what_is_cut_off_is_noticed_wherever_the_cut_is() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.jsonl");
    for (before, size) in [(0, 0), (0, 2), (2, 2), (4, 2), (4, 0)] {
        std::fs::write(&path, "a\nb\n").unwrap();
        let mut lines =
            Lines::new(File::open(&path).unwrap(), Packing::None, (0, 1), 100, (0, 0)).unwrap();
        let cut = || File::options().write(true).open(&path).unwrap().set_len(size).unwrap();
        if before == 0 {
            cut();
        }
        while !matches!(lines.next().unwrap(), Found::End(_)) {
            if before > 0 && lines.start >= before {
                cut();
            }
        }
        cut();
        assert_eq!(lines.has_grown(4).unwrap(), Grown::Cut(size), "{before} {size}");
    }
}

#[test]
fn a_byte_order_mark_is_no_part_of_the_first_line_and_of_no_other() {
    let bytes = |text: &[u8]| -> Vec<Vec<u8>> {
        read(&delta(text), 0, 1, 100, (0, 0)).into_iter().map(|l| l.1).collect()
    };
    assert_eq!(bytes(b"\xef\xbb\xbfa\n\xef\xbb\xbfb\n"), [&b"a"[..], b"\xef\xbb\xbfb"]);
    assert_eq!(bytes(b"\xef\xbb\xbf"), [b""]);
    assert_eq!(bytes(b"\xef\xbb\xbf\r\na"), [&b""[..], b"a"]);
    assert_eq!(bytes(b"\xef\xbb"), [b"\xef\xbb"]);
    let file = delta(b"\xef\xbb\xbfa\nb\n");
    let all = read(&file, 0, 1, 100, (0, 0));
    assert_eq!((all[0].0.offset, all[0].0.end), (0, 5), "it counts as bytes of the delta");
    assert_eq!(read(&file, 1, 2, 100, (0, 0)), all[1..]);
    assert_eq!(read(&file, 0, 1, 100, (1, 5)), all[1..], "taken up behind it");
    let mut lines = Lines::new(file, Packing::None, (0, 1), 100, (1, 5)).unwrap();
    assert_eq!(
        (lines.again(0).unwrap(), lines.again(5).unwrap()),
        (Some(b"a".to_vec()), Some(b"b".to_vec()))
    );
}

#[test]
fn utf_16_is_refused_in_plain_words() {
    for text in [&b"\xff\xfe{\0}\0\n\0"[..], b"\xfe\xff\0{\0}\0\n"] {
        for share in 0..2 {
            let mut lines =
                Lines::new(delta(text), Packing::None, (share, 2), 100, (0, 0)).unwrap();
            let error = lines.next().unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
            assert!(error.to_string().contains("UTF-16"), "{error}");
        }
    }
}

#[test]
fn a_delta_that_grew_goes_on_with_a_whole_line_or_not_at_all() {
    for (text, offset, found) in [
        (&b"a\nb\n"[..], 2, Behind::Line(2)),
        (b"a\nb\n", 4, Behind::Line(4)),
        (b"a\nb\n", 0, Behind::Line(0)),
        (b"", 0, Behind::Line(0)),
        (b"", 4, Behind::Line(4)), // cut, which is told by whoever reads it
        (b"a\nb", 1, Behind::Line(2)),
        (b"a\r\nb", 1, Behind::Line(3)),
        (b"ab\n", 1, Behind::Within),
        (b"a\rb", 1, Behind::Within),
        (b"a", 1, Behind::End),
    ] {
        assert_eq!(behind(&delta(text), offset).unwrap(), found, "{text:?} at {offset}");
    }
}

#[test]
fn a_mark_behind_an_unfinished_line_is_taken_up_where_that_line_ends() {
    // Two lines were read, the second without a newline: what has come of it since?
    for (more, lines) in [
        (&b"\nc\nd"[..], vec![(2, 4, b"c"), (3, 6, b"d")]),
        (b"\r\nc\nd", vec![(2, 5, b"c"), (3, 7, b"d")]),
        (b"BB\nc\nd", vec![(2, 6, b"c"), (3, 8, b"d")]),
        (b"BB", vec![]),
        (b"\n", vec![]),
        (b"", vec![]),
    ] {
        let file = delta(&[b"a\nb", more].concat());
        let all: Vec<(u64, u64, &[u8])> =
            lines.iter().map(|(index, offset, line)| (*index, *offset, &line[..])).collect();
        for of in 1..=2 {
            let mut found = Vec::new();
            for share in 0..of {
                found.extend(read(&file, share, of, 100, (2, 3)));
            }
            found.sort_by_key(|(place, _)| place.index);
            let found: Vec<(u64, u64, &[u8])> =
                found.iter().map(|(p, line)| (p.index, p.offset, &line[..])).collect();
            assert_eq!(found, all, "{more:?}");
        }
    }
    // A line of any length costs no memory.
    let file = delta(&[&b"b"[..], &vec![b'B'; 3 * CHUNK], b"\nc"].concat());
    let mut lines = Lines::new(file, Packing::None, (0, 1), u64::MAX, (1, 1)).unwrap();
    assert_eq!(lines.is_within(), Some(0));
    while !matches!(lines.next().unwrap(), Found::Line(Place { index: 1, .. }, _)) {
        assert_eq!(lines.buffer.len(), CHUNK);
    }
    assert_eq!(lines.is_within(), None);
}

#[test]
fn an_unfinished_line_that_was_read_by_another_may_not_grow_unseen() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.jsonl");
    for (before, more, grown) in [
        (&b"a\nb"[..], &b"B\n"[..], Grown::Torn),
        (b"a\nb", b"", Grown::No),
        (b"a\nb\n", b"c\n", Grown::Yes),
    ] {
        std::fs::write(&path, before).unwrap();
        let size = before.len() as u64;
        let mut lines =
            Lines::new(File::open(&path).unwrap(), Packing::None, (0, 1), 100, (2, size)).unwrap();
        while !matches!(lines.next().unwrap(), Found::End(Place { index: 2, .. })) {}
        std::fs::write(&path, [before, more].concat()).unwrap();
        assert_eq!(lines.has_grown(size).unwrap(), grown, "{before:?} {more:?}");
    }
}

/// Compressed, in several members or frames.
fn packed(packing: Packing, text: &[u8]) -> File {
    let parts: Vec<&[u8]> = text.chunks(text.len().div_ceil(3).max(1)).collect();
    let parts = parts.into_iter().map(|part| match packing {
        Packing::Gzip => crate::unpack::testing::gzip(part),
        _ => crate::unpack::testing::zstd(part),
    });
    delta(&parts.collect::<Vec<_>>().concat())
}

const PACKINGS: [Packing; 2] = [Packing::Gzip, Packing::Zstd];

/// As [`read`], of a compressed delta; and what was said to be within a line.
fn unpack(
    file: &File,
    packing: Packing,
    share: (u64, u64),
    longest: u64,
    from: (u64, u64),
) -> (Vec<(Place, Vec<u8>)>, Option<u64>) {
    let mut lines = Lines::new(file.try_clone().unwrap(), packing, share, longest, from).unwrap();
    let (mut all, mut within) = (Vec::new(), None);
    loop {
        match lines.next().unwrap() {
            Found::Line(place, range) => {
                all.push((place, lines.bytes(range).to_vec()));
                if place.index % 5 == 0 {
                    lines.step_back();
                    let Found::Line(again, range) = lines.next().unwrap() else { panic!("again") };
                    assert_eq!((again, lines.bytes(range).to_vec()), all[all.len() - 1]);
                }
            }
            Found::TooLong(place, length) => {
                all.push((place, format!("too long: {length}").into_bytes()))
            }
            Found::More => assert!(lines.buffer.len() <= 4 * CHUNK),
            Found::Within(index) => within = Some(index),
            Found::Short => panic!("it is whole"),
            Found::End(place) => {
                let size = lines.size().unwrap();
                assert_eq!((lines.in_file(), lines.has_grown(size).unwrap()), (size, Grown::No));
                assert!(lines.about_in_file(place.offset).unwrap() <= size);
                return (all, within);
            }
        }
    }
}

#[test]
fn a_compressed_delta_has_the_lines_and_the_places_of_its_text_from_any_mark() {
    let text = mixed();
    let plain = delta(&text);
    for packing in PACKINGS {
        let file = packed(packing, &text);
        for (share, of, longest) in [(0, 1, 1 << 24), (1, 3, 1 << 24), (0, 2, 300)] {
            let all = read(&plain, share, of, longest, (0, 0));
            let found = unpack(&file, packing, (share.into(), of.into()), longest, (0, 0));
            assert!(found == (all.clone(), None), "{packing:?}");
            for (place, _) in all.iter().step_by(601) {
                let from = (place.index, place.offset);
                let rest = unpack(&file, packing, (share.into(), of.into()), longest, from).0;
                assert!(rest.iter().eq(all.iter().filter(|(p, _)| p.index >= place.index)));
            }
        }
        let end = (3_000, text.len() as u64);
        assert_eq!(unpack(&file, packing, (0, 1), 100, end), (vec![], None), "nothing more");
    }
}

#[test]
fn the_way_to_a_mark_in_a_compressed_delta_is_gone_in_pieces() {
    let text = mixed();
    let (index, offset) =
        (2_900, text.split_inclusive(|b| *b == b'\n').take(2_900).flatten().count());
    for packing in PACKINGS {
        let file = packed(packing, &text);
        let mut lines = Lines::new(file, packing, (0, 1), 1 << 24, (index, offset as u64)).unwrap();
        let mut pieces = 0;
        while lines.next().unwrap() == Found::More {
            pieces += 1;
            assert_eq!(lines.buffer.len(), CHUNK);
        }
        assert!(pieces > offset / CHUNK, "a worker's loop turns meanwhile: {pieces}");
        assert_eq!(lines.here().index, index + 1);
    }
}

#[test]
fn a_line_of_a_compressed_delta_is_read_again_by_its_place() {
    let text = mixed();
    for packing in PACKINGS {
        let file = packed(packing, &text);
        let all = read(&delta(&text), 0, 1, 1 << 24, (0, 0));
        let mut lines = Lines::new(file, packing, (0, 1), 1 << 24, (0, 0)).unwrap();
        for (place, bytes) in all.iter().step_by(499).chain(all.iter().rev().step_by(1_300)) {
            let line = loop {
                if let Some(line) = lines.again(place.offset).unwrap() {
                    break line;
                }
            };
            assert!(line == *bytes, "{place:?}");
        }
        assert!(matches!(lines.next().unwrap(), Found::More), "the reading is where it was");
    }
}

#[test]
fn a_mark_behind_an_unfinished_line_of_a_compressed_delta_is_taken_up_where_that_line_ends() {
    for packing in PACKINGS {
        for (more, within) in [
            (&b"\nc\nd"[..], None),
            (b"\r\nc\nd", None),
            (b"BB\nc\nd", Some(1)),
            (b"BB", Some(1)),
            (b"\n", None),
            (b"", None),
        ] {
            let text = [b"a\nb", more].concat();
            let from = (2, 3);
            let found = unpack(&packed(packing, &text), packing, (0, 1), 100, from);
            assert_eq!(found, (read(&delta(&text), 0, 1, 100, from), within), "{more:?}");
        }
        let shorter = packed(packing, b"a\n");
        let mut lines = Lines::new(shorter, packing, (0, 1), 100, (2, 3)).unwrap();
        let error = loop {
            match lines.next() {
                Ok(found) => assert_eq!(found, Found::More),
                Err(e) => break e,
            }
        };
        assert!(error.to_string().contains("it was written anew"), "{error}");
    }
}

#[test]
fn a_compressed_delta_that_is_still_written_goes_on_where_it_was() {
    for packing in PACKINGS {
        let member = |text: &[u8]| match packing {
            Packing::Gzip => crate::unpack::testing::gzip(text),
            _ => crate::unpack::testing::zstd(text),
        };
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        let (first, second) = (member(b"{}\nhal"), member(b"f\n{}\n"));
        let whole = [&first[..], &second].concat();
        std::fs::write(&path, &whole[..first.len() - 3]).unwrap();
        let file = File::open(&path).unwrap();
        let mut lines = Lines::new(file, packing, (0, 1), 100, (0, 0)).unwrap();
        let next = |lines: &mut Lines| loop {
            match lines.next().unwrap() {
                Found::More => {}
                found => return found,
            }
        };
        assert!(matches!(next(&mut lines), Found::Line(Place { index: 0, .. }, _)));
        assert_eq!((next(&mut lines), lines.here().index), (Found::Short, 1));
        std::fs::write(&path, &whole[..whole.len() - 3]).unwrap();
        assert!(matches!(next(&mut lines), Found::Line(Place { index: 1, offset: 3, .. }, _)));
        assert!(matches!(next(&mut lines), Found::Line(Place { index: 2, .. }, _)));
        assert_eq!(next(&mut lines), Found::Short);
        std::fs::write(&path, &whole).unwrap();
        assert!(matches!(next(&mut lines), Found::End(Place { index: 3, offset: 11, .. })));
        assert_eq!(lines.has_grown(whole.len() as u64).unwrap(), Grown::No);
        std::fs::write(&path, [&whole[..], &member(b"{}\n")].concat()).unwrap();
        assert_eq!(lines.has_grown(whole.len() as u64).unwrap(), Grown::Yes);
        assert!(matches!(next(&mut lines), Found::Line(Place { index: 3, .. }, _)));
        std::fs::write(&path, &first).unwrap();
        let cut = Grown::Cut(first.len() as u64);
        assert_eq!(lines.has_grown(whole.len() as u64).unwrap(), cut);
    }
}

#[test]
fn a_delta_whose_name_hides_how_it_is_packed_is_refused_in_plain_words() {
    let gzip = crate::unpack::testing::gzip;
    let zstd = crate::unpack::testing::zstd(b"{}\n");
    for (bytes, packing, words) in [
        (gzip(b"{}\n"), Packing::None, "it is compressed: name it .gz"),
        (zstd, Packing::None, "name it .zst"),
        (gzip(&gzip(b"{}\n")), Packing::Gzip, "compressed twice"),
        (b"{\"id\":\"a\"}\n".to_vec(), Packing::Gzip, "is no gzip"),
    ] {
        let mut lines = Lines::new(delta(&bytes), packing, (0, 1), 100, (0, 0)).unwrap();
        let error = lines.next().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert!(error.to_string().contains(words), "{error}");
    }
}
