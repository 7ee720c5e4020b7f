use super::testing::{gzip, zstd};
use super::*;

/// A text of many lines, which compresses as JSON does.
fn text() -> Vec<u8> {
    let line = |n: u32| format!("{{\"id\":\"{n}\",\"n_i\":{}}}\n", n.wrapping_mul(2_654_435_761));
    (0..60_000).flat_map(|n| line(n).into_bytes()).collect()
}

fn packed(packing: Packing, text: &[u8]) -> Vec<u8> {
    match packing {
        Packing::None => text.to_vec(),
        Packing::Gzip => gzip(text),
        Packing::Zstd => zstd(text),
    }
}

const BOTH: [Packing; 2] = [Packing::Gzip, Packing::Zstd];

/// Gives no more than a few bytes at a time.
struct Crumbs<'b>(&'b [u8], usize);

impl Read for Crumbs<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let most = into.len().min(self.1);
        self.0.read(&mut into[..most])
    }
}

/// All the text that there is, and how it ended.
fn unpack(packing: Packing, bytes: &[u8], crumb: usize, room: usize) -> (Vec<u8>, io::Result<u64>) {
    let mut unpacker = Unpacker::new(Crumbs(bytes, crumb), packing).unwrap().unwrap();
    let (mut text, mut into) = (Vec::new(), vec![0; room]);
    loop {
        match unpacker.unpack(&mut into) {
            Ok(Piece::Bytes(count)) => text.extend(&into[..count]),
            Ok(Piece::Nothing) => {}
            Ok(Piece::End) => return (text, Ok(unpacker.at())),
            Ok(Piece::Short) => return (text, Err(ErrorKind::UnexpectedEof.into())),
            Err(e) => return (text, Err(e)),
        }
    }
}

fn fails(packing: Packing, bytes: &[u8], words: &str) -> Vec<u8> {
    let (text, end) = unpack(packing, bytes, INPUT, 4096);
    let error = end.unwrap_err();
    assert!(Corrupt::is(&error) && error.kind() == ErrorKind::InvalidData, "{error:?}");
    assert!(error.to_string().contains(words), "{words:?}: {error}");
    text
}

#[test]
fn all_members_and_frames_are_one_text_however_it_is_read() {
    let text = text();
    let (first, second) = text.split_at(700_001);
    for packing in BOTH {
        let parts = [first, b"", second].map(|part| packed(packing, part));
        let whole = parts.concat();
        for (crumb, room) in [(INPUT, 1 << 18), (1, 1 << 18), (7, 100), (INPUT, 1), (10_000, 4096)]
        {
            let (found, end) = unpack(packing, &whole, crumb, room);
            assert!(found == text, "{packing:?} by {crumb} into {room}");
            assert_eq!(end.unwrap(), whole.len() as u64);
        }
    }
}

#[test]
fn a_packed_text_of_nothing_is_nothing_and_an_empty_file_is_no_packed_text() {
    for packing in BOTH {
        assert_eq!(unpack(packing, &packed(packing, b""), INPUT, 10).0, b"");
        assert!(unpack(packing, &packed(packing, b""), INPUT, 10).1.is_ok());
        let end = unpack(packing, b"", INPUT, 10).1.unwrap_err();
        assert_eq!(end.kind(), ErrorKind::UnexpectedEof);
    }
    assert!(Unpacker::new(&b""[..], Packing::None).unwrap().is_none());
}

#[test]
fn frames_that_are_to_be_skipped_are() {
    let skippable = |n: u8, text: &[u8]| {
        let length = (text.len() as u32).to_le_bytes();
        [&[0x50 | n, 0x2a, 0x4d, 0x18][..], &length, text].concat()
    };
    let long = skippable(15, &[b'x'; 3 * INPUT]);
    let whole = [skippable(0, b"hello"), zstd(b"a\n"), long, zstd(b"b\n")].concat();
    for crumb in [INPUT, 1] {
        assert_eq!(unpack(Packing::Zstd, &whole, crumb, 10).0, b"a\nb\n");
        let only = unpack(Packing::Zstd, &skippable(3, b""), crumb, 10);
        assert_eq!((only.0, only.1.unwrap()), (vec![], 8));
    }
}

#[test]
fn a_file_that_ends_in_the_middle_is_short_wherever_that_is_and_goes_on_when_there_is_more() {
    for packing in BOTH {
        let whole =
            [packed(packing, b"{\"id\":\"a\"}\n"), packed(packing, b"{\"id\":\"b\"}\n")].concat();
        let first = packed(packing, b"{\"id\":\"a\"}\n").len();
        for cut in (1..whole.len()).filter(|cut| *cut != first) {
            let end = unpack(packing, &whole[..cut], INPUT, 4096).1.unwrap_err();
            assert_eq!(end.kind(), ErrorKind::UnexpectedEof, "{packing:?} at {cut}");
        }
        assert_eq!(unpack(packing, &whole[..first], INPUT, 4096).1.unwrap(), first as u64);

        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        let mut unpacker = None;
        let (mut text, mut into) = (Vec::<u8>::new(), [0; 4096]);
        for cut in 0..=whole.len() {
            std::fs::write(&path, &whole[..cut]).unwrap();
            let unpacker = unpacker.get_or_insert_with(|| {
                Unpacker::new(std::fs::File::open(&path).unwrap(), packing).unwrap().unwrap()
            });
            let end = loop {
                match unpacker.unpack(&mut into).unwrap() {
                    Piece::Bytes(count) => text.extend(&into[..count]),
                    Piece::Nothing => {}
                    end => break end,
                }
            };
            let is_whole = cut == first || cut == whole.len();
            assert_eq!(
                end,
                if is_whole { Piece::End } else { Piece::Short },
                "{packing:?} at {cut}"
            );
        }
        assert_eq!(text, b"{\"id\":\"a\"}\n{\"id\":\"b\"}\n");
    }
}

#[test]
fn zeros_behind_the_end_are_passed_over_and_anything_else_is_not() {
    for packing in BOTH {
        let part = |text: &[u8]| packed(packing, text);
        let zeros = vec![0; 3 * INPUT];
        let whole = [part(b"a"), zeros.clone(), part(b"b"), zeros.clone()].concat();
        let (text, end) = unpack(packing, &whole, INPUT, 10);
        assert_eq!((text, end.unwrap()), (b"ab".to_vec(), whole.len() as u64));
        let garbage = [part(b"a"), b"garbage".to_vec()].concat();
        assert_eq!(fails(packing, &garbage, "has something behind its end that is no"), b"a");
        fails(packing, &zeros, "at byte 0 of the file");
    }
    fails(Packing::Gzip, b"{\"id\":\"a\"}\n", "is no gzip");
    fails(Packing::Gzip, &zstd(b"a"), "is no gzip");
    fails(Packing::Zstd, &gzip(b"a"), "is no zstd");
    fails(Packing::Zstd, b"{\"id\":\"a\"}\n", "is no zstd");
}

#[test]
fn no_damaged_byte_goes_unnoticed() {
    let text = &text()[..20_000];
    for packing in BOTH {
        let whole = packed(packing, text);
        let mut silent = 0;
        for at in (0..whole.len()).step_by(23).chain(whole.len() - 12..whole.len()) {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x10;
            match unpack(packing, &bytes, INPUT, 4096) {
                // (gzip's header has a time and a system in it that mean nothing to the text.)
                (found, Ok(_)) => {
                    assert!(found == text, "{packing:?} at {at}");
                    silent += 1;
                }
                (_, Err(e)) => {
                    let is_short = e.kind() == ErrorKind::UnexpectedEof;
                    assert!(is_short || Corrupt::is(&e), "{packing:?} at {at}: {e}");
                }
            }
        }
        assert!(silent <= 2, "{silent}");
    }
    let mut bytes = gzip(text);
    let crc = bytes.len() - 8;
    bytes[crc] ^= 1;
    assert!(
        fails(Packing::Gzip, &bytes, "is damaged (gzip: incorrect data check), at byte") == text
    );
    bytes[crc] ^= 1;
    *bytes.last_mut().unwrap() ^= 1;
    fails(Packing::Gzip, &bytes, "incorrect length check");
    let mut bytes = zstd(text);
    *bytes.last_mut().unwrap() ^= 1;
    // (What zstd has unpacked together with the checksum that does not fit is not given out.)
    assert!(text.starts_with(&fails(Packing::Zstd, &bytes, "checksum")));
}

#[test]
fn what_is_wrong_is_said_again_and_again() {
    let mut unpacker = Unpacker::new(&b"no"[..], Packing::Gzip).unwrap().unwrap();
    let mut words = || unpacker.unpack(&mut [0; 10]).unwrap_err().to_string();
    assert_eq!((words(), words().as_str()), (words(), "is no gzip, at byte 0 of the file"));
}

#[test]
fn a_window_that_would_cost_too_much_memory_is_refused_with_the_remedy() {
    let frame = |log: u32| {
        let mut packed = ::zstd::Encoder::new(Vec::new(), 1).unwrap();
        packed.window_log(log).unwrap();
        io::Write::write_all(&mut packed, &vec![b' '; 1 << 20]).unwrap();
        packed.finish().unwrap()
    };
    assert_eq!(unpack(Packing::Zstd, &frame(WINDOW_LOG), INPUT, 1 << 18).0.len(), 1 << 20);
    let words = "needs a zstd window of more than 128 MiB (compress it with --long=27 or less)";
    assert_eq!(fails(Packing::Zstd, &frame(WINDOW_LOG + 1), words), b"");
}

#[test]
fn a_bomb_is_unpacked_a_piece_at_a_time() {
    let zeros = vec![b'0'; 1 << 24];
    for packing in BOTH {
        let bomb = packed(packing, &zeros);
        assert!(bomb.len() < 200_000, "{}", bomb.len());
        let mut unpacker = Unpacker::new(&bomb[..], packing).unwrap().unwrap();
        let mut into = [0; 5_000];
        let mut length = 0;
        while let Piece::Bytes(count) = unpacker.unpack(&mut into).unwrap() {
            length += count;
        }
        assert!(length > 0 && unpacker.buffer.len() == INPUT);
    }
}

#[test]
fn where_nobody_waits_a_file_that_ends_in_the_middle_is_an_error() {
    let whole = gzip(b"{\"id\":\"a\"}\n");
    let mut text = String::new();
    Unpacker::new(&whole[..], Packing::Gzip).unwrap().unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, "{\"id\":\"a\"}\n");
    let cut = &whole[..whole.len() - 1];
    let mut unpacker = Unpacker::new(cut, Packing::Gzip).unwrap().unwrap();
    let error = unpacker.read_to_end(&mut Vec::new()).unwrap_err();
    assert!(error.to_string().contains("ends in the middle of what was compressed"), "{error}");
}
