//! What `[convert]` promises: what is read of it, and that each mistake is told at its place.

use std::time::Duration;

use crate::conversion::*;
use crate::{Config, Mistakes, parse};

const MINIMAL: &str =
    "[spool]\ndir = \"/s\"\n[solr]\nurls = [\"http://a:8983/solr\"]\ncollection = \"c\"\n";

/// INTERFACE.md's example.
const FIELDS: &str = r#"[convert]
keep   = "all"
skip   = [{ field = "status", is = "draft" }]
delete = [{ field = "deleted", is = true }]

[convert.fields]
id      = "sku"
name_t  = "title"
price_f = { from = "price.amount", type = "float", scale = 0.01 }
shop_s  = { value = "example" }
cat_ss  = "categories[].name"
brand_s = { from = "brand", default = "unknown", trim = true, case = "lower" }
tags_ss = { from = "tags", split = "," }
key_s   = { join = ["shop", "sku"], with = ":" }
seen_dt = { from = "ts", type = "date", format = "unix" }
avail_s = { from = "availability", map = { "1" = "yes", "0" = "no" } }
stock_i = { from = "stock", update = "set" }
"#;

fn read(text: &str) -> Result<Config, Mistakes> {
    parse(text, "f.toml".as_ref())
}

fn fields(lines: &str) -> Fields {
    match read(&format!("{MINIMAL}{lines}")).unwrap().convert {
        Some(Convert::Fields(fields)) => fields,
        other => panic!("{other:?}"),
    }
}

/// What is said of some lines behind a minimal file, which begin at line 1.
fn said(lines: &str) -> String {
    let mistakes = read(&format!("{lines}\n{MINIMAL}")).expect_err(lines).to_string();
    mistakes.replace("f.toml:", "")
}

/// The one mistake in a field, which stands in line 3, and the id behind it.
#[track_caller]
fn field(written: &str) -> String {
    let told = said(&format!("[convert]\n[convert.fields]\n{written}\nid = \"sku\""));
    assert_eq!(told.lines().count(), 1, "{told}");
    told.strip_prefix("3:").unwrap_or_else(|| panic!("{told}")).to_owned()
}

fn path(text: &str) -> Path {
    Path::read(text).unwrap()
}

#[test]
fn the_example_of_the_interface_is_read() {
    let all = fields(FIELDS);
    let text = |text: &str| Scalar::Text(text.into());
    assert!(all.keep_all);
    assert_eq!(all.skip, [Condition { field: path("status"), is: text("draft") }]);
    assert_eq!(all.delete, [Condition { field: path("deleted"), is: Scalar::Bool(true) }]);
    let names: Vec<&str> = all.fields.iter().map(|field| field.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "id", "name_t", "price_f", "shop_s", "cat_ss", "brand_s", "tags_ss", "key_s",
            "seen_dt", "avail_s", "stock_i"
        ]
    );
    let plain = |name: &str, source: Source| Field {
        name: name.into(),
        source,
        split: None,
        trim: false,
        case: None,
        map: None,
        kind: None,
        scale: None,
        default: None,
        update: None,
    };
    let from = |name: &str, from: &str| plain(name, Source::Path(path(from)));
    let number = |text: &str| Number(text.into());
    let parts = vec![path("shop"), path("sku")];
    let map = vec![("0".to_owned(), text("no")), ("1".to_owned(), text("yes"))];
    let mut avail = from("avail_s", "availability");
    avail.map = all.fields[9].map.clone().map(|mut map| {
        map.sort_by(|a, b| a.0.cmp(&b.0));
        map
    });
    assert_eq!(avail.map, Some(map));
    avail.map = all.fields[9].map.clone();
    let expected = [
        from("id", "sku"),
        from("name_t", "title"),
        Field {
            kind: Some(Type::Float),
            scale: Some(number("0.01")),
            ..from("price_f", "price.amount")
        },
        plain("shop_s", Source::Value(Value::One(text("example")))),
        from("cat_ss", "categories[].name"),
        Field {
            default: Some(Value::One(text("unknown"))),
            trim: true,
            case: Some(Case::Lower),
            ..from("brand_s", "brand")
        },
        Field { split: Some(",".into()), ..from("tags_ss", "tags") },
        plain("key_s", Source::Join { parts, with: ":".into() }),
        Field { kind: Some(Type::Date(DateFormat::Unix)), ..from("seen_dt", "ts") },
        avail,
        Field { update: Some(Update::Set), ..from("stock_i", "stock") },
    ];
    assert_eq!(all.fields, expected);
}

#[test]
fn what_is_not_said_has_a_meaning() {
    let all = fields(
        "[convert.fields]\nid = \"a\"\nn = { from = \"b\", scale = 2 }\nd = { from = \"c\", type = \"date\" }",
    );
    assert!(!all.keep_all && all.skip.is_empty() && all.delete.is_empty());
    assert_eq!(all.fields[1].kind, Some(Type::Double), "what is multiplied is a number");
    assert_eq!(all.fields[2].kind, Some(Type::Date(DateFormat::Iso)));
    assert_eq!(read(MINIMAL).unwrap().convert, None);
    // It passes through, so it need not be named.
    assert!(fields("[convert]\nkeep = \"all\"\nfields.a = \"b\"").keep_all);
}

#[test]
fn one_way_of_converting_is_enough() {
    assert_eq!(
        said("[convert]\nkeep = \"all\""),
        "1:1: [convert] has neither fields nor jq nor exec: add [convert.fields] with id = \"sku\", or leave the table out"
    );
    assert_eq!(
        said("[convert]\nfields.id = \"a\"\njq = '.'"),
        "3:6: convert.jq = '.': fields, jq or exec, one of them: take fields away, or this"
    );
    assert_eq!(
        said("[convert]\nkeep = \"all\"\nskip = [{ field = \"a\", is = 1 }]\njq = '.'\n"),
        "2:8: convert.keep = \"all\": belongs to fields, jq says it itself: take it away\n\
         3:8: convert.skip = [{ field = \"a\", is = 1 }]: belongs to fields, jq says it itself: take it away"
    );
    assert!(said("convert = 1").starts_with("1:11: convert = 1: need a table, such as"));
    assert!(said("[[convert]]").starts_with("1:1: [convert]: need one table"));
    let told = said("[convert]\nkepe = \"all\"\nfields.id = \"a\"");
    assert_eq!(
        told,
        "2:1: unknown key convert.kepe; did you mean keep? (known: fields, jq, exec, exec_timeout, keep, skip, delete)"
    );
    assert!(
        said("[convert]\nkeep = \"every\"\nfields.id = \"a\"")
            .starts_with("2:8: convert.keep = \"every\": need \"listed\" or \"all\"")
    );
}

#[test]
fn a_document_has_an_id() {
    assert_eq!(
        said("[convert.fields]\nname_t = \"title\""),
        "1:1: convert.fields.id is missing, the uniqueKey: add id = \"…\" to [convert.fields]"
    );
    assert_eq!(
        said("[convert]\nkeep = \"all\"\n[convert.fields]\nkey_s = { join = [\"shop\", \"id\"] }"),
        "3:1: convert.fields.id is missing: as the source of key_s the uniqueKey does not stay under its name: \
         add id = \"…\" to [convert.fields]"
    );
    assert_eq!(
        said("[convert]\nfields = {}"),
        "2:10: convert.fields = {}: need one field at least, such as id = \"sku\""
    );
    assert!(
        said("[convert]\nfields = \"id\"")
            .starts_with("2:10: convert.fields = \"id\": need a table")
    );
}

#[test]
fn a_bad_path_is_told_at_its_place() {
    assert_eq!(
        field("a = \"price..amount\""),
        "5: convert.fields.a = \"price..amount\": a step has no name: dots stand between names, such as \"price.amount\" (\\. is a dot in a name)"
    );
    assert!(
        field("a = { from = \"c[0].n\" }")
            .starts_with("14: convert.fields.a.from = \"c[0].n\": [ stands in [] alone")
    );
    assert!(
        field("a = { join = [\"x\", \".y\"] }")
            .starts_with("20: convert.fields.a.join = \".y\": a step has no name")
    );
    assert!(field("a = 7").starts_with("5: convert.fields.a = 7: need a path such as"));
    let told = said("[convert]\nskip = [{ field = \"a.\", is = 1 }]\nfields.id = \"a\"");
    assert!(told.starts_with("2:19: convert.skip.field = \"a.\": a step has no name"), "{told}");
}

#[test]
fn a_mistake_in_a_field_is_told_at_its_place() {
    for (written, told) in [
        (
            "a = { from = \"b\", type = \"flaot\" }",
            "26: convert.fields.a.type = \"flaot\": need \"string\", \"int\", \"long\", \"float\", \"double\", \"bool\" or \"date\"; did you mean \"float\"?",
        ),
        (
            "a = { from = \"b\", type = \"string\", scale = 0.01 }",
            "44: convert.fields.a.scale = 0.01: goes with a number: need type = \"int\", \"long\", \"float\" or \"double\" beside it",
        ),
        (
            "a = { from = \"b\", scale = \"x\" }",
            "27: convert.fields.a.scale = \"x\": need a number without quotes, such as 0.01",
        ),
        (
            "a = { from = \"b\", scale = 0 }",
            "27: convert.fields.a.scale = 0: makes 0 of everything: need another number, such as 0.01",
        ),
        (
            "a = { from = \"b\", map = {} }",
            "25: convert.fields.a.map = {}: need one value at least, such as { \"1\" = \"yes\", \"0\" = \"no\" }",
        ),
        (
            "a = { from = \"b\", map = \"x\" }",
            "25: convert.fields.a.map = \"x\": need a table, such as { \"1\" = \"yes\", \"0\" = \"no\" }",
        ),
        (
            "a = { from = \"b\", map = { x = [] } }",
            "31: convert.fields.a.map.x = []: need a string, a number, true or false",
        ),
        (
            "a = { from = \"b\", type = \"int\", map = { x = \"y\" } }",
            "45: convert.fields.a.map.x = \"y\": need a whole number of 32 bits, as type = \"int\" says",
        ),
        (
            "a = { from = \"b\", type = \"date\", format = \"%Y-%Q\" }",
            "43: convert.fields.a.format = \"%Y-%Q\": %Q means nothing in a pattern, such as \"%Y-%m-%d %H:%M:%S\" (or \"unix\")",
        ),
        (
            "a = { from = \"b\", type = \"date\", format = \"yyyy-MM-dd\" }",
            "43: convert.fields.a.format = \"yyyy-MM-dd\": need \"unix\" or a pattern with % in it, such as \"%Y-%m-%d %H:%M:%S\"",
        ),
        (
            "a = { from = \"b\", type = \"date\", format = \"%H:%M\" }",
            "43: convert.fields.a.format = \"%H:%M\": tells no date: need a year at least, such as \"%Y-%m-%d\"",
        ),
        (
            "a = { from = \"b\", format = \"unix\" }",
            "28: convert.fields.a.format = \"unix\": goes with type = \"date\": take it away, or write that",
        ),
        (
            "a = { from = \"b\", split = \"\" }",
            "27: convert.fields.a.split = \"\": need what parts a list, such as \",\"",
        ),
        (
            "a = { from = \"b\", trim = \"yes\" }",
            "26: convert.fields.a.trim = \"yes\": need true or false, without quotes",
        ),
        (
            "a = { from = \"b\", case = \"title\" }",
            "26: convert.fields.a.case = \"title\": need \"lower\" or \"upper\"",
        ),
        (
            "a = { from = \"b\", update = \"sett\" }",
            "28: convert.fields.a.update = \"sett\": need \"set\", \"add\", \"add-distinct\", \"remove\", \"removeregex\" or \"inc\"; did you mean \"set\"?",
        ),
        (
            "a = { from = \"b\", type = \"int\", default = \"none\" }",
            "43: convert.fields.a.default = \"none\": need a whole number of 32 bits, as type = \"int\" says",
        ),
        (
            "a = { from = \"b\", type = \"int\", default = 3000000000 }",
            "43: convert.fields.a.default = 3000000000: need a whole number of 32 bits, as type = \"int\" says",
        ),
        (
            "a = { from = \"b\", type = \"date\", default = \"never\" }",
            "44: convert.fields.a.default = \"never\": need a date such as \"2024-07-02T09:05:45Z\"",
        ),
        (
            "a = { value = 1979-05-27 }",
            "15: convert.fields.a.value = 1979-05-27: need quotes around a date",
        ),
        ("a = { value = nan }", "15: convert.fields.a.value = nan: JSON has no such number"),
        ("a = { value = [] }", "15: convert.fields.a.value = []: need one value at least"),
        (
            "a = { value = \"x\", type = \"int\" }",
            "15: convert.fields.a.value = \"x\": need a whole number of 32 bits, as type = \"int\" says",
        ),
        (
            "a = { value = \"x\", trim = true }",
            "27: convert.fields.a.trim = true: has no effect on a value, which is the same for all lines: take it away",
        ),
        (
            "a = { from = \"b\", value = \"x\" }",
            "27: convert.fields.a.value = \"x\": from, join or value, one of them: take from away, or this",
        ),
        (
            "a = { from = \"b\", with = \"x\" }",
            "26: convert.fields.a.with = \"x\": goes with join = [\"…\", \"…\"]: take it away, or add that",
        ),
        (
            "a = { join = [] }",
            "14: convert.fields.a.join = []: need at least one, such as [\"shop\", \"sku\"]",
        ),
        ("a = { join = \"b\" }", "14: convert.fields.a.join = \"b\": need a list, such as [\"b\"]"),
        (
            "a = { trim = true }",
            "5: convert.fields.a.from is missing: need from = \"…\", or join = [\"…\", \"…\"], or value = \"…\"",
        ),
        (
            "a = { from = \"b\", tpye = \"int\" }",
            "19: unknown key convert.fields.a.tpye; did you mean type? (known: from, join, with, value, split, trim, case, type, format, scale, map, default, update)",
        ),
        ("\"\" = \"b\"", "1: convert.fields. = \"\": no field of Solr's has such a name"),
    ] {
        assert_eq!(field(written), told, "{written}");
    }
    let told = said("[convert.fields]\nid = { from = \"sku\", update = \"set\" }");
    assert_eq!(
        told,
        "2:31: convert.fields.id.update = \"set\": this is the uniqueKey, which no update changes: take it away"
    );
}

#[test]
fn a_mistake_in_a_condition_is_told_at_its_place() {
    let said = |line: &str| said(&format!("[convert]\n{line}\nfields.id = \"a\""));
    assert_eq!(
        said("skip = { field = \"a\", is = 1 }"),
        "2:8: convert.skip = { field = \"a\", is = 1 }: need a list of tables, such as [{ field = \"deleted\", is = true }]"
    );
    assert_eq!(
        said("delete = []"),
        "2:10: convert.delete = []: need a list of tables, such as [{ field = \"deleted\", is = true }], or leave it out"
    );
    assert_eq!(
        said("delete = [\"deleted\"]"),
        "2:11: convert.delete = \"deleted\": need a list of tables, such as [{ field = \"deleted\", is = true }]"
    );
    assert_eq!(
        said("skip = [{ field = \"a\" }]"),
        "2:9: convert.skip.is is missing: add is = true to [convert.skip]"
    );
    assert_eq!(
        said("skip = [{ is = 1 }]"),
        "2:9: convert.skip.field is missing: add field = \"status\" to [convert.skip]"
    );
    assert_eq!(
        said("skip = [{ field = \"a\", is = [1] }]"),
        "2:29: convert.skip.is = [1]: need a string, a number, true or false"
    );
    assert_eq!(
        said("skip = [{ field = \"a\", is = 1, not = 2 }]"),
        "2:32: unknown key convert.skip.not (known: field, is)"
    );
}

#[test]
fn all_mistakes_of_a_conversion_are_told_at_once() {
    let told = said(
        "[convert]\nkeep = 1\nskip = 1\n[convert.fields]\na = \".\"\nb = { from = 1, type = 2 }",
    );
    let places: Vec<&str> = told.lines().map(|line| line.split(": ").next().unwrap()).collect();
    assert_eq!(places, ["2:8", "3:8", "4:1", "5:5", "6:14", "6:24"]);
}

#[test]
fn lines_are_divided_by_what_becomes_the_id() {
    let with = |partition: &str, fields: &str| {
        read(&format!("workers.partition = \"{partition}\"\n{MINIMAL}{fields}"))
    };
    let key = |fields: &str| with("id", fields).unwrap().workers.partition_key;
    assert_eq!(key("[convert.fields]\nid = \"sku\""), "sku");
    assert_eq!(key("[convert]\nkeep = \"all\"\nfields.a = \"b\""), "id");
    let computed = "[convert.fields]\nid = { join = [\"a\", \"b\"] }";
    assert_eq!(
        with("id", computed).unwrap_err().to_string(),
        "f.toml:1:21: workers.partition = \"id\": needs partition_key beside it, the member of a line that tells documents apart: the id is computed"
    );
    assert!(with("line", computed).is_ok());
    let said = format!("workers.partition_key = \"a\"\n{computed}");
    assert!(said.contains("partition_key"));
    let told = read(&format!(
        "workers = {{ partition = \"id\", partition_key = \"a\" }}\n{MINIMAL}{computed}"
    ));
    assert_eq!(told.unwrap().workers.partition_key, "a");
}

#[test]
fn a_mistake_in_a_program_has_its_place_in_the_file() {
    let program = |text: &str| match read(&format!("{MINIMAL}[convert]\n{text}\n")).unwrap().convert
    {
        Some(Convert::Jq(program)) => program,
        other => panic!("{other:?}"),
    };
    let told = |text: &str, at: std::ops::Range<usize>| program(text).mistake(at, "no").to_string();
    assert_eq!(told("jq = '{id: .sku}'", 5..9), "f.toml:7:12: convert.jq: no");
    assert_eq!(told("jq = \"{id: .sku}\"", 5..9), "f.toml:7:12: convert.jq: no");
    assert_eq!(told("jq = '''\n{\n  id: .sku}'''", 8..12), "f.toml:9:7: convert.jq: no");
    // Of its end the last letter is shown; where escapes are, its beginning.
    assert_eq!(told("jq = '{id: '", 5..5), "f.toml:7:10: convert.jq: no");
    assert_eq!(told("jq = 'ä'", 2..2), "f.toml:7:7: convert.jq: no");
    assert_eq!(told("jq = \"{\\\"id\\\": 1}\"", 3..4), "f.toml:7:6: convert.jq: no");
    let shown = program("jq = '{id: .sku}'").mistake(5..9, "no").with_carets();
    assert!(shown.ends_with("jq = '{id: .sku}'\n     |            ^^^^"), "{shown}");
    assert_eq!(
        said("[convert]\njq = ' '"),
        "2:6: convert.jq = ' ': need a program, such as '{id: .sku}'"
    );
    assert!(said("[convert]\njq = 1").starts_with("2:6: convert.jq = 1: need a program in jq"));
    let by_id = format!("workers.partition = \"id\"\n{MINIMAL}[convert]\njq = '.'");
    assert!(read(&by_id).unwrap_err().to_string().contains("needs partition_key beside it"));
}

#[test]
fn a_converter_of_ones_own_is_an_absolute_path_and_its_arguments() {
    let exec = |lines: &str| match read(&format!("{MINIMAL}[convert]\n{lines}")).unwrap().convert {
        Some(Convert::Exec(exec)) => (exec.words, exec.program.text, exec.timeout),
        other => panic!("{other:?}"),
    };
    let (words, path, timeout) = exec("exec = [\"/bin/conv\", \"-v\", \"\"]");
    assert_eq!(
        (&words[..], path.as_str()),
        (&["/bin/conv".into(), "-v".into(), String::new()][..], "/bin/conv")
    );
    assert_eq!(timeout, Duration::from_secs(30));
    let (.., timeout) = exec("exec = [\"/a\"]\nexec_timeout = \"1500ms\"");
    assert_eq!(timeout, Duration::from_millis(1500));
    let need = "[\"/usr/local/bin/convert\"]";
    for (lines, told) in [
        ("exec = []", format!("2:8: convert.exec = []: need at least one, such as {need}")),
        ("exec = \"/a\"", "2:8: convert.exec = \"/a\": need a list, such as [\"/a\"]".into()),
        ("exec = [1]", format!("2:9: convert.exec = 1: need strings, such as {need}")),
        ("exec = [\"/a\", true]", format!("2:15: convert.exec = true: need strings, such as {need}")),
        (
            "exec = [\"conv.py\"]",
            format!("2:9: convert.exec = \"conv.py\": need an absolute path, such as {need}: nothing is looked for in PATH"),
        ),
        ("exec = [\"\"]", format!("2:9: convert.exec = \"\": need the program's path, such as {need}")),
        (
            "exec = [\"/a\", \"b\\u0000\"]",
            "2:15: convert.exec = \"b\\u0000\": no NUL can stand in a program's arguments".into(),
        ),
        (
            "exec = [\"/a\"]\nexec_timeout = \"1ms\"",
            "3:16: convert.exec_timeout = \"1ms\": need at least 100ms".into(),
        ),
        (
            "jq = '.'\nexec = [\"/a\"]",
            "3:8: convert.exec = [\"/a\"]: fields, jq or exec, one of them: take jq away, or this".into(),
        ),
        (
            "jq = '.'\nexec_timeout = \"9s\"",
            "3:16: convert.exec_timeout = \"9s\": belongs to exec: take it away".into(),
        ),
        (
            "exec = [\"/a\"]\nkeep = \"all\"\ndelete = [{ field = \"a\", is = 1 }]",
            "3:8: convert.keep = \"all\": belongs to fields, exec says it itself: take it away\n\
             4:10: convert.delete = [{ field = \"a\", is = 1 }]: belongs to fields, exec says it itself: take it away".into(),
        ),
    ] {
        assert_eq!(said(&format!("[convert]\n{lines}")), told);
    }
}
