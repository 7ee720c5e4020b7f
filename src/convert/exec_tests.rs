//! What the operator's own converter answers is judged like a line.

use super::*;

fn converter() -> Converter {
    Converter { unique_key: "id".into(), way: Way::Exec }
}

#[test]
fn what_is_no_line_is_not_shown_to_it() {
    let converter = converter();
    assert_eq!(converter.before_asking(b"{\"a\":1}"), None);
    assert_eq!(converter.before_asking(b" \r"), Some(Converted::Nothing));
    for (line, stage, why) in [
        (&b"{\"a\":"[..], Stage::Parse, "malformed JSON at byte 5: EOF while parsing a value"),
        (b"\"\xff\"", Stage::Parse, "byte 2 is not UTF-8 (0xff)"),
        (b"[1]", Stage::Convert, "a list, not a JSON object"),
    ] {
        let reason = why.into();
        assert_eq!(converter.before_asking(line), Some(Converted::Reject { stage, reason }));
    }
}

#[test]
fn its_answer_is_a_document_a_delete_or_nothing() {
    let converter = converter();
    for empty in ["", " ", "\r"] {
        assert_eq!(
            converter.answered(empty.as_bytes(), &Scratch::default(), None),
            Converted::Nothing
        );
    }
    let Converted::Doc { id, body: Body::Made(body), .. } =
        converter.answered(b" {\"id\":\"a\"}\r", &Scratch::default(), None)
    else {
        panic!()
    };
    assert_eq!((&*id, &*body), ("a", &b"{\"id\":\"a\"}"[..]));
    let delete = converter.answered(b"{\"delete\":{\"id\":\"x\"}}", &Scratch::default(), None);
    assert!(matches!(delete, Converted::Delete { id, .. } if id == "x"));
}

#[test]
fn anything_else_rejects_its_line() {
    let converter = converter();
    for (answer, why) in [
        (&b"warning: no price"[..], "malformed JSON at byte 1: expected value (warning: no price)"),
        (b"{\"id\":1} {}", "malformed JSON at byte 10: trailing characters"),
        (b"{\"title\":1}", "no member id"),
        (b"null", "a bare word, not a JSON object"),
        (b"{\"id\":\"\xe9\"}", "byte 8 is not UTF-8 (0xe9)"),
        (b"{\"id\":\"\\ud800\"}", "a lone surrogate, \\ud800 at byte 8"),
        (b"{\"delete\":{\"query\":\"*:*\"}}", "delete has other members than id and _route_"),
    ] {
        match converter.answered(answer, &Scratch::default(), None) {
            Converted::Reject { stage: Stage::Convert, reason } => {
                assert!(reason.starts_with(&format!("exec's answer: {why}")), "{reason}");
            }
            other => panic!("{other:?}"),
        }
    }
}
