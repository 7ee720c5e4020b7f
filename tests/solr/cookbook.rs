//! The conversions of docs/cookbook.md, each delivered and asked for.

use serde_json::Value;

use crate::cluster::Collection;
use crate::common::{Daemon, Recipe};

/// Whether a document has at least these members.
fn has(document: &Value, members: &Value) -> bool {
    let members = members.as_object().expect("an object");
    members.iter().all(|(name, value)| document.get(name) == Some(value))
}

#[test]
fn the_conversions_of_the_cookbook_make_what_solr_finds() {
    let collection = Collection::make("cookbook");
    let recipes = Recipe::all();
    assert!(recipes.len() >= 10, "those of the cookbook");
    for recipe in &recipes {
        let site = collection.site();
        recipe.configure(&site);
        site.run(&["check", "--solr"]).code(0);
        let daemon = Daemon::start(&site);
        for (name, text) in recipe.deltas() {
            site.hand_over(&name, text);
            daemon.wait("it is delivered", |_| site.is_done(&name));
        }
        assert_eq!(site.names("rejected"), [""; 0], "{}", recipe.name);
        daemon.stop();
        collection.commit();
        ask(&collection, recipe);
        collection.clear();
    }
}

/// Asks Solr what the recipe asks, and compares.
fn ask(collection: &Collection, recipe: &Recipe) {
    let url = format!("{}/{}/select", collection.urls()[0], collection.name());
    let queries: Vec<Value> = serde_json::from_str(&recipe.text("queries.json")).unwrap();
    assert!(!queries.is_empty());
    for query in queries {
        let asked = query["query"].as_str().unwrap();
        let answer = collection.get(&format!("{url}?{}", encoded(asked)));
        let answer: Value = serde_json::from_str(&answer).unwrap();
        let found = answer["response"]["docs"].as_array().unwrap();
        let finds = query["finds"].as_array().unwrap();
        let as_said = found.len() == finds.len()
            && found.iter().zip(finds).all(|(document, members)| has(document, members));
        assert!(as_said, "{}: {asked}: {found:#?}", recipe.name);
    }
}

/// Parameters as a person would type them, encoded.
fn encoded(parameters: &str) -> String {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"=&-_.*".contains(byte);
    let mut url = String::new();
    // What stands within {!…} or quotes has its own `=`: only the first of a parameter parts.
    for parameter in parameters.split('&') {
        let (name, value) = parameter.split_once('=').expect("name=value");
        url += &format!("{}{name}=", if url.is_empty() { "" } else { "&" });
        for byte in value.bytes() {
            match is_plain(&byte) && byte != b'=' {
                true => url.push(byte as char),
                false => url += &format!("%{byte:02X}"),
            }
        }
    }
    url
}
