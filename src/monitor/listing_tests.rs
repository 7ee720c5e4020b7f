use super::*;
use serde_json::Value;

fn spool() -> (tempfile::TempDir, Spool) {
    let dir = tempfile::tempdir().unwrap();
    let spool = Spool::at(dir.path());
    spool.prepare().unwrap();
    (dir, spool)
}

fn record(line: u64, more: &str) -> String {
    format!(
        "{{\"delta\":\"x.jsonl\",\"line\":{line},\"offset\":7,\"id\":\"i{line}\",\"stage\":\"solr\",\"status\":400,\
         \"reason\":\"no \\\"field\\\",\\\"raw\\\":\",\"attempts\":1,\"time\":\"T\"{more}}}\n"
    )
}

fn ask(spool: &Spool, words: &str) -> Value {
    let answer = crate::without_daemon(spool, words);
    assert_eq!(answer.lines().count(), 1, "{answer}");
    serde_json::from_str(&answer).unwrap()
}

fn lines(answer: &Value) -> Vec<u64> {
    answer["rejects"].as_array().unwrap().iter().map(|r| r["line"].as_u64().unwrap()).collect()
}

#[test]
fn every_rejected_line_is_listed_with_its_reason_and_without_itself() {
    let (_dir, spool) = spool();
    let write =
        |name: &str, text: String| std::fs::write(spool.rejected().join(name), text).unwrap();
    let records = [
        record(1, r#","raw":"{\"id\":\"i1\",\"raw\":"#.trim_end()).replace("}\n", "\"}\n"),
        record(2, r#","raw_base64":"//4=""#),
        record(9, r#","length":99999999"#),
    ];
    write("b.jsonl.rejected.jsonl", records.concat());
    write("a.jsonl.rejected.jsonl", record(5, r#","raw":"x""#));
    write("notes.txt", "not ours\n".into());
    write(".merging-3", record(3, ""));
    let all = ask(&spool, "rejects");
    assert_eq!((lines(&all), &all["truncated"]), (vec![5, 1, 2, 9], &false.into()));
    let one = &ask(&spool, "rejects b.jsonl")["rejects"][0];
    let expected = serde_json::json!({
        "delta": "x.jsonl", "line": 1, "offset": 7, "id": "i1", "stage": "solr", "status": 400,
        "reason": "no \"field\",\"raw\":", "attempts": 1, "time": "T",
    });
    assert_eq!(one, &expected);
    assert_eq!(lines(&ask(&spool, "rejects a.jsonl")), [5]);
}

#[test]
fn an_unknown_delta_is_told_from_one_without_rejects() {
    let (_dir, spool) = spool();
    std::fs::write(spool.done().join("x.jsonl"), "").unwrap();
    assert_eq!(ask(&spool, "rejects x.jsonl")["rejects"], serde_json::json!([]));
    let refused = &ask(&spool, "rejects y.jsonl")["error"];
    assert_eq!(refused["code"], "unknown_delta");
    assert!(refused["message"].as_str().unwrap().contains("`solr-updater rejects` lists"));
}

#[test]
fn a_record_that_cannot_be_read_is_listed_as_that() {
    let (_dir, spool) = spool();
    let text = format!("{{\"id\":\"x\"}}\n\n\u{0}garbage\n{}{{\"torn", record(4, ""));
    std::fs::write(spool.rejected_file("x.jsonl".as_ref()), text).unwrap();
    let answer = ask(&spool, "rejects x.jsonl");
    let all = answer["rejects"].as_array().unwrap();
    let read: Vec<bool> = all.iter().map(|r| r["line"].is_u64()).collect();
    assert_eq!(read, [false, false, false, true, false]);
    assert!(all.iter().all(|r| r["delta"] == "x.jsonl"));
    assert!(all[0]["reason"].as_str().unwrap().contains("cannot be read"));
}

#[test]
fn a_list_has_an_end_whatever_is_in_the_file_and_says_that_it_was_cut() {
    let (_dir, spool) = spool();
    let path = spool.rejected_file("x.jsonl".as_ref());
    std::fs::write(&path, (1..=LINES as u64 + 1).map(|n| record(n, "")).collect::<String>())
        .unwrap();
    let cut = ask(&spool, "rejects x.jsonl");
    assert_eq!((lines(&cut).len(), &cut["truncated"]), (LINES, &true.into()));
    std::fs::write(&path, (1..=LINES as u64).map(|n| record(n, "")).collect::<String>()).unwrap();
    assert_eq!(ask(&spool, "rejects")["truncated"], false);

    // Ids as long as they may be, and longer.
    let id =
        |length: usize| record(1, "").replace("\"i1\"", &format!("\"{}\"", "i".repeat(length)));
    std::fs::write(&path, id(30_000).repeat(200)).unwrap();
    let answer = crate::without_daemon(&spool, "rejects");
    assert!(
        answer.len() < BYTES + 100_000 && answer.contains("\"truncated\":true"),
        "{}",
        answer.len()
    );
    std::fs::write(&path, id(2 << 20) + &record(2, "")).unwrap();
    let all = ask(&spool, "rejects");
    assert_eq!(
        (all["rejects"].as_array().unwrap().len(), &all["rejects"][1]["line"]),
        (2, &2.into())
    );

    // Lines so long that nobody may wait for them.
    let room = || Room { lines: 9, bytes: 1 << 20, read: 1 << 20, by: u64::MAX };
    let long = record(1, &format!(",\"raw\":\"{}\"", "x".repeat(600_000))).repeat(5);
    let mut list = Vec::new();
    assert!(room().list(long.as_bytes(), "x.jsonl".as_ref(), &mut list).unwrap());
    assert_eq!((list.len(), list[1].line), (2, Some(1)));
    let mut late = Room { by: 0, ..room() };
    assert!(late.list(long.as_bytes(), "x.jsonl".as_ref(), &mut list).unwrap());
    assert_eq!(list.len(), 2);
    list.clear();
    assert!(late.list(long.as_bytes(), "x.jsonl".as_ref(), &mut list).unwrap());
    assert_eq!(list.len(), 1, "the first is told however late it is");
}

#[test]
fn the_history_says_what_each_run_has_done_and_how_fast() {
    let (_dir, spool) = spool();
    assert_eq!(ask(&spool, "history"), serde_json::json!({"ok": true, "history": []}));
    for n in 0..30 {
        let past = Past {
            name: format!("{n}.jsonl").into(),
            fate: spool::Fate::Failed,
            time: 1_795_412_204_999,
            ms: 2500,
            lines: 1006,
            docs: 900,
            deletes: 100,
            skipped: 1,
            rejected: 2,
            superseded: 3,
            reason: if n == 29 { "torn".into() } else { String::new() },
        };
        spool.remember(&past).unwrap();
    }
    let all = ask(&spool, "history 1");
    let expected = serde_json::json!({
        "name": "29.jsonl", "outcome": "failed", "time": "2026-11-23T05:36:44Z", "lines": 1006,
        "docs": 900, "deletes": 100, "skipped": 1, "rejected": 2, "superseded": 3,
        "seconds": 2.5, "docs_per_s": 400.0, "reason": "torn",
    });
    assert_eq!(all["history"], serde_json::json!([expected]));
    assert_eq!(ask(&spool, "history")["history"].as_array().unwrap().len(), 20);
    let two = ask(&spool, "history -n 2");
    assert_eq!(
        (&two["history"][1]["name"], &two["history"][1]["reason"]),
        (&"28.jsonl".into(), &Value::Null)
    );
}
