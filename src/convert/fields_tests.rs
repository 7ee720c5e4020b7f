//! What `fields` promises.

use super::*;
use config::conversion::{self, Convert};

/// A converter of this `[convert]`.
fn converter(convert: &str) -> Converter {
    let text = format!(
        "[spool]\ndir = \"/s\"\n[solr]\nurls = [\"http://a:8983/solr\"]\ncollection = \"c\"\n{convert}"
    );
    Converter::new(&config::parse(&text, "f.toml".as_ref()).unwrap()).unwrap()
}

/// A converter of these fields, beside `id = "id"`.
fn fields(fields: &str) -> Converter {
    converter(&format!("[convert.fields]\nid = \"id\"\n{fields}"))
}

/// What a line becomes: JSON, or words.
fn made(converter: &Converter, line: &str) -> String {
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

/// What a field `x` becomes of a value `v`: its JSON, `-` if it is not there, or why not.
fn cast(field: &str, value: &str) -> String {
    let line = format!("{{\"id\":\"i\",\"v\":{value}}}");
    let made = made(&fields(&format!("x = {field}")), &line);
    match made.strip_prefix("{\"id\":\"i\"") {
        Some("}") => "-".into(),
        Some(rest) => rest.strip_prefix(",\"x\":").unwrap().strip_suffix('}').unwrap().into(),
        None => made.strip_prefix("Convert: x: ").unwrap_or_else(|| panic!("{made}")).into(),
    }
}

const EXAMPLE: &str = r#"
[convert]
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

#[test]
fn the_example_of_the_interface_does_what_it_says() {
    let converter = converter(EXAMPLE);
    let line = r#"{"sku":"A-1","title":"Chair","price":{"amount":1990,"currency":"EUR"},
        "categories":[{"name":"home"},{"id":7},{"name":"garden"}],"brand":"  ACME ","tags":"a,b",
        "shop":"x","ts":1719911145,"availability":1,"stock":4,"other":true}"#;
    let line = line.replace("\n        ", "");
    assert_eq!(
        made(&converter, &line),
        concat!(
            r#"{"id":"A-1","name_t":"Chair","price_f":19.9,"shop_s":"example","#,
            r#""cat_ss":["home","garden"],"brand_s":"acme","tags_ss":["a","b"],"key_s":"x:A-1","#,
            r#""seen_dt":"2024-07-02T09:05:45Z","avail_s":"yes","stock_i":{"set":4}}"#
        )
    );
    assert_eq!(
        made(&converter, r#"{"sku":"A-1","availability":2,"brand":null}"#),
        r#"{"id":"A-1","shop_s":"example","brand_s":"unknown"}"#
    );
    assert_eq!(made(&converter, r#"{"sku":"A-1","status":"draft"}"#), "nothing");
    assert_eq!(made(&converter, r#"{"sku":"A-1","deleted":true}"#), r#"delete {"id":"A-1"}"#);
    assert_eq!(made(&converter, r#"{"sku":"A-1","deleted":true,"status":"draft"}"#), "nothing");
    assert!(made(&converter, r#"{"sku":"A-1","deleted":"true"}"#).starts_with("{\"id\""));
}

#[test]
fn what_is_renamed_travels_byte_for_byte() {
    let converter = fields("a = 'v'\nb = 'o.p'\nc = 'l[]'\nd = 'l[].m'");
    for (value, text) in [
        ("19.90", "19.90"),
        ("123456789012345678", "123456789012345678"),
        ("1E400", "1E400"),
        (r#""\u00e9\/\ud83d\ude00""#, r#""\u00e9\/\ud83d\ude00""#),
        (r#"[1, {"x" : null},[ ]]"#, r#"[1, {"x" : null},[ ]]"#),
    ] {
        assert_eq!(
            made(&converter, &format!(r#"{{"v": {value} ,"id":"i","o":{{"p":{value}}}}}"#)),
            format!(r#"{{"id":"i","a":{text},"b":{text}}}"#)
        );
        assert_eq!(
            made(&converter, &format!(r#"{{"id":"i","l":[{value},null,{{"m":{value}}}]}}"#)),
            format!(r#"{{"id":"i","c":[{text},{{"m":{text}}}],"d":[{text}]}}"#)
        );
    }
}

#[test]
fn null_is_the_same_as_missing_and_what_leads_nowhere_too() {
    let converter = fields("a = 'v'\nb = 'o.p'\nc = 'l[].m'\nd = { from = 'v', update = 'set' }");
    for line in [
        r#"{"id":"i"}"#,
        r#"{"id":"i","v":null,"o":null,"l":null}"#,
        r#"{"id":"i","o":{"p":null},"l":[{"m":null},{},null,1,[]]}"#,
        r#"{"id":"i","o":"p","l":{"m":1}}"#,
        r#"{"id":"i","o":[{"p":1}],"l":[]}"#,
        r#"{"id":"i","v":1,"o":{"p":1,"p":null},"v":null}"#,
    ] {
        assert_eq!(made(&converter, line), r#"{"id":"i"}"#, "{line}");
    }
    // Of several members with one name the last one counts.
    assert_eq!(
        made(&converter, r#"{"id":"h","v":1,"id":"i","v":2}"#),
        r#"{"id":"i","a":2,"d":{"set":2}}"#
    );
}

#[test]
fn a_default_stands_in_for_what_is_missing() {
    let field = "{ from = 'v', default = 'none' }";
    assert_eq!(cast(field, "null"), r#""none""#);
    assert_eq!(cast(field, r#""""#), r#""""#);
    assert_eq!(cast("{ from = 'v[]', default = [1, 2.50] }", "[]"), "[1,2.50]");
    assert_eq!(
        cast("{ from = 'v', type = 'int', default = 0, update = 'set' }", "null"),
        r#"{"set":0}"#
    );
    assert_eq!(cast("{ from = 'v', type = 'string', default = 0 }", "null"), r#""0""#);
    assert_eq!(
        cast("{ from = 'v', type = 'date', format = '%d.%m.%Y', default = '01.02.2003' }", "null"),
        r#""2003-02-01T00:00:00Z""#
    );
    assert_eq!(
        cast("{ from = 'v', type = 'date', format = 'unix', default = '2003-02-01' }", "null"),
        r#""2003-02-01T00:00:00Z""#
    );
    assert_eq!(cast("{ join = ['v', 'w'], default = 'none' }", "1"), r#""none""#);
}

#[test]
fn a_value_is_the_same_for_all_lines() {
    for (value, json) in [
        ("'a\"b'", r#""a\"b""#),
        ("19.90", "19.90"),
        ("0x10", "16"),
        ("true", "true"),
        ("['a', 'b']", r#"["a","b"]"#),
    ] {
        assert_eq!(cast(&format!("{{ value = {value} }}"), "1"), json);
    }
    assert_eq!(cast("{ value = 1, update = 'inc' }", "1"), r#"{"inc":1}"#);
    assert_eq!(cast("{ value = 1, type = 'string' }", "1"), r#""1""#);
}

#[test]
fn a_string_is_edited_parted_joined_and_mapped() {
    for (field, value, json) in [
        ("{ from = 'v', trim = true }", r#"" \u00a0x y\t""#, r#""x y""#),
        ("{ from = 'v', case = 'upper' }", r#""straße \u00e9""#, r#""STRASSE É""#),
        ("{ from = 'v', case = 'lower' }", "7", "7"),
        ("{ from = 'v', trim = true }", r#"[" a ",1,null]"#, r#"["a",1]"#),
        ("{ from = 'v', split = ',' }", r#""a,,b""#, r#"["a","","b"]"#),
        ("{ from = 'v', split = ', ' }", r#"["a, b","c"]"#, r#"["a","b","c"]"#),
        ("{ from = 'v', split = ',', trim = true }", r#"" a , b""#, r#"["a","b"]"#),
        ("{ from = 'v', split = ',', type = 'int' }", r#""1,2""#, "[1,2]"),
        (
            "{ from = 'v', split = ',', type = 'int' }",
            r#""+7,007,-0,-12,0,7.0""#,
            "[7,7,0,-12,0,7]",
        ),
        ("{ join = ['v', 'id'], with = '/' }", "[]", "-"),
        ("{ join = ['v', 'id'], with = '/' }", "[null,1]", r#""1/i""#),
        ("{ join = ['v', 'id'] }", r#""a\"""#, r#""a\"i""#),
        ("{ join = ['v', 'id'], with = '/' }", "19.90", r#""19.90/i""#),
        ("{ join = ['v', 'id'], with = '/' }", "null", "-"),
        ("{ join = ['v[]', 'id'], with = '/' }", "[1,true]", r#""1/true/i""#),
        ("{ join = ['v', 'id'], case = 'upper' }", r#""a""#, r#""AI""#),
        ("{ from = 'v', map = { '1' = 'yes', true = 1 } }", "1", r#""yes""#),
        ("{ from = 'v', map = { '1' = 'yes', true = 1 } }", r#""1""#, r#""yes""#),
        ("{ from = 'v', map = { '1' = 'yes', true = 1 } }", "true", "1"),
        ("{ from = 'v', map = { '1' = 'yes' } }", "2", "-"),
        ("{ from = 'v', map = { '1' = 'yes' }, default = 'no' }", "2", r#""no""#),
        ("{ from = 'v', map = { a = 'x' }, case = 'lower', trim = true }", r#"" A""#, r#""x""#),
        ("{ from = 'v', map = { a = 'x' } }", r#"["a","b"]"#, r#"["x"]"#),
        ("{ from = 'v', map = { a = 'x' } }", r#"["b"]"#, "-"),
        ("{ from = 'v', map = { a = 'x' }, default = 'y' }", r#"["a","b"]"#, r#"["x","y"]"#),
    ] {
        assert_eq!(cast(field, value), json, "{field} {value}");
    }
}

#[test]
fn what_can_be_cast_is() {
    for (kind, value, json) in [
        ("string", "19.90", r#""19.90""#),
        ("string", "true", r#""true""#),
        ("string", r#""\u00e9""#, r#""\u00e9""#),
        ("string", "[1,\"a\"]", r#"["1","a"]"#),
        ("int", "2147483647", "2147483647"),
        ("int", r#""-42""#, "-42"),
        ("int", "5.0", "5"),
        ("int", "1e3", "1000"),
        ("long", "123456789012345678", "123456789012345678"),
        ("long", r#""9223372036854775807""#, "9223372036854775807"),
        ("float", "19.90", "19.90"),
        ("float", r#""19.90""#, "19.90"),
        ("float", r#"".5""#, "0.5"),
        ("double", "123456789012345678", "123456789012345678"),
        ("double", r#""1e5""#, "1e5"),
        ("double", "[1,\"2.5\"]", "[1,2.5]"),
        ("bool", "true", "true"),
        ("bool", r#""False""#, "false"),
        ("bool", "1", "true"),
        ("bool", r#""0""#, "false"),
        ("date", r#""2024-07-02T11:05:45.5+02:00""#, r#""2024-07-02T09:05:45.500Z""#),
        ("date", r#""2024-07-02""#, r#""2024-07-02T00:00:00Z""#),
    ] {
        assert_eq!(
            cast(&format!("{{ from = 'v', type = '{kind}' }}"), value),
            json,
            "{kind} {value}"
        );
    }
    let pattern = "{ from = 'v', type = 'date', format = '%d.%m.%Y %H:%M' }";
    assert_eq!(cast(pattern, r#""02.07.2024 09:05""#), r#""2024-07-02T09:05:00Z""#);
    let unix = "{ from = 'v', type = 'date', format = 'unix' }";
    assert_eq!(cast(unix, r#""1719911145""#), r#""2024-07-02T09:05:45Z""#);
    assert_eq!(cast(unix, "1719911145.25"), r#""2024-07-02T09:05:45.250Z""#);
}

#[test]
fn what_cannot_be_cast_rejects_the_line() {
    for (kind, value, why) in [
        ("int", "1.5", "1.5 is no int"),
        ("int", "2147483648", "2147483648 is no int"),
        ("int", r#""""#, r#""" is no int"#),
        ("int", "true", "true is no int"),
        ("long", "9223372036854775808", "9223372036854775808 is no long"),
        ("float", r#""19,90""#, r#""19,90" is no float"#),
        ("float", "1e39", "1e39 is no float"),
        ("double", "1e400", "1e400 is no double"),
        ("double", r#""NaN""#, r#""NaN" is no double"#),
        ("double", r#"" 1""#, r#"" 1" is no double"#),
        ("bool", "2", "2 is no bool"),
        ("bool", r#""yes""#, r#""yes" is no bool"#),
        ("date", r#""yesterday""#, r#""yesterday" is no date such as 2024-07-02T09:05:45Z"#),
        ("date", "1719911145", "1719911145 is no date such as 2024-07-02T09:05:45Z"),
        ("string", "{}", "is an object, not a single value"),
        ("string", "[[1]]", "is a list within a list"),
        ("string", r#""a\ud800""#, r#""a\ud800" has a lone surrogate"#),
        ("int", r#"[1,"x"]"#, r#""x" is no int"#),
    ] {
        assert_eq!(
            cast(&format!("{{ from = 'v', type = '{kind}' }}"), value),
            why,
            "{kind} {value}"
        );
    }
    assert_eq!(
        cast("{ from = 'v', type = 'date', format = '%Y' }", r#""x""#),
        r#""x" is no date by %Y"#
    );
    assert_eq!(cast("{ join = ['v', 'id'] }", "{}"), "is an object, not a single value");
}

#[test]
fn a_scaled_number_is_the_shortest_that_reads_back_the_same() {
    for (kind, scale, value, json) in [
        ("float", "0.01", "1990", "19.9"),
        ("double", "0.01", "1990", "19.9"),
        ("double", "0.01", "2000", "20"),
        ("double", "0.01", r#""123456789012345678""#, "1234567890123456.8"),
        ("float", "1e-3", "16777217000", "16777216"),
        ("int", "100", "19.99", "1999"),
        ("long", "0.001", "123456789012345678000", "123456789012345678"),
        ("int", "0.01", "1999", "1999 is no int"),
        ("float", "0.01", r#""x""#, r#""x" is no float"#),
        ("float", "0.01", "true", "true is no float"),
    ] {
        let field = format!("{{ from = 'v', type = '{kind}', scale = {scale} }}");
        assert_eq!(cast(&field, value), json, "{kind} {scale} {value}");
    }
    assert_eq!(cast("{ from = 'v', scale = 0.5 }", "3"), "1.5");
}

#[test]
fn an_update_of_nothing_is_nothing_and_no_empty_document() {
    let update =
        fields("n_i = { from = 'n', update = 'inc' }\nm_i = { from = 'm', update = 'set' }");
    assert_eq!(made(&update, r#"{"id":"i","m":2}"#), r#"{"id":"i","m_i":{"set":2}}"#);
    assert_eq!(made(&update, r#"{"id":"i","n":null}"#), "nothing");
    assert_eq!(made(&update, r#"{"n":null}"#), "Convert: no member id");
    let whole = fields("n_i = { from = 'n', update = 'inc' }\nm_i = 'm'");
    assert_eq!(made(&whole, r#"{"id":"i"}"#), r#"{"id":"i"}"#, "it was meant to be a document");
    let rest = "[convert]\nkeep = 'all'\n[convert.fields]\nn_i = { from = 'n', update = 'inc' }";
    assert_eq!(made(&converter(rest), r#"{"id":"i"}"#), "nothing");
    assert_eq!(made(&converter(rest), r#"{"id":"i","a":1}"#), r#"{"id":"i","a":1}"#);
}

#[test]
fn members_that_nobody_named_pass_through() {
    let keep =
        "[convert]\nkeep = 'all'\nskip = [{ field = 'status', is = 'draft' }]\n[convert.fields]\n";
    let all = converter(&format!(
        "{keep}name_t = 'title'\nprice_f = 'price.amount'\nk = {{ join = ['a', 'b'] }}"
    ));
    assert_eq!(
        made(
            &all,
            r#"{"id":"i", "title":"T","price":{"amount":1},"a":1,"b":2,"status":"ok","x\u0079":19.90 ,"o" : {"p": 1}}"#
        ),
        r#"{"name_t":"T","price_f":1,"k":"12","id":"i","status":"ok","xy":19.90,"o":{"p": 1}}"#
    );
    // What is named passes under no name but its field's.
    assert_eq!(
        made(&all, r#"{"id":"i","name_t":"old","k":1,"a":1,"title":null}"#),
        r#"{"id":"i"}"#
    );
    // Of several members with one name the last one passes.
    assert_eq!(
        made(&all, r#"{"id":"h","y":1,"\u0079":2,"status":1,"id":"i","status":2}"#),
        r#"{"id":"i","y":2,"status":2}"#
    );
    let renamed = converter(&format!("{keep}id = 'sku'\nsku_s = 'sku'"));
    assert_eq!(made(&renamed, r#"{"sku":"i","id":"x","z":1}"#), r#"{"id":"i","sku_s":"i","z":1}"#);
    let same = converter(&format!("{keep}n_i = {{ from = 'n_i', update = 'inc' }}"));
    assert_eq!(made(&same, r#"{"n_i":1,"id":"x"}"#), r#"{"n_i":{"inc":1},"id":"x"}"#);
}

#[test]
fn conditions_compare_values_of_one_type() {
    let one = |is: &str, value: &str| {
        let converter = converter(&format!(
            "[convert]\nkeep = 'all'\nskip = [{{ field = 'o.v', is = {is} }}, {{ field = 'w[]', is = 'x' }}]\nfields.z = 'z'"
        ));
        made(&converter, &format!(r#"{{"id":"i",{value}}}"#)) == "nothing"
    };
    let v = |value: &str| format!(r#""o":{{"v":{value}}}"#);
    assert!(one("true", &v("true")) && !one("true", &v("false")) && !one("true", &v("\"true\"")));
    assert!(
        one("1", &v("1")) && one("1", &v("1.0")) && one("10", &v("1e1")) && !one("1", &v("\"1\""))
    );
    assert!(one("'é'", &v(r#""\u00e9""#)) && !one("'1'", &v("1")) && !one("'1'", &v("null")));
    assert!(one("1", r#""w":["y","x"]"#) && !one("1", r#""w":"x""#));
}

#[test]
fn what_is_made_passes_the_checks_of_a_line() {
    let all = converter(
        "[convert]\nkeep = 'all'\ndelete = [{ field = 'gone', is = true }]\n[convert.fields]\nid = 'sku'",
    );
    let long = "x".repeat(32_767);
    let deep = format!("{}{}", "[".repeat(100), "]".repeat(100));
    for (line, why) in [
        (r#"{"a":1}"#.to_owned(), "Convert: no member id"),
        (r#"{"id":"x"}"#.to_owned(), "Convert: no member id"),
        (r#"{"sku":""}"#.to_owned(), "Convert: id is empty"),
        (
            r#"{"sku":1.50}"#.to_owned(),
            "Convert: id is 1.50, which Solr may write otherwise: quote it",
        ),
        (r#"{"sku":["a"]}"#.to_owned(), "Convert: id is a list: need a string or an integer"),
        (
            format!(r#"{{"sku":"{long}"}}"#),
            "Convert: id has 32767 bytes, and Solr takes 32766 at most",
        ),
        (r#"{"sku":"a","b":"\ud800"}"#.to_owned(), r"Convert: a lone surrogate, \ud800"),
        (
            format!(r#"{{"sku":"a","b":{deep}}}"#),
            "Convert: nested deeper than 100 levels, which Solr cannot take",
        ),
        (r#"{"delete":{"id":"x"}}"#.to_owned(), "Convert: no member id"),
        (r#"{"delete":{"query":"*:*"}}"#.to_owned(), "Convert: no member id"),
        (r#"{"gone":true}"#.to_owned(), "Convert: no id for a delete"),
        (r#"{"gone":true,"sku":""}"#.to_owned(), "Convert: delete.id is empty"),
        (r#"{"gone":true,"sku":"\udc00"}"#.to_owned(), r"Convert: a lone surrogate, \udc00"),
        (
            r#"{"gone":true,"sku":{"query":"*:*"}}"#.to_owned(),
            "Convert: delete.id is an object: need a string or an integer",
        ),
        (r#"["a"]"#.to_owned(), "Convert: a list, not a JSON object"),
        (
            r#"{"sku":"a"}}},"delete":{"query":"*:*"}"#.to_owned(),
            "Parse: malformed JSON at byte 12: trailing characters",
        ),
        (r#"{"sku":"a","b":tru}"#.to_owned(), "Parse: malformed JSON at byte 19: expected ident"),
        (
            r#"{"sku":"a""#.to_owned(),
            "Parse: malformed JSON at byte 10: EOF while parsing an object",
        ),
    ] {
        assert_eq!(made(&all, &line), why, "{line}");
    }
    assert_eq!(made(&all, " \t"), "nothing");
    assert_eq!(made(&all, r#"{"sku":7,"gone":true}"#), r#"delete {"id":7}"#);
    // What is dropped is nobody's trouble.
    let listed = converter("[convert.fields]\nid = 'sku'");
    assert_eq!(
        made(&listed, &format!(r#"{{"b":"\ud800","sku":"a","c":{deep}}}"#)),
        r#"{"id":"a"}"#
    );
    // A field that is called so makes no delete of a document.
    let trap = converter("[convert.fields]\nid = 'sku'\ndelete = 'd'");
    assert_eq!(made(&trap, r#"{"d":{"id":"x"}}"#), "Convert: no member id");
}

#[test]
fn what_may_be_carried_out_once_only_is_known_whoever_made_it() {
    let repeat = |fields: &str, line: &str| {
        let converter = converter(&format!("[convert]\nkeep = 'all'\n[convert.fields]\n{fields}"));
        let mut scratch = Scratch::default();
        match converter.convert(line.as_bytes(), &mut scratch, None) {
            Converted::Doc { repeat, .. } => repeat,
            other => panic!("{other:?}"),
        }
    };
    let line = r#"{"id":"i","n":1}"#;
    for (update, expected) in [
        ("inc", Repeat::Counts),
        ("add", Repeat::Counts),
        ("remove", Repeat::Counts),
        ("set", Repeat::Harmless),
        ("add-distinct", Repeat::Harmless),
        ("removeregex", Repeat::Harmless),
    ] {
        let field = format!("n_i = {{ from = 'n', update = '{update}' }}");
        assert_eq!(repeat(&field, line), expected, "{update}");
    }
    assert_eq!(repeat("m = 'n'", r#"{"id":"i","n":{"inc":1}}"#), Repeat::Counts);
    assert_eq!(repeat("m = 'n'", r#"{"id":"i","o":{"inc":1}}"#), Repeat::Counts);
    assert_eq!(repeat("_version_ = 'n'", r#"{"id":"i","n":5}"#), Repeat::Versioned(5));
    assert_eq!(repeat("m = 'n'", r#"{"id":"i","_version_":5}"#), Repeat::Versioned(5));
}

#[test]
fn routing_sees_the_document_not_the_line() {
    let converter = converter("[convert.fields]\nid = 'sku'\nshop = 's'\n_root_ = 'r'");
    let mut scratch = Scratch::default();
    let line = br#"{"sku":"i","s":"x","shop":"y","r":"t"}"#;
    match converter.convert(line, &mut scratch, Some("shop")) {
        Converted::Doc { id, field, root, .. } => {
            assert_eq!((&*id, field.as_deref(), root.as_deref()), ("i", Some("x"), Some("t")));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn many_names_are_told_apart() {
    let names: Vec<String> =
        (0..300).map(|n| format!("member-{n}")).chain(["x".repeat(100), "x".repeat(101)]).collect();
    let written: String = names.iter().map(|name| format!("'f-{name}' = '{name}'\n")).collect();
    let converter = fields(&written);
    let line: Vec<String> =
        names.iter().rev().map(|name| format!("\"{name}\":\"of {name}\"")).collect();
    let document: Vec<String> =
        names.iter().map(|name| format!("\"f-{name}\":\"of {name}\"")).collect();
    assert_eq!(
        made(&converter, &format!("{{\"id\":\"i\",{}}}", line.join(","))),
        format!("{{\"id\":\"i\",{}}}", document.join(","))
    );
}

#[test]
fn a_plan_is_data_alone() {
    let fields =
        conversion::Fields { keep_all: true, skip: vec![], delete: vec![], fields: vec![] };
    let text =
        "[spool]\ndir = \"/s\"\n[solr]\nurls = [\"http://a:8983/solr\"]\ncollection = \"c\"\n";
    let mut config = config::parse(text, "f.toml".as_ref()).unwrap();
    config.convert = Some(Convert::Fields(fields));
    let converter = Converter::new(&config).unwrap();
    assert_eq!(made(&converter, r#"{"id":"i","a":1}"#), r#"{"id":"i","a":1}"#);
}
