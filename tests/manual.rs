//! The manual pages, held against the programs: no option, command or key is missing, none is invented, and the
//! configurations in them are right.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

const PROGRAM: &str = env!("CARGO_BIN_EXE_solr-updater");

fn page(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/man").join(name);
    std::fs::read_to_string(path).expect(name).replace("\\-", "-").replace("\\(dq", "\"")
}

fn output(arguments: &[&str]) -> String {
    let output = Command::new(PROGRAM).args(arguments).output().unwrap();
    String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
}

/// The long options in a text.
fn options(text: &str) -> BTreeSet<String> {
    let is_part = |c: char| c.is_ascii_lowercase() || c == '-';
    let words = text.split(|c: char| !is_part(c));
    words.filter(|w| w.starts_with("--") && w.len() > 2).map(str::to_owned).collect()
}

/// The commands that the program's help lists.
fn commands() -> BTreeSet<String> {
    let help = output(&["--help"]);
    let (_, list) = help.split_once("Commands:\n").unwrap();
    let (list, _) = list.split_once("\n\n").unwrap();
    let own =
        list.lines().filter_map(|line| line.strip_prefix("  ")).filter(|l| !l.starts_with(' '));
    own.filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

#[test]
fn the_manual_has_every_command_and_no_other() {
    let page = page("solr-updater.8");
    let (_, chapter) = page.split_once(".SH COMMANDS\n").unwrap();
    let (chapter, _) = chapter.split_once("\n.SH ").unwrap();
    let heads = chapter.lines().filter_map(|line| line.strip_prefix(".SS "));
    let told: BTreeSet<String> =
        heads.map(|head| head.trim_matches('"').split(' ').next().unwrap().to_owned()).collect();
    assert_eq!(told, commands());
}

#[test]
fn the_manual_has_every_option_and_no_other() {
    let mut known = options(&output(&["--help"]));
    for command in commands().iter().filter(|command| *command != "help") {
        known.extend(options(&output(&[command, "--help"])));
    }
    assert_eq!(options(&page("solr-updater.8")), known);
}

/// The sections and keys that the program says it knows, each asked by one that it does not.
fn known_keys() -> BTreeSet<String> {
    let bad = "zzz = 1\n[spool]\nzzz = 1\n[solr]\nzzz = 1\n[workers]\nzzz = 1\n[batch]\nzzz = 1\n\
        [retry]\nzzz = 1\n[monitor]\nzzz = 1\n[health]\nzzz = 1\n[log]\nzzz = 1\n[convert]\nzzz = 1\n\
        [convert.fields]\nid = { zzz = 1 }\n";
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("bad.toml");
    std::fs::write(&file, bad).unwrap();
    let mut keys = BTreeSet::new();
    for line in output(&["-c", file.to_str().unwrap(), "check"]).lines() {
        let Some((_, rest)) = line.split_once(": unknown key ") else { continue };
        let (key, _) = rest.split_once([' ', ':']).unwrap();
        let Some((section, _)) = key.rsplit_once('.') else { continue };
        let (_, known) = rest.split_once("(known: ").unwrap();
        let section = section.replace("fields.id", "fields");
        keys.extend(
            known.trim_end_matches(')').split(", ").map(|key| format!("[{section}] {key}")),
        );
    }
    assert!(keys.len() > 50, "{keys:?}");
    keys
}

#[test]
fn the_manual_has_every_key_and_no_other() {
    let page = page("solr-updater.toml.5");
    let (mut section, mut told) = ("", BTreeSet::new());
    for line in page.lines() {
        if let Some(head) = line.strip_prefix(".SS ") {
            section = head;
        } else if let Some((key, _)) = line.strip_prefix(".B ").and_then(|l| l.split_once(" = ")) {
            told.insert(format!("{section} {key}"));
        }
    }
    assert_eq!(told, known_keys());
}

#[test]
fn the_configurations_in_the_manual_are_right() {
    let page = page("solr-updater.toml.5");
    let (_, examples) = page.split_once(".SH EXAMPLES\n").unwrap();
    let blocks: Vec<&str> = examples.split(".nf\n.RS\n").skip(1).collect();
    assert_eq!(blocks.len(), 2);
    let dir = tempfile::tempdir().unwrap();
    for block in blocks {
        let (text, _) = block.split_once(".RE\n").unwrap();
        let file = dir.path().join("example.toml");
        std::fs::write(&file, text).unwrap();
        let said = output(&["-c", file.to_str().unwrap(), "check"]);
        assert!(said.contains("the configuration is right"), "{text}\n{said}");
    }
}
