//! The straight way gives what jaq gives, to the byte, or nothing.

use super::*;

/// A part of a program, at random.
fn part(rng: &mut fastrand::Rng, depth: u32) -> String {
    if depth == 0 || rng.u8(..4) == 0 {
        let plain = [
            ".",
            ".a",
            ".b",
            ".n",
            ".a.b",
            ".a.b.c",
            ".a?",
            ".[\"a\"]",
            ".\"b\"",
            "1",
            "0.50",
            "\"k\"",
            "\"q\\\"\\u00e9\"",
            "null",
            "true",
            "empty",
            "error(\"no\")",
            "length",
            "tostring",
            ".a[0]",
            "ascii_downcase",
            "(.a | trim)",
            "{}",
            "[]",
            "not",
            "..",
            "keys",
            "tojson",
        ];
        return rng.choice(plain).unwrap().to_owned();
    }
    let mut of = || part(rng, depth - 1);
    let (f, g, h) = (of(), of(), of());
    match rng.u8(..27) {
        0..3 => format!("({f} | {g})"),
        3..5 => format!("({f} // {g})"),
        5 => format!("({f} + {g})"),
        6 => format!("({f} - {g})"),
        7 => format!("({f} * {g})"),
        8 => format!("({f} / {g})"),
        9 => format!("({f} == {g})"),
        10 => format!("({f} < {g})"),
        11 => format!("({f}, {g})"),
        12 => format!("({f} and {g})"),
        13..15 => format!("(if {f} then {g} else {h} end)"),
        15 => format!("(if {f} then {g} elif {h} then 1 end)"),
        16 => format!("[{f}, {g}]"),
        17 => format!("[{f}]"),
        18..20 => format!("{{a: {f}, b: {g}}}"),
        20 => format!("{{a, \"x y\": {f}, n: {h}}}"),
        21 => format!("{{a: {f}, \"a\": {g}}}"),
        22 => format!("(def f: {f}; {{a: f, b: ({g} | f)}})"),
        23 => format!("({f} as $x | {{a: $x, b: {g}}})"),
        24 => format!("\"<\\({f}):\\({g})>\""),
        25 => format!("select({f})"),
        _ => format!("(try {f} catch {g})"),
    }
}

const INPUTS: &[&str] = &[
    r#"{"a":"x","b":"y","n":1}"#,
    r#"{"a":{"b":{"c":2}},"b":"Üb\"er\n\u0001\u007f","n":19.90}"#,
    r#"{"a":[1,{"b":2}],"b":null,"n":123456789012345678901}"#,
    r#"{"a":false,"n":-0.0}"#,
    r#"{"b":" Z ","n":1e400}"#,
    r#"{"a":{"b":3},"b":{"a":"w","z":1},"n":true}"#,
    r#"{}"#,
    r#"[1,2]"#,
    r#""t""#,
    "null",
];

/// What a program makes of an input, the straight way and not.
fn both(jq: &mut Jq, line: &str) -> [Result<Option<String>, String>; 2] {
    let mut out = String::new();
    let mut run = |jq: &Jq| jq.run(line, &mut out).map(|some| some.then(|| out.clone()));
    let straight = run(jq);
    let way = jq.straight.take();
    let whole = run(jq);
    jq.straight = way;
    [straight, whole]
}

fn compiled(program: &str) -> Jq {
    let text = format!(
        "[spool]\ndir = '/s'\n[solr]\nurls = ['http://a:8983/solr']\ncollection = 'c'\n[convert]\njq = '''{program}'''\n"
    );
    let config = config::parse(&text, "f.toml".as_ref()).unwrap();
    let Some(config::conversion::Convert::Jq(program)) = &config.convert else { panic!("{text}") };
    Jq::new(program).unwrap_or_else(|_| panic!("{text}"))
}

#[test]
fn the_straight_way_and_the_whole_program_make_the_same() {
    let mut rng = fastrand::Rng::with_seed(7);
    let (mut cut, mut straight, mut all) = (0, 0, 0);
    for _ in 0..250 {
        let program = part(&mut rng, 3);
        let mut jq = compiled(&program);
        cut += u32::from(jq.straight.is_some());
        for line in INPUTS {
            let [one, other] = both(&mut jq, line);
            assert_eq!(one, other, "{program} of {line}");
            let input = jaq_json::read::parse_single(line.as_bytes()).unwrap();
            let way = jq.straight.as_ref();
            straight += u32::from(way.is_some_and(|w| w.write(&input, &mut Vec::new()).is_some()));
            all += 1;
        }
    }
    // Else this would compare jaq with itself.
    assert!(cut > 100 && straight > 300, "{cut} of 250 programs; {straight} of {all}");
}

#[test]
fn what_people_write_goes_straight() {
    for (program, line) in [
        (
            r#"{id: .sku, name_t: (.title | trim), price_f: (.price * 0.01), brand_s: (.brand // "unknown"),
                key_s: "\(.shop):\(.sku)", new_b: (if .new then "yes" else "no" end), place: [.lat, .lon]}"#,
            r#"{"sku":"a","title":" x ","price":1990,"shop":"s"}"#,
        ),
        (
            "if .deleted then {delete: {id: .sku}} else {id: .sku, price_f: (.price.amount / 100)} end",
            r#"{"sku":"a","price":{"amount":1990}}"#,
        ),
        ("{id, b: .b}", r#"{"id":"a","b":"Üb\"er\n\u0001\\"}"#),
        ("{id, b: .b}", r#"{"id":"a","b":"\u007f"}"#),
        ("{id, b: .b}", r#"{"id":"a","b":"\\"}"#),
        ("def f: . + 1; select(.n > 1) | {id, n: (.n | f)}", r#"{"id":"a","n":2}"#),
    ] {
        let mut jq = compiled(program);
        let input = jaq_json::read::parse_single(line.as_bytes()).unwrap();
        let way = jq.straight.as_ref().expect("there is one");
        assert!(way.write(&input, &mut Vec::new()).is_some(), "{program}");
        let [one, other] = both(&mut jq, line);
        assert_eq!(one, other, "{program}");
    }
}
