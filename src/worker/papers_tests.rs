use super::*;
use crate::testing::{config, no_log};
use convert::Converter;
use scoreboard::Board;

struct Desk {
    _dir: tempfile::TempDir,
    shop: Shop,
}

fn desk() -> Desk {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(&["http://localhost:1/solr"]);
    config.spool.max_line = 50;
    let spool = Spool::at(dir.path());
    spool.prepare().unwrap();
    let board = Board::new().unwrap();
    board.parent().set_slots_most(1);
    let (cell, log) = (board.worker(1, 0), no_log());
    let shop = Shop {
        exec: None,
        converter: Converter::new(&config).unwrap(),
        config,
        spool,
        board,
        cell,
        log,
    };
    Desk { _dir: dir, shop }
}

fn order(kind: Kind, guarded: bool) -> orders::Share {
    let (key, poison, begin, end, version) = Default::default();
    let name = "x.jsonl".into();
    orders::Share {
        claim: 9,
        share: 0,
        of: 1,
        key,
        poison,
        kind,
        guarded,
        begin,
        end,
        version,
        name,
    }
}

fn no_intents() -> Arc<Intents> {
    Arc::new(Intents::open("there is none".as_ref(), 0, || ()).unwrap())
}

const PLACE: Place = Place { index: 4, offset: 40, end: 50 };

/// A line or its record, as text.
fn read(papers: &mut Papers, record: &str) -> Result<String, serde_json::Value> {
    match papers.line(PLACE, record.as_bytes()) {
        Unfolded::Line(line) => Ok(String::from_utf8_lossy(&line).into_owned()),
        Unfolded::Refused(record) => Err(serde_json::from_slice(&record).unwrap()),
        Unfolded::NotYet => panic!("of a plain delta nothing is waited for"),
    }
}

fn rejected(papers: &Papers) -> (u64, u64, u32, Age) {
    let reject = papers.reject(PLACE, Stage::Solr, "no", Some(77));
    (reject.line, reject.offset, reject.attempts, reject.age)
}

#[test]
fn a_line_of_a_delta_is_as_old_as_the_last_receipt() {
    let Desk { shop, _dir } = desk();
    let mut papers = Papers::new(&order(Kind::Delta, false), None, &no_intents(), &shop).unwrap();
    assert_eq!(read(&mut papers, "x").unwrap(), "x");
    assert_eq!(rejected(&papers), (5, 40, 0, Age { as_of: 77, claim: 9 }));
    assert!(papers.late(4).is_none());
    let now = |papers: &Papers| papers.reject(PLACE, Stage::Parse, "no", None).age.as_of;
    let clock = sys::clock::wall_ms() << 20;
    assert!(now(&papers) >= clock, "no receipt yet: it is by the clock");
    let (version, ms) = (clock - (1 << 40), sys::clock::now_ms());
    shop.cell.raise_version(version, ms);
    let found = now(&papers);
    let most = version + ((sys::clock::now_ms() - ms) << 20);
    assert!((version..=most).contains(&found), "{version} <= {found} <= {most}");
}

#[test]
fn what_goes_on_is_as_old_as_it_was_and_what_is_forced_as_new_as_can_be() {
    let Desk { shop, _dir } = desk();
    let progress = Progress { claim: 3, as_of: 33, ..Progress::default() };
    let papers =
        Papers::new(&order(Kind::Rest, true), Some(&progress), &no_intents(), &shop).unwrap();
    let old = Age { as_of: 33, claim: 3 };
    assert_eq!(papers.late(0).map(|late| late.age), Some(old));
    assert_eq!(rejected(&papers), (5, 40, 0, old));
    let papers =
        Papers::new(&order(Kind::Rest, false), Some(&progress), &no_intents(), &shop).unwrap();
    assert!(papers.late(0).is_none());
    assert_eq!(rejected(&papers).3, Age { as_of: 77, claim: 9 });
}

#[test]
fn a_rejected_line_brings_its_papers_along() {
    let Desk { shop, _dir } = desk();
    let record = r#"{"delta":"x.jsonl","line":700,"offset":7000,"id":null,"stage":"parse","status":null,
        "reason":"no","attempts":2,"time":"T","as_of":33,"claim":3,"raw":"{\"id\":\"a\"}"}"#;
    for (guarded, age) in
        [(true, Age { as_of: 33, claim: 3 }), (false, Age { as_of: 77, claim: 9 })]
    {
        let mut papers =
            Papers::new(&order(Kind::Rejects, guarded), None, &no_intents(), &shop).unwrap();
        assert_eq!(read(&mut papers, record).unwrap(), r#"{"id":"a"}"#);
        assert_eq!(rejected(&papers), (700, 7000, 3, age));
        assert_eq!(papers.late(4).map(|late| late.age), guarded.then_some(age));
        papers.passed(5);
        assert!(papers.brought.is_empty(), "it is done");
    }
    let mut papers = Papers::new(&order(Kind::Rejects, true), None, &no_intents(), &shop).unwrap();
    let bytes = record.replace(r#""raw":"{\"id\":\"a\"}""#, r#""raw_base64":"//4=""#);
    let Unfolded::Line(line) = papers.line(PLACE, bytes.as_bytes()) else { panic!("it is one") };
    assert_eq!(*line, [0xff, 0xfe]);
    assert_eq!(read(&mut papers, " \t").unwrap(), " \t");
}

#[test]
fn a_record_that_nobody_can_deliver_is_a_reject_again_and_nothing_of_it_is_lost() {
    let Desk { shop, _dir } = desk();
    let mut papers = Papers::new(&order(Kind::Rejects, true), None, &no_intents(), &shop).unwrap();
    let garbage = read(&mut papers, "{\"torn").unwrap_err();
    assert_eq!((&garbage["line"], &garbage["raw"]), (&0.into(), &"{\"torn".into()));
    assert!(garbage["reason"].as_str().unwrap().contains("cannot be read"));
    let ageless =
        read(&mut papers, r#"{"line":7,"offset":70,"attempts":1,"raw":"{}"}"#).unwrap_err();
    assert_eq!(
        (&ageless["line"], &ageless["raw"], &ageless["attempts"]),
        (&7.into(), &"{}".into(), &2.into())
    );
    assert!(ageless["reason"].as_str().unwrap().contains("`solr-updater retry --force`"));
    let mut forced = Papers::new(&order(Kind::Rejects, false), None, &no_intents(), &shop).unwrap();
    assert_eq!(read(&mut forced, r#"{"line":7,"offset":70,"raw":"{}"}"#).unwrap(), "{}");
    let empty = read(&mut forced, r#"{"line":7,"offset":70}"#).unwrap_err();
    assert!(empty["reason"].as_str().unwrap().contains("nothing is left"));
}

#[test]
fn a_line_that_was_too_long_is_read_from_its_delta_if_it_may_be_now() {
    let Desk { shop, _dir } = desk();
    let text = b"first\n0123456789012345678901234567890123456789\r\nlast one";
    std::fs::write(shop.spool.done().join("x.jsonl"), text).unwrap();
    let mut papers = Papers::new(&order(Kind::Rejects, true), None, &no_intents(), &shop).unwrap();
    let mut find = |offset: u64, length: u64| {
        let record = format!(
            r#"{{"line":2,"offset":{offset},"attempts":0,"as_of":1,"claim":1,"length":{length}}}"#
        );
        read(&mut papers, &record).map_err(|record| {
            assert_eq!(record["length"], length, "it is still only in its delta");
            record["reason"].as_str().unwrap().to_owned()
        })
    };
    assert_eq!(find(6, 41).unwrap(), "0123456789012345678901234567890123456789");
    assert_eq!((find(0, 5).unwrap(), find(48, 8).unwrap()), ("first".into(), "last one".into()));
    assert_eq!(find(6, 51).unwrap_err(), "the line has 51 bytes, and spool.max_line = 50");
    for (offset, length) in [(7, 40), (6, 40), (0, 12)] {
        let why = find(offset, length).unwrap_err();
        assert!(why.contains("is not what it was"), "{offset}, {length}: {why}");
    }
    assert!(find(50, 40).unwrap_err().contains("cannot be read again"));
    std::fs::rename(shop.spool.done().join("x.jsonl"), shop.spool.failed().join("x.jsonl"))
        .unwrap();
    assert_eq!(find(0, 5).unwrap(), "first");
    std::fs::write(shop.spool.failed().join("x.jsonl"), b"\xef\xbb\xbffirst\nsecond\n").unwrap();
    assert_eq!((find(0, 8).unwrap(), find(9, 6).unwrap()), ("first".into(), "second".into()));
    std::fs::remove_file(shop.spool.failed().join("x.jsonl")).unwrap();
    assert!(find(0, 5).unwrap_err().contains("cannot be read again"));
}

#[test]
fn what_is_not_known_of_a_failed_delta_is_not_guessed() {
    let Desk { shop, _dir } = desk();
    std::fs::write(shop.spool.active().join("x.jsonl"), "{}\n").unwrap();
    let of = |kind, guarded| progress(&order(kind, guarded), &shop.spool);
    assert!(matches!(of(Kind::Delta, false), Ok(None)));
    assert!(matches!(of(Kind::Rest, true), Err(None)));
    assert!(matches!(of(Kind::Rest, false), Ok(None)));
    let found = shop.spool.look_at_claimed(Kind::Rest, "x.jsonl".as_ref()).unwrap();
    let inode = std::os::unix::fs::MetadataExt::ino(&found);
    let known = Progress { inode, claim: 3, ..Progress::default() };
    known.save(&shop.spool.progress(9)).unwrap();
    assert_eq!(of(Kind::Rest, true).unwrap(), Some(known.clone()));
    Progress { inode: inode + 1, ..known }.save(&shop.spool.progress(9)).unwrap();
    assert!(matches!(of(Kind::Rest, true), Err(None)), "another file's");
}
