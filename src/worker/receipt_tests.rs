//! What Solr 9.10.1 really answered, word for word, and what a worker makes of it.

use super::*;
use crate::batch::tests::batch;

const JSON: &str = "application/json;charset=utf-8";

fn reply(status: u16, body: &str) -> Reply {
    Reply { status, content_type: JSON.into(), retry_after: None, body: body.into() }
}

fn verdict(ids: &[&str], status: u16, body: &str) -> Verdict {
    judge(&reply(status, body), true, &batch(ids), 0..ids.len(), 1)
}

fn waits(ids: &[&str], status: u16, body: &str) -> (Trouble, String) {
    match verdict(ids, status, body) {
        Verdict::Wait { wait, .. } => (wait.trouble, wait.reason),
        other => panic!("{other:?}"),
    }
}

fn at_fault(status: u16, message: &str, applied: Option<usize>) -> Verdict {
    Verdict::AtFault { status, message: message.into(), applied }
}

#[test]
fn a_receipt_that_lists_what_was_sent_confirms_it() {
    let direct = r#"{"responseHeader":{"rf":1,"status":0,"QTime":72},
        "adds":["v1",1882628252310175744,"v2",1882628252344778752]}"#;
    assert_eq!(verdict(&["v1", "v2"], 200, direct), Verdict::Confirmed);
    let forwarded =
        r#"{"responseHeader":{"rf":2,"status":0,"QTime":45},"adds":["v1",0,"v1",0,"42",0]}"#;
    assert_eq!(verdict(&["v1", "v1", "42"], 200, forwarded), Verdict::Forwarded);
    let escaped = r#"{"responseHeader":{"rf":1,"status":0},"adds":["a\u0001\"é\ud83d\ude00",1]}"#;
    assert_eq!(verdict(&["a\u{1}\"é😀"], 200, escaped), Verdict::Confirmed);
}

#[test]
fn adds_and_deletes_are_listed_apart() {
    let mut sent = batch(&["v1", "v2"]);
    let delete =
        convert::Converted::Delete { id: "v3".into(), route: None, body: br#"{"id":"v3"}"# };
    sent.push((2, 0), br#"{"delete":{"id":"v3"}}"#, &delete, 0);
    sent.push((3, 0), br#"{"id":"v4"}"#, &crate::batch::tests::doc("v4"), 0);
    let body = r#"{"responseHeader":{"rf":1,"status":0,"QTime":72},
        "adds":["v1",1882628252310175744,"v2",1882628252344778752,"v4",1882628252351070208],
        "deletes":["v3",-1882628252347924480]}"#;
    assert_eq!(judge(&reply(200, body), true, &sent, 0..4, 1), Verdict::Confirmed);
    assert!(matches!(judge(&reply(200, body), true, &sent, 0..3, 1), Verdict::Wait { .. }));
    let only = r#"{"responseHeader":{"rf":2,"status":0,"QTime":16},"deletes":["v3",0]}"#;
    assert_eq!(judge(&reply(200, only), true, &sent, 2..3, 1), Verdict::Forwarded);
}

#[test]
fn a_200_that_confirms_nothing_is_no_receipt() {
    for (body, why) in [
        (r#"{"responseHeader":{"rf":2147483647,"status":0},"adds":["a",0]}"#, "no replica"),
        (r#"{"responseHeader":{"status":0},"adds":["a",1]}"#, "does not say"),
        (r#"{"responseHeader":{"rf":1,"status":0},"adds":["b",1]}"#, "other documents"),
        (r#"{"responseHeader":{"rf":1,"status":0},"adds":["a",1,"a",1]}"#, "other documents"),
        (r#"{"responseHeader":{"rf":1,"status":0}}"#, "other documents"),
        (r#"{"responseHeader":{"rf":1,"status":0},"deletes":["a",1]}"#, "other documents"),
        (r#"{"responseHeader":{"rf":1,"status":500},"adds":["a",1]}"#, "an error in it"),
        (r#"{"ok":true}"#, "not as Solr"),
        (r#"{"responseHeader":{"rf":1,"status":0},"adds":["a",1]"#, "not in Solr's JSON"),
        ("", "not in Solr's JSON"),
        // A TolerantUpdateProcessor: 200, and the document is not in.
        (
            r#"{"responseHeader":{"rf":1,"errors":[{"type":"ADD","id":"a","message":"ERROR: [doc=a]"}],
                "maxErrors":-1,"status":0,"QTime":12},"adds":["a",1]}"#,
            "TolerantUpdateProcessor",
        ),
    ] {
        let (_, reason) = waits(&["a"], 200, body);
        assert!(reason.contains(why), "{reason}");
    }
    let good = r#"{"responseHeader":{"rf":1,"status":0},"adds":["a",1]}"#;
    let html = Reply { content_type: "text/html".into(), ..reply(200, good) };
    assert!(matches!(judge(&html, true, &batch(&["a"]), 0..1, 1), Verdict::Wait { .. }));
    match judge(&reply(200, good), true, &batch(&["a"]), 0..1, 2) {
        Verdict::Wait { wait, .. } => {
            assert_eq!(wait.reason, "1 of min_rf = 2 replicas have confirmed it")
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn solrs_own_error_is_the_documents_fault() {
    let error = |status: u16, msg: &str| {
        let msg = serde_json::to_string(msg).unwrap();
        let body = format!(
            r#"{{"responseHeader":{{"rf":1,"status":{status},"QTime":18}},"adds":["v1",1882628252554493952],
                "error":{{"metadata":["error-class","org.apache.solr.common.SolrException"],"msg":{msg},"code":{status}}}}}"#
        );
        verdict(&["v1", "v2"], status, &body)
    };
    assert_eq!(
        error(400, "ERROR: [doc=v2] unknown field 'nosuchfield'"),
        at_fault(400, "ERROR: [doc=v2] unknown field 'nosuchfield'", Some(1))
    );
    assert_eq!(
        error(409, "version conflict for v1 expected=5 actual=1882628252554493952"),
        at_fault(409, "version conflict for v1 expected=5 actual=1882628252554493952", Some(1))
    );
    let wrapped = "Async exception during distributed update: Error from server at \
                   http://127.0.0.1:26583/solr: null\n\n\n\nrequest: http://127.0.0.1:26583/solr\n\
                   Remote error message: ERROR: [doc=v2] unknown field 'nosuchfield'";
    // Of what was passed on, a receipt says nothing.
    let unknown = "ERROR: [doc=v2] unknown field 'nosuchfield'";
    assert_eq!(error(400, wrapped), at_fault(400, unknown, None));
}

#[test]
fn a_400_about_the_body_that_we_built_is_nobodys_fault() {
    // As it came: Solr cuts the message in the middle of a character.
    let cut = r#"{"responseHeader":{"status":400,"QTime":6},"error":{"metadata":["error-class","x"],
        "msg":"Cannot parse provided JSON: Expected key,value separator ':': char=\uD83D,position=39","code":400}}"#;
    let (trouble, reason) = waits(&["a"], 400, cut);
    assert_eq!(trouble, Trouble::Passing);
    assert!(reason.starts_with("HTTP 400: Cannot parse provided JSON"), "{reason}");
    let (_, reason) =
        waits(&["a"], 400, r#"{"error":{"msg":"missing content stream","code":400}}"#);
    assert_eq!(reason, "HTTP 400: missing content stream");
    let html = Reply { content_type: "text/html".into(), ..reply(400, "<h1>Bad Request</h1>") };
    assert!(matches!(judge(&html, true, &batch(&["a"]), 0..1, 1), Verdict::Wait { .. }));
}

#[test]
fn a_message_with_half_a_character_is_read_all_the_same() {
    let body = r#"{"responseHeader":{"status":400},"error":{"msg":"ERROR: [doc=x] bad \uD83D","code":400}}"#;
    assert_eq!(
        verdict(&["x"], 400, body),
        at_fault(400, "ERROR: [doc=x] bad \u{fffd}\u{fffd}\u{fffd}", Some(0))
    );
}

#[test]
fn a_replica_that_takes_itself_for_the_leader_is_told_with_the_remedy() {
    let said = r#"{"error":{"msg":"Request says it is coming from leader, but we are the leader","code":510}}"#;
    let words = "HTTP 510: Request says it is coming from leader, but we are the leader; if that lasts, \
                 restart the node of the shard's other replica";
    assert_eq!(waits(&["a"], 510, said), (Trouble::Passing, words.to_owned()));
    assert_eq!(waits(&["a"], 510, "").1, "HTTP 510");
}

#[test]
fn what_may_pass_is_told_from_what_stays() {
    let async_500 = r#"{"responseHeader":{"rf":2147483647,"status":500,"QTime":2},"error":{"msg":
        "Async exception during distributed update: java.net.ConnectException: Connection refused","code":500}}"#;
    let (trouble, reason) = waits(&["a"], 500, async_500);
    assert_eq!(trouble, Trouble::Passing);
    assert!(reason.contains("Connection refused"), "{reason}");
    for status in [408, 429, 500, 502, 503, 504, 510] {
        assert_eq!(waits(&["a"], status, "").0, Trouble::Passing, "{status}");
    }
    for status in [301, 302, 401, 403, 404, 407, 415] {
        assert_eq!(waits(&["a"], status, "<html>").0, Trouble::Standing, "{status}");
    }
    assert_eq!(verdict(&["a"], 413, "<html>"), Verdict::TooLarge);
    let busy = Reply { retry_after: Some(Duration::from_secs(7)), ..reply(429, "") };
    match judge(&busy, true, &batch(&["a"]), 0..1, 1) {
        Verdict::Wait { wait, .. } => assert_eq!(wait.retry_after, Some(Duration::from_secs(7))),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_probe_is_answered_without_rf() {
    let probe = r#"{"responseHeader":{"status":0,"QTime":2}}"#;
    assert_eq!(judge_plain(&reply(200, probe)), Ok(()));
    for reply in [
        reply(200, "<html>"),
        reply(404, ""),
        reply(400, r#"{"error":{"msg":"unknown handler","code":400}}"#),
    ] {
        assert!(judge_plain(&reply).is_err(), "{reply:?}");
    }
}

#[test]
fn a_refusals_receipt_says_how_far_the_leader_came() {
    let answer = |adds: &str, deletes: &str| {
        format!(
            r#"{{"responseHeader":{{"status":400}},"adds":[{adds}],"deletes":[{deletes}],
                "error":{{"msg":"no","code":400}}}}"#
        )
    };
    let mut sent = batch(&["a", "b"]);
    let delete = convert::Converted::Delete { id: "c".into(), route: None, body: br#"{"id":"c"}"# };
    sent.push((2, 0), br#"{"delete":{"id":"c"}}"#, &delete, 0);
    sent.push((3, 0), br#"{"id":"d"}"#, &crate::batch::tests::doc("d"), 0);
    let applied =
        |leads, min_rf, body: String| match judge(&reply(400, &body), leads, &sent, 0..4, min_rf) {
            Verdict::AtFault { applied, .. } => applied,
            other => panic!("{other:?}"),
        };
    assert_eq!(applied(true, 1, answer("", "")), Some(0));
    assert_eq!(applied(true, 1, answer(r#""a",5,"b",6"#, "")), Some(2));
    assert_eq!(applied(true, 1, answer(r#""a",5,"b",6"#, r#""c",-7"#)), Some(3));
    // No beginning of what was sent, or not this leader's word, or all of it: nothing is known.
    assert_eq!(applied(true, 1, answer(r#""a",5"#, r#""c",-7"#)), None);
    assert_eq!(applied(true, 1, answer(r#""b",5"#, "")), None);
    assert_eq!(applied(true, 1, answer(r#""a",5,"b",0"#, "")), None);
    assert_eq!(applied(true, 1, answer(r#""a",5,"b",6,"d",8"#, r#""c",-7"#)), None);
    assert_eq!(applied(false, 1, answer(r#""a",5"#, "")), None);
    assert_eq!(applied(true, 2, answer(r#""a",5"#, "")), None, "a replica may be missing");
}

#[test]
fn what_solr_itself_failed_at_may_be_one_document() {
    let body = |msg: &str| format!(r#"{{"adds":["a",7],"error":{{"msg":"{msg}","code":500}}}}"#);
    let judged = |status, msg: &str| match judge(
        &reply(status, &body(msg)),
        true,
        &batch(&["a", "b"]),
        0..2,
        1,
    ) {
        Verdict::Wait { applied, suspect, wait } => (applied, suspect, wait.stale),
        other => panic!("{other:?}"),
    };
    assert_eq!(judged(500, "java.lang.StackOverflowError"), (1, true, true));
    assert_eq!(judged(503, "No registered leader"), (1, false, true));
    assert_eq!(judged(500, "Async exception during distributed update: x"), (0, false, true));
}

#[test]
fn a_document_is_known_by_the_ways_solr_names_it() {
    for message in [
        "ERROR: [doc=a.b] unknown field 'x'",
        "version conflict for a.b expected=5 actual=7",
        "Exception writing document id a.b to the index; possible analysis error",
    ] {
        assert!(names(message, "a.b"), "{message}");
        assert!(!names(message, "a") && !names(message, "b"), "{message}");
    }
}

#[test]
fn a_message_is_one_line_of_bounded_length() {
    assert_eq!(clean("a\n\n b\tc "), "a b c");
    let long = clean(&"ü ".repeat(10_000));
    assert!(long.len() <= 1004 && long.ends_with('…'));
}

#[test]
fn rv20_a_documents_own_words_are_not_ours() {
    let m = r#"ERROR: [doc=a] Error adding field 'price_i'='Unknown key' msg=For input string: \"Unknown key\""#;
    let body = format!(
        r#"{{"responseHeader":{{"rf":1,"status":400}},"error":{{"msg":"{m}","code":400}}}}"#
    );
    let v = verdict(&["a"], 400, &body);
    assert!(matches!(v, Verdict::AtFault { .. }), "{v:?}");
}

#[test]
fn rv21_an_error_that_nobody_confirms_confirms_nothing() {
    let body = r#"{"responseHeader":{"rf":2147483647,"status":503},"adds":["a",5],"error":{"msg":"Cannot talk to ZooKeeper - Updates are disabled.","code":503}}"#;
    let v = verdict(&["a", "b"], 503, body);
    assert!(matches!(v, Verdict::Wait { applied: 0, .. }), "{v:?}");
}
