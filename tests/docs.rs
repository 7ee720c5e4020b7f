//! What the documents promise is there.

use std::collections::BTreeSet;
use std::path::Path;

/// All Rust files below a folder.
fn sources(folder: &Path, into: &mut String) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            into.push_str(&std::fs::read_to_string(&path).expect("a text"));
        }
    }
}

#[test]
fn every_test_that_the_spools_page_names_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("docs/spool.md")).expect("the page");
    let quoted = page.split('`').skip(1).step_by(2);
    let is_test = |word: &&str| {
        word.matches('_').count() >= 3
            && word.chars().all(|c| c.is_ascii_lowercase() || "_0123456789".contains(c))
    };
    let named: BTreeSet<&str> = quoted.filter(is_test).collect();
    assert!(named.len() > 30, "{named:?}");
    let mut all = String::new();
    for folder in ["src", "tests"] {
        sources(&root.join(folder), &mut all);
    }
    let missing: Vec<_> = named
        .iter()
        .filter(|name| {
            !all.contains(&format!("#[test]\nfn {name}()"))
                && !all.contains(&format!("#[test]\n    fn {name}()"))
        })
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn the_cookbook_shows_the_conversions_that_are_tested() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("docs/cookbook.md")).expect("the page");
    let fixtures = root.join("tests/fixtures");
    let mut shown = BTreeSet::new();
    for quoted in page.split("<!-- ").skip(1) {
        let (file, rest) = quoted.split_once(" -->\n```").expect("a file's name, and a fence");
        let (_, rest) = rest.split_once('\n').expect("what the fence begins");
        let (block, _) = rest.split_once("```\n").expect("its end");
        let text = std::fs::read_to_string(fixtures.join(file)).expect(file);
        assert_eq!(block, text, "{file}");
        assert!(shown.insert(file.to_owned()), "{file} is shown twice");
    }
    for folder in std::fs::read_dir(&fixtures).expect("the fixtures") {
        let folder = folder.expect("an entry");
        for file in std::fs::read_dir(folder.path()).expect("a folder") {
            let name = [folder.file_name(), file.expect("an entry").file_name()];
            let name = name.map(|name| name.into_string().expect("text")).join("/");
            let is_shown = shown.contains(&name) || name.ends_with("/queries.json");
            assert!(is_shown, "{name} is not in the cookbook");
        }
    }
}

/// The guide's table of reasons, its rows.
fn reasons(root: &Path) -> Vec<String> {
    let guide = std::fs::read_to_string(root.join("docs/operators.md")).expect("the guide");
    let (_, table) = guide.split_once("| code | it says |").expect("the table of reasons");
    let (table, _) = table.split_once("\n\n").expect("its end");
    table.lines().skip(2).map(str::to_owned).collect()
}

#[test]
fn the_guide_says_of_each_reason_of_the_health_what_to_do() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let source = std::fs::read_to_string(root.join("src/status/health.rs")).expect("the codes");
    let codes: BTreeSet<&str> = source
        .lines()
        .filter_map(|line| line.trim().strip_prefix("pub const ")?.split('"').nth(1))
        .collect();
    assert!(codes.len() > 10, "{codes:?}");
    let rows = reasons(root);
    let told: BTreeSet<&str> =
        rows.iter().filter_map(|row| row.strip_prefix("| `")?.split('`').next()).collect();
    assert_eq!(told, codes);
}

#[test]
fn the_guide_quotes_what_the_program_says() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut all = String::new();
    sources(&root.join("src"), &mut all);
    let mut quoted = 0;
    for row in reasons(root) {
        let says = row.split(" | ").nth(1).expect("what it says");
        for words in says.split('`').skip(1).step_by(2) {
            let (words, _) = words.split_once(": ").unwrap_or((words, ""));
            // Between the figures stands what is the program's alone.
            for part in words.split(|c: char| c.is_ascii_digit()) {
                let part = part.split(['…', '"']).next().expect("a part").trim();
                let plain = part.trim_end_matches(" s").trim_end_matches('s');
                if plain.split_whitespace().count() > 1 && !plain.contains(".jsonl") {
                    assert!(all.contains(plain), "{plain:?} of {row}");
                    quoted += 1;
                }
            }
        }
    }
    assert!(quoted > 10, "{quoted}");
}

#[test]
fn the_readme_shows_the_live_view_and_pictures_that_are_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = std::fs::read_to_string(root.join("README.md")).expect("the README");
    let (_, shown) = readme.split_once("<!-- watch -->\n```\n").expect("the live view");
    let (shown, _) = shown.split_once("```\n").expect("its end");
    for words in ["all is well", "delivering offers-", "docs/s    now ", "worker 0 ", "q quits"] {
        assert!(shown.contains(words), "{words}: make screenshots");
    }
    let pictures = readme.split('"').filter(|word| word.starts_with("docs/page/"));
    let pictures: BTreeSet<&str> = pictures.collect();
    assert_eq!(pictures.len(), 6, "{pictures:?}");
    for picture in pictures {
        let bytes = std::fs::read(root.join(picture)).expect(picture);
        assert!(bytes.starts_with(b"\x89PNG") && bytes.len() < 100_000, "{picture}");
    }
}
