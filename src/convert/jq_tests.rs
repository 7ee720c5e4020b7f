//! What `jq` promises.

use super::*;

fn config(program: &str) -> Config {
    let text = format!(
        "[spool]\ndir = \"/s\"\n[solr]\nurls = [\"http://a:8983/solr\"]\ncollection = \"c\"\n[convert]\njq = '''{program}'''\n"
    );
    config::parse(&text, "f.toml".as_ref()).unwrap()
}

/// What a program makes of a line: JSON, or words.
fn made(program: &str, line: &str) -> String {
    let converter = Converter::new(&config(program)).unwrap();
    let mut scratch = Scratch::default();
    match converter.convert(line.as_bytes(), &mut scratch, None) {
        Converted::Doc { body: Body::Made(made), .. } => String::from_utf8(made.into()).unwrap(),
        Converted::Doc { body: Body::Line, .. } => panic!("it was made"),
        Converted::Delete { body, .. } => {
            format!("delete {}", std::str::from_utf8(body).unwrap())
        }
        Converted::Nothing => "nothing".into(),
        Converted::Reject { stage, reason } => format!("{stage:?}: {reason}"),
    }
}

#[test]
fn a_program_makes_a_document_a_delete_or_nothing() {
    for (program, line, expected) in [
        ("{id: .sku, n_i: .n}", r#"{"sku":"a","n":1}"#, r#"{"id":"a","n_i":1}"#),
        (
            ".",
            r#"{"id":"a","price":19.90,"n":123456789012345678}"#,
            r#"{"id":"a","price":19.90,"n":123456789012345678}"#,
        ),
        (
            "{id, t: [.c[].n], u: (.x | ascii_upcase)}",
            r#"{"id":"a","c":[{"n":1},{"n":2}],"x":"é\ud83d\ude00b"}"#,
            r#"{"id":"a","t":[1,2],"u":"é😀B"}"#,
        ),
        ("select(.draft | not)", r#"{"id":"a","draft":true}"#, "nothing"),
        (
            "if .gone then {delete: {id}} else . end",
            r#"{"id":"a","gone":true}"#,
            r#"delete {"id":"a"}"#,
        ),
        (
            "{id, d: (.t | todate), b: (.id | @base64), m: (.id | test(\"^a\"))}",
            r#"{"id":"a","t":1719911145}"#,
            r#"{"id":"a","d":"2024-07-02T09:05:45Z","b":"YQ==","m":true}"#,
        ),
        ("empty", "  ", "nothing"),
    ] {
        assert_eq!(made(program, line), expected, "{program}");
    }
    // As often as it is asked.
    let converter = Converter::new(&config("{id: .sku}")).unwrap();
    let mut scratch = Scratch::default();
    for n in 0..3 {
        let line = format!("{{\"sku\":{n}}}");
        match converter.convert(line.as_bytes(), &mut scratch, None) {
            Converted::Doc { id, .. } => assert_eq!(id, n.to_string()),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn what_a_program_makes_passes_the_checks_of_a_line() {
    let mut other = Vec::new();
    let deep = format!(r#"{{"id":"a","b":{}{}}}"#, "[".repeat(100), "]".repeat(100));
    for (program, line, why) in [
        (
            ".[]",
            r#"{"a":{"id":"a"},"b":{"id":"b"}}"#,
            "Convert: jq: more than one output: need one document, or none",
        ),
        ("{id: (.a + 1)}", r#"{"a":"x"}"#, "Convert: jq: cannot calculate \"x\" + 1"),
        ("error(\"bad line\")", "{}", "Convert: jq: bad line"),
        ("halt", "{}", "Convert: jq: halt (0): a program must not end"),
        (".a", r#"{"a":1}"#, "Convert: jq's output: a number, not a JSON object"),
        (".a", "{}", "Convert: jq's output: a bare word, not a JSON object"),
        (
            "{id: \"a\", n: nan}",
            "{}",
            "Convert: jq's output: malformed JSON at byte 15: expected value",
        ),
        ("nan", "{}", "Convert: jq's output: malformed JSON at byte 1: expected value"),
        ("{a: 1}", "{}", "Convert: jq's output: no member id"),
        ("{id: \"\"}", "{}", "Convert: jq's output: id is empty"),
        (
            "{delete: {query: \"*:*\"}}",
            "{}",
            "Convert: jq's output: delete has other members than id and _route_: need {\"delete\":{\"id\":\"…\"}}",
        ),
        (
            "{id, n: {inc: 1}, _version_: 1}",
            r#"{"id":"a"}"#,
            "Convert: jq's output: _version_ is 1 beside inc, add or remove, which a second try could carry out twice: give the document's version, or none",
        ),
        (
            "{id: \"a\", b: (reduce range(200) as $n (1; [.]))}",
            "{}",
            "Convert: jq's output: nested deeper than 100 levels, which Solr cannot take",
        ),
        // A line is judged before.
        (".", "{\"id\":\"a\"", "Parse: malformed JSON at byte 9: EOF while parsing an object"),
        (".", "{\"id\":NaN}", "Parse: malformed JSON at byte 7: expected value"),
        (
            ".",
            "{\"id\":\"a\"} # no comment",
            "Parse: malformed JSON at byte 12: trailing characters",
        ),
        (".", "[1]", "Convert: a list, not a JSON object"),
        (".", r#"{"id":"\ud800"}"#, r"Convert: a lone surrogate, \ud800 at byte 8"),
        (".", &deep, "Convert: nested deeper than 100 levels, which Solr cannot take"),
    ] {
        let made = made(program, line);
        if made != why {
            other.push((program, line, made));
        }
    }
    assert_eq!(other, []);
}

#[test]
fn a_mistake_in_a_program_is_told_at_its_place() {
    let mut other = Vec::new();
    for (program, told) in [
        ("{id: .sku", "f.toml:7:17: convert.jq: need closing brace at the end"),
        ("{id: }", "f.toml:7:14: convert.jq: need term, not }"),
        (
            "\n{id: .sku,\n x: upercase(.y)}",
            "f.toml:9:5: convert.jq: no filter upercase with 1 arguments is known",
        ),
        (".a | $x", "f.toml:7:14: convert.jq: no variable $x is known"),
        (".a |", "f.toml:7:12: convert.jq: need term at the end"),
        (".a § .b", "f.toml:7:12: convert.jq: need token, not § .b"),
        (
            "import \"m\" as m; .",
            "f.toml:7:17: convert.jq: no modules here: write what it needs into the program",
        ),
        ("input", "f.toml:7:9: convert.jq: no filter input is known"),
    ] {
        let mistakes = Converter::new(&config(program)).err().expect(program);
        if mistakes.to_string() != told {
            other.push((program, mistakes.to_string()));
        }
    }
    assert_eq!(other, []);
}
