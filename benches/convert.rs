//! What a line costs, from its bytes to a document: each kind of conversion beside the ceiling, which is
//! serde_json's visitor over raw values with no output, behind the UTF-8 check. All in one run, on one
//! thread, from memory. `checked` is the same held against a schema. `cargo bench -p bench --bench convert`.
//!
//! And what a converter in Python costs: the loop alone, from a file to nowhere, beside the same loop as
//! `exec` has it, from memory to a judged document. (`cargo bench -p bench --bench convert python`) The loop does what
//! `cast` and `jq` do, where a person would write it in Python.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::process::{Command, Stdio};
use std::sync::Arc;

use convert::{Converted, Converter, Schema, Scratch};
use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use exec::{Exec, Said};
use serde_json::value::RawValue;

fn main() {
    divan::main();
}

/// Kinds of conversion, and what the configuration says of them.
const KINDS: &[(&str, &str)] = &[
    ("ceiling", ""),
    ("line", ""),
    ("rename", RENAME),
    ("pass", "[convert]\nkeep = 'all'\n[convert.fields]\nid = 'sku'\nname_t = 'title'"),
    ("cast", CAST),
    ("jq", JQ),
];

const RENAME: &str = "
[convert.fields]
id = 'sku'
name_t = 'title'
price_f = 'price'
shop_s = 'shop'
brand_s = 'brand'
stock_i = 'stock'
seen_l = 'ts'
url_s = 'url'
new_b = 'new'
color_s = 'color'
";

const CAST: &str = "
[convert.fields]
id = 'sku'
name_t = { from = 'title', trim = true }
price_f = { from = 'price', type = 'float', scale = 0.01 }
shop_s = { from = 'shop', case = 'lower' }
brand_s = { from = 'brand', default = 'unknown' }
stock_i = { from = 'stock', type = 'int' }
seen_dt = { from = 'ts', type = 'date', format = 'unix' }
key_s = { join = ['shop', 'sku'], with = ':' }
new_b = { from = 'new', map = { true = 'yes', false = 'no' } }
color_ss = { from = 'color', split = ',' }
";

/// The same as [`CAST`].
const JQ: &str = r#"
[convert]
jq = '''{id: .sku, name_t: (.title | trim), price_f: (.price * 0.01), shop_s: (.shop | ascii_downcase),
  brand_s: (.brand // "unknown"), stock_i: (.stock | tonumber), seen_dt: (.ts | todate), key_s: "\(.shop):\(.sku)",
  new_b: (if .new then "yes" else "no" end), color_ss: (.color / ",")}'''
"#;

/// Lines of about 150 bytes, or, with a long text and lists, of about 2 KB.
fn lines(is_fat: bool) -> Vec<Vec<u8>> {
    let text = "A chair of solid oak, oiled by hand, für drinnen und draußen. ".repeat(20);
    let lists: Vec<String> =
        (0..12).map(|n| format!(r#"{{"name":"attribute {n}","value":{n}.50}}"#)).collect();
    let line = |n: u32| {
        let fat = match is_fat {
            true => format!(r#","text":"{text}","attributes":[{}]"#, lists.join(",")),
            false => String::new(),
        };
        format!(
            r#"{{"sku":"A-{n:06}","title":"Chair {n}","price":{},"shop":"Shop{}","stock":{},"ts":{},"new":true,"color":"red,blue","brand":"acme"{fat}}}"#,
            n % 9_000 + 99,
            n % 50,
            n % 7,
            1_719_911_145 + n
        )
        .into_bytes()
    };
    (0..if is_fat { 500 } else { 5_000 }).map(line).collect()
}

fn converter(convert: &str) -> Converter {
    let text = format!(
        "[spool]\ndir = '/s'\n[solr]\nurls = ['http://a:8983/solr']\ncollection = 'c'\nunique_key = '{}'\n{convert}",
        if convert.is_empty() { "sku" } else { "id" }
    );
    Converter::new(&config::parse(&text, "bench".as_ref()).expect("it is good")).expect("it is")
}

fn ceiling(line: &[u8]) -> usize {
    struct Members;
    impl<'de> serde::de::Visitor<'de> for Members {
        type Value = usize;
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an object")
        }
        fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<usize, A::Error> {
            let mut bytes = 0;
            while let Some((name, value)) = map.next_entry::<&str, &RawValue>()? {
                bytes += name.len() + value.get().len();
            }
            Ok(bytes)
        }
    }
    let text = std::str::from_utf8(line).expect("it is UTF-8");
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let bytes = serde::Deserializer::deserialize_map(&mut deserializer, Members);
    bytes.expect("it is JSON")
}

/// A schema as they are: some fields, and forty patterns.
fn schema() -> Option<Arc<Schema>> {
    let of = |(name, of): (&str, &str)| format!(r#"{{"name":"{name}","type":"{of}"}}"#);
    let fields = [
        ("id", "string"),
        ("sku", "string"),
        ("title", "text"),
        ("price", "pint"),
        ("shop", "string"),
        ("stock", "pint"),
        ("ts", "plong"),
        ("new", "boolean"),
        ("color", "string"),
        ("brand", "string"),
        ("text", "text"),
        ("attributes", "text"),
    ];
    let others: Vec<String> = (0..34).map(|n| format!("*_other{n:02}")).collect();
    let ends =
        [("*_t", "text"), ("*_f", "pfloat"), ("*_s", "string"), ("*_i", "pint"), ("*_l", "plong")];
    let ends = ends.into_iter().chain([("*_b", "boolean"), ("*_dt", "pdate")]);
    let others = others.iter().map(|name| (name.as_str(), "string"));
    let dynamic: Vec<String> = others.chain(ends).map(of).collect();
    let types = [
        ("string", "StrField"),
        ("text", "TextField"),
        ("pint", "IntPointField"),
        ("plong", "LongPointField"),
        ("pfloat", "FloatPointField"),
        ("boolean", "BoolField"),
        ("pdate", "DatePointField"),
    ];
    let types = types.map(|(name, class)| format!(r#"{{"name":"{name}","class":"solr.{class}"}}"#));
    let text = format!(
        r#"{{"schema":{{"version":1.7,"uniqueKey":"id","fieldTypes":[{}],"fields":[{}],"dynamicFields":[{}]}}}}"#,
        types.join(","),
        fields.map(of).join(","),
        dynamic.join(",")
    );
    let config = r#"{"config":{"requestHandler":{"/update":{"_effectiveParams_":{}}}}}"#;
    let read = Schema::read(text.as_bytes(), Some(config.as_bytes())).expect("it is one");
    assert!(read.certain.names);
    Some(Arc::new(read))
}

fn measure(bencher: Bencher<'_, '_>, kind: &str, is_fat: bool) {
    let lines = lines(is_fat);
    let (kind, schema) = match kind.strip_suffix(" checked") {
        Some(kind) => (kind, schema()),
        None => (kind, None),
    };
    let convert = KINDS.iter().copied().collect::<BTreeMap<_, _>>()[kind];
    let converter = converter(convert);
    let mut scratch = Scratch::with(schema);
    let counted = bencher
        .counter(ItemsCount::new(lines.len()))
        .counter(BytesCount::new(lines.iter().map(Vec::len).sum::<usize>()));
    if kind == "ceiling" {
        return counted.bench_local(|| lines.iter().map(|line| ceiling(line)).sum::<usize>());
    }
    counted.bench_local(|| {
        for line in &lines {
            let converted = converter.convert(black_box(line), &mut scratch, None);
            assert!(matches!(converted, Converted::Doc { .. }), "{converted:?}");
            black_box(&converted);
        }
    });
}

#[divan::bench(args = ["ceiling", "line", "line checked", "rename", "rename checked", "pass", "cast", "jq"])]
fn offers(bencher: Bencher<'_, '_>, kind: &str) {
    measure(bencher, kind, false);
}

#[divan::bench(args = ["ceiling", "line", "line checked", "rename", "rename checked", "pass", "cast", "jq"])]
fn products(bencher: Bencher<'_, '_>, kind: &str) {
    measure(bencher, kind, true);
}

/// The same as [`CAST`] and [`JQ`], in the loop of which nearly every converter in Python consists, with Python's own
/// buffers.
const PYTHON: &str = r#"
import json, sys
from datetime import datetime, timezone
for line in sys.stdin:
    l = json.loads(line)
    print(json.dumps({
        "id": l["sku"],
        "name_t": l["title"].strip(),
        "price_f": l["price"] * 0.01,
        "shop_s": l["shop"].lower(),
        "brand_s": l.get("brand", "unknown"),
        "stock_i": int(l["stock"]),
        "seen_dt": datetime.fromtimestamp(l["ts"], timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "key_s": f"{l['shop']}:{l['sku']}",
        "new_b": "yes" if l["new"] else "no",
        "color_ss": l["color"].split(","),
    }))
"#;

/// A folder with the converter and a delta of so many lines, beside those lines.
fn delta(is_fat: bool) -> (tempfile::TempDir, Vec<Vec<u8>>) {
    let folder = tempfile::tempdir().expect("a folder");
    let some = lines(is_fat);
    let lines: Vec<Vec<u8>> =
        some.iter().cycle().take(if is_fat { 30_000 } else { 150_000 }).cloned().collect();
    let mut text = lines.join(&b'\n');
    text.push(b'\n');
    std::fs::write(folder.path().join("delta"), text).expect("it can be written");
    std::fs::write(folder.path().join("conv.py"), PYTHON).expect("it can be written");
    (folder, lines)
}

fn python(bencher: Bencher<'_, '_>, way: &str, is_fat: bool) {
    let (folder, lines) = delta(is_fat);
    let path = |name: &str| folder.path().join(name);
    let bencher = bencher.counter(ItemsCount::new(lines.len()));
    if way == "alone" {
        return bencher.bench_local(|| {
            let input = std::fs::File::open(path("delta")).expect("it is there");
            let mut command = Command::new("/usr/bin/env");
            command.args(["-u", "PYTHONUNBUFFERED", "/usr/bin/python3"]).arg(path("conv.py"));
            let run = command.stdin(input).stdout(Stdio::null()).status().expect("python3");
            assert!(run.success());
        });
    }
    let command =
        format!("'/usr/bin/env','-u','PYTHONUNBUFFERED','/usr/bin/python3',{:?}", path("conv.py"));
    let text = format!(
        "[spool]\ndir = '/s'\n[solr]\nurls = ['http://a:8983/solr']\ncollection = 'c'\n[convert]\nexec = [{command}]"
    );
    let config = config::parse(&text, "bench".as_ref()).expect("it is good");
    let converter = Converter::new(&config).expect("it is");
    let Some(config::conversion::Convert::Exec(command)) = &config.convert else { unreachable!() };
    let mut exec = Exec::new(command, config.spool.max_line, None);
    bencher.bench_local(|| through(&mut exec, &converter, &lines));
}

/// All lines through the converter, as a worker does it.
fn through(exec: &mut Exec, converter: &Converter, lines: &[Vec<u8>]) {
    let (mut rest, mut taken) = (lines.iter(), 0);
    while taken < lines.len() {
        while exec.has_room() {
            let Some(line) = rest.next() else { break };
            assert_eq!(converter.before_asking(line), None);
            exec.give(line);
        }
        exec.pump(rest.len() == 0, sys::clock::now_ms()).expect("it works");
        let before = taken;
        while let Some(Said::Answer { answer, .. }) = exec.said() {
            let converted = converter.answered(answer, &Scratch::default(), None);
            assert!(matches!(converted, Converted::Doc { .. }), "{converted:?}");
            black_box(&converted);
            exec.pop();
            taken += 1;
        }
        if taken == before {
            let wait = exec.next_event(sys::clock::now_ms());
            sys::poll(&exec.watched(), wait).expect("poll");
        }
    }
}

#[divan::bench(args = ["alone", "exec"], sample_count = 7, sample_size = 1)]
fn python_offers(bencher: Bencher<'_, '_>, way: &str) {
    python(bencher, way, false);
}

#[divan::bench(args = ["alone", "exec"], sample_count = 7, sample_size = 1)]
fn python_products(bencher: Bencher<'_, '_>, way: &str) {
    python(bencher, way, true);
}
