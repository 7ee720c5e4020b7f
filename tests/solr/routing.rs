//! Where a line belongs: what the crate `cluster` says, held against what Solr does.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use ::cluster::{Cluster, Key, Layout, Router, Unread};
use serde_json::{Value, json};

use crate::cluster::{Collection, escaped, solrcloud};

/// What Solr says where nobody confirmed.
const NOBODY: i64 = 2_147_483_647;

/// A collection made for a test, and Solr's own word on it.
struct Cloud {
    name: String,
    urls: Vec<String>,
    agent: ureq::Agent,
    _collection: Collection,
}

impl Cloud {
    /// Makes a collection with these parameters of CREATE.
    fn make(name: &str, parameters: &str) -> Cloud {
        let collection = Collection::none_yet(name);
        let urls = solrcloud(&["urls"]).split(',').map(str::to_owned).collect();
        let config = ureq::Agent::config_builder().proxy(None).http_status_as_error(false).build();
        let agent = config.into();
        let cloud = Cloud { name: name.to_owned(), urls, agent, _collection: collection };
        cloud.create(name, parameters);
        cloud
    }

    fn create(&self, name: &str, parameters: &str) {
        let config = "collection.configName=strict&waitForFinalState=true";
        self.admin(&format!("action=CREATE&name={name}&{config}&{parameters}"));
    }

    fn text(&self, url: &str) -> String {
        let mut answer = self.agent.get(url).call().expect("it answers");
        answer.body_mut().read_to_string().expect("it answers with text")
    }

    #[track_caller]
    fn admin(&self, query: &str) {
        let url = format!("{}/admin/collections?wt=json&{query}", self.urls[0]);
        let answer: Value = serde_json::from_str(&self.text(&url)).unwrap();
        assert_eq!(answer["responseHeader"]["status"], 0, "{query}: {answer}");
    }

    fn read(&self, name: &str) -> Result<Cluster, Unread> {
        let query = format!("action=CLUSTERSTATUS&collection={name}&wt=json");
        let json = self.text(&format!("{}/admin/collections?{query}", self.urls[1]));
        ::cluster::read(json.as_bytes(), name)
    }

    /// What is read once each shard has a leader, and that is `shards` of them.
    #[track_caller]
    fn settled(&self, shards: usize) -> ::cluster::Collection {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let read = self.read(&self.name);
            match &read {
                Ok(Cluster { live, collection })
                    if collection.leaders.iter().flatten().count() == shards
                        && collection.layout.shards.len() == shards =>
                {
                    assert_eq!(*live, self.urls);
                    return collection.clone();
                }
                _ => assert!(Instant::now() < deadline, "{read:?}"),
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// Posts an update to a node's collection, or to a core.
    fn update(&self, url: &str, body: &Value) -> Value {
        let url = format!("{url}/update?versions=true&wt=json");
        let update = self.agent.post(url).header("Content-Type", "application/json");
        let mut answer = update.send(body.to_string()).expect("it answers");
        serde_json::from_str(&answer.body_mut().read_to_string().unwrap()).unwrap()
    }

    /// Posts an update that must be taken to the first node.
    #[track_caller]
    fn take(&self, body: &Value) {
        let answer = self.update(&format!("{}/{}", self.urls[0], self.name), body);
        assert_eq!(answer["responseHeader"]["status"], 0, "{answer}");
    }

    /// Posts an update to a shard's leader; whether that has it and says so.
    fn confirmed(&self, leader: &Option<String>, body: &Value, what: &str) -> bool {
        let answer = self.update(leader.as_deref().expect("a leader"), body);
        assert_eq!(answer["responseHeader"]["status"], 0, "{answer}");
        answer["responseHeader"]["rf"] != NOBODY && answer[what][1] != 0
    }

    /// The ids in each shard's leader, in the order of the shards.
    fn ids(&self, collection: &::cluster::Collection) -> Vec<BTreeSet<String>> {
        self.take(&json!({"commit": {}}));
        let leaders = collection.leaders.iter().map(|leader| leader.as_deref().expect("a leader"));
        leaders.map(|core| self.ids_in(core)).collect()
    }

    fn ids_in(&self, core: &str) -> BTreeSet<String> {
        let mut ids = BTreeSet::new();
        let mut cursor = "*".to_owned();
        loop {
            // as a form: a cursor holds the last id, which may be too long for a request line
            let query = "q=*:*&distrib=false&sort=id+asc&rows=20000&fl=id&wt=json";
            let form = format!("{query}&cursorMark={}", escaped(&cursor));
            let search = self.agent.post(format!("{core}/select"));
            let search = search.header("Content-Type", "application/x-www-form-urlencoded");
            let mut answer = search.send(form).expect("it can be searched");
            let text = answer.body_mut().with_config().limit(1 << 30).read_to_string().unwrap();
            let answer: Value = serde_json::from_str(&text).unwrap();
            let docs = answer["response"]["docs"].as_array().unwrap_or_else(|| panic!("{text}"));
            ids.extend(docs.iter().map(|doc| doc["id"].as_str().unwrap().to_owned()));
            let next = answer["nextCursorMark"].as_str().unwrap();
            if next == cursor {
                assert_eq!(answer["response"]["numFound"], ids.len());
                return ids;
            }
            cursor = next.to_owned();
        }
    }
}

/// The same numbers each time (SplitMix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut n = self.0;
        n = (n ^ n >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        n = (n ^ n >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((n ^ n >> 31) % most as u64) as usize
    }

    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }

    fn text(&mut self, most: usize) -> String {
        const ODD: &[&str] = &[
            " ",
            "\t",
            "\n",
            "\r",
            "\0",
            "\u{1}",
            "\u{1f}",
            "\u{7f}",
            "\u{80}",
            "\"",
            "'",
            "\\",
            "/",
            "!",
            "?",
            "#",
            "&",
            "%21",
            "%2F",
            "+",
            ":",
            ",",
            "{",
            "}",
            "[",
            "]",
            "*",
            "-",
            "ß",
            "é",
            "e\u{301}",
            "日本語",
            "\u{7ff}",
            "\u{800}",
            "\u{d7ff}",
            "\u{e000}",
            "\u{fffd}",
            "\u{ffff}",
            "\u{feff}",
            "\u{2028}",
            "\u{202e}",
            "😀",
            "𝒳",
            "👩‍👩‍👧",
            "\u{10000}",
            "\u{10ffff}",
        ];
        let parts = self.below(most + 1);
        (0..parts)
            .map(|_| match self.below(3) {
                0 => self.one(ODD).to_owned(),
                1 => self.one(&["a", "b", "x", "1", "app", "user", "contact"]).to_owned(),
                _ => self.below(1_000_000).to_string(),
            })
            .collect()
    }

    fn bits(&mut self) -> String {
        const ODD: &[&str] = &[
            "",
            "0",
            "00",
            "1",
            "2",
            "7",
            "8",
            "9",
            "15",
            "16",
            "17",
            "24",
            "25",
            "31",
            "32",
            "33",
            "64",
            "08",
            "-1",
            "+8",
            "8 ",
            " 8",
            "x",
            "8x",
            "8/4",
            "٨",
            "2147483647",
            "2147483648",
            "2147483664",
            "4294967296",
            "4294967297",
            "4294967304",
            "4294967328",
            "99999999999",
            "18446744073709551617",
        ];
        match self.below(3) {
            0 => format!("/{}", self.below(40)),
            _ => format!("/{}", self.one(ODD)),
        }
    }

    fn id(&mut self) -> String {
        match self.below(20) {
            0..=3 => self.text(6),
            4 => {
                let (path, query) = (self.below(1000), self.below(1000));
                format!("http://e.example/{path}/{}!{query}/{}", self.text(1), self.text(2))
            }
            5 => format!("{}{}", self.one(&["!", "!!", "!!!", "/!", "//", "/8!"]), self.text(3)),
            _ => {
                let mut id = String::new();
                for n in 0..=self.below(5) {
                    if n > 0 {
                        id.push('!');
                    }
                    id.push_str(&self.text(2));
                    if self.below(2) == 0 {
                        id.push_str(&self.bits());
                    }
                }
                id.push_str(self.one(&["", "", "", "!", "!!"]));
                id
            }
        }
    }
}

#[test]
fn the_routing_agrees_with_solrs_own_for_100_000_odd_ids() {
    const IDS: usize = 100_000;
    let mut dice = Dice(1);
    let mut ids: BTreeSet<String> =
        ["", "!", "!!", "!!!", "/", "/!", "a!", "a!b!"].map(str::to_owned).into();
    for part in ["", "a!", "a/4!b!"] {
        ids.extend((0..20).map(|n| format!("{part}{}", "long and longer 😀".repeat(50 * n)))); // to 20 kB
    }
    while ids.len() < IDS {
        ids.insert(dice.id());
    }

    let cloud = Cloud::make("odd-ids", "numShards=5");
    let docs: Vec<Value> = ids.iter().map(|id| json!({"id": id})).collect();
    for (n, batch) in docs.chunks(10_000).enumerate() {
        let answer = cloud.update(&format!("{}/odd-ids", cloud.urls[n % 2]), &json!(batch));
        assert_eq!(answer["responseHeader"]["status"], 0, "{answer}");
    }
    let collection = cloud.settled(5);
    let found = cloud.ids(&collection);
    let mut wrong = Vec::new();
    for (shard, ids) in found.iter().enumerate() {
        assert!(ids.len() > IDS / 20, "shard {shard} has {}", ids.len());
        for id in ids {
            let said = collection.layout.shard_of(&Key { id, ..Key::default() });
            if said != Some(shard) {
                wrong.push((id, shard, said));
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong, as {:?}", wrong.len(), &wrong[..wrong.len().min(5)]);
    let found: BTreeSet<String> = found.into_iter().flatten().collect();
    assert!(found == ids, "{} of {} ids are there", found.len(), ids.len());
}

/// Two values that lead into the two halves of all hashes.
const LOW: &str = "offer-000000002";
const HIGH: &str = "a";

fn delete<'a>(id: &'a str, route: Option<&'a str>) -> Key<'a> {
    Key { id, route, delete: true, ..Key::default() }
}

/// All ids, in whatever shard.
fn all(ids: Vec<BTreeSet<String>>) -> Vec<String> {
    ids.into_iter().flatten().collect()
}

#[test]
fn the_routing_of_deletes_and_children_is_solrs() {
    let cloud = Cloud::make("deletes", "numShards=2");
    let collection = cloud.settled(2);
    let of = |key: &Key<'_>| collection.layout.shard_of(key).expect("it can be told");
    // A child is where its root is.
    cloud.take(&json!([
        {"id": LOW}, {"id": HIGH}, {"id": "child", "_root_": LOW}, {"id": "other", "_root_": HIGH},
    ]));
    let child = |id, root| of(&Key { id, root: Some(root), ..Key::default() });
    let found = cloud.ids(&collection);
    assert!(found[child("child", LOW)].contains("child"));
    assert!(found[child("other", HIGH)].contains("other"));
    assert_ne!(child("child", LOW), child("other", HIGH));

    // A delete goes by its route, wherever its id is.
    cloud.take(&json!([{"id": "1!a"}, {"id": "2!a"}]));
    assert_ne!(of(&delete("1!a", Some(LOW))), of(&delete("1!a", Some(HIGH))));
    for (route, there) in [(LOW, "1!a"), (HIGH, "1!a"), (LOW, "2!a"), (HIGH, "2!a"), ("1!", "1!a")]
    {
        let command = json!({"delete": {"id": there, "_route_": route}});
        let shard = of(&delete(there, Some(route)));
        let home = of(&Key { id: there, ..Key::default() });
        cloud.take(&json!([{"id": there}]));
        cloud.take(&command);
        assert_eq!(cloud.ids(&collection)[home].contains(there), shard != home, "{route}");
        // The shard that it belongs to is the one that confirms it.
        assert!(cloud.confirmed(&collection.leaders[shard], &command, "deletes"), "{route}");
        assert!(!cloud.confirmed(&collection.leaders[1 - shard], &command, "deletes"), "{route}");
    }
}

#[test]
fn the_routing_by_a_field_is_solrs() {
    let cloud = Cloud::make("router-field", "numShards=2&router.field=grp_s");
    let collection = cloud.settled(2);
    let layout = &collection.layout;
    assert_eq!(layout.router_field(), Some("grp_s"));
    let mut dice = Dice(2);
    let fields: BTreeMap<String, String> = (0..500).map(|n| (format!("{n}"), dice.id())).collect();
    let doc = |(id, field)| json!({"id": id, "grp_s": field, "_root_": format!("{id} root")});
    let docs: Vec<Value> = fields.iter().map(doc).collect();
    cloud.take(&json!(docs));
    cloud.take(&json!([{"id": "int", "grp_s": 42}, {"id": "bool", "grp_s": true}]));
    let more = [("int".to_owned(), "42".to_owned()), ("bool".to_owned(), "true".to_owned())];
    let found = cloud.ids(&collection);
    for (id, field) in fields.iter().chain(more.iter().map(|(id, field)| (id, field))) {
        let root = format!("{id} root");
        let key = Key { id, field: Some(field), root: Some(&root), ..Key::default() };
        let shard = layout.shard_of(&key).expect("it can be told");
        assert!(found[shard].contains(id), "{id}: {field:?}");
    }
    let refused = cloud.update(&format!("{}/router-field", cloud.urls[0]), &json!([{"id": "x"}]));
    assert_eq!(refused["error"]["msg"], "No value for :grp_s. Unable to identify shard");
    assert_eq!(layout.shard_of(&Key { id: "x", ..Key::default() }), None);

    cloud.take(&json!({"delete": {"query": "*:*"}}));
    let docs: Vec<Value> = [LOW, HIGH]
        .iter()
        .flat_map(|field| {
            (1..=3).map(move |n| json!({"id": format!("{field}{n}"), "grp_s": field}))
        })
        .collect();
    cloud.take(&json!(docs));
    for field in [LOW, HIGH] {
        let [one, two, three] = [1, 2, 3].map(|n| format!("{field}{n}"));
        // By its route, one shard is enough.
        let shard = layout.shard_of(&delete(&one, Some(field))).expect("it can be told");
        let command = json!({"delete": {"id": one, "_route_": field}});
        assert!(cloud.confirmed(&collection.leaders[shard], &command, "deletes"));
        // Without, Solr asks all shards.
        assert_eq!(layout.shard_of(&delete(&two, None)), None);
        cloud.take(&json!({"delete": {"id": two}}));
        // Or we do, and each confirms it.
        for (shard, leader) in collection.leaders.iter().enumerate() {
            let route = layout.route_into(shard).expect("a route");
            let command = json!({"delete": {"id": three, "_route_": route}});
            assert!(cloud.confirmed(leader, &command, "deletes"));
        }
    }
    assert_eq!(all(cloud.ids(&collection)), [""; 0]);
}

#[test]
fn the_routing_by_a_shards_name_is_solrs() {
    let parameters = "router.name=implicit&shards=a,b,c&router.field=grp_s";
    let cloud = Cloud::make("implicit", parameters);
    let collection = cloud.settled(3);
    let layout = &collection.layout;
    cloud.take(&json!([
        {"id": "1", "grp_s": "a"}, {"id": "2", "grp_s": "b"}, {"id": "3", "grp_s": "c"},
        {"id": "4", "grp_s": "c"},
    ]));
    let found = cloud.ids(&collection);
    for (id, field) in [("1", "a"), ("2", "b"), ("3", "c"), ("4", "c")] {
        let shard = layout.shard_of(&Key { id, field: Some(field), ..Key::default() });
        assert!(found[shard.expect("it can be told")].contains(id));
    }
    let refused =
        cloud.update(&format!("{}/implicit", cloud.urls[0]), &json!([{"id": "5", "grp_s": "d"}]));
    assert!(
        refused["error"]["msg"].as_str().unwrap().starts_with("No shard called =d "),
        "{refused}"
    );
    assert_eq!(layout.shard_of(&Key { id: "5", field: Some("d"), ..Key::default() }), None);

    // A delete without a route is done wherever it comes to, and nowhere else.
    assert_eq!(layout.shard_of(&delete("1", None)), None);
    assert!(cloud.confirmed(&collection.leaders[1], &json!({"delete": {"id": "1"}}), "deletes"));
    assert!(cloud.ids(&collection)[0].contains("1"));
    for (id, route) in [("1", "a"), ("2", "b")] {
        let shard = layout.shard_of(&delete(id, Some(route))).expect("it can be told");
        let command = json!({"delete": {"id": id, "_route_": route}});
        assert!(cloud.confirmed(&collection.leaders[shard], &command, "deletes"));
    }
    for (shard, leader) in collection.leaders.iter().enumerate() {
        let command = json!({"delete": {"id": "3", "_route_": layout.route_into(shard)}});
        assert!(cloud.confirmed(leader, &command, "deletes"));
    }
    assert_eq!(all(cloud.ids(&collection)), ["4"]);
}

#[test]
fn the_routing_follows_a_split() {
    let cloud = Cloud::make("split", "numShards=1");
    let mut dice = Dice(3);
    let ids: BTreeSet<String> = (0..2_000).map(|_| dice.id()).collect();
    let docs: Vec<Value> = ids.iter().map(|id| json!({"id": id})).collect();
    let (before, after) = docs.split_at(docs.len() / 2);
    let whole = cloud.settled(1);
    assert!(cloud.confirmed(&whole.leaders[0], &json!(before), "adds"));
    cloud.admin("action=SPLITSHARD&collection=split&shard=shard1");
    let split = cloud.settled(2);
    assert_ne!(split.layout, whole.layout);
    cloud.take(&json!(after));
    let found = cloud.ids(&split);
    for (shard, ids) in found.iter().enumerate() {
        for id in ids {
            assert_eq!(split.layout.shard_of(&Key { id, ..Key::default() }), Some(shard), "{id:?}");
        }
    }
    assert_eq!(found.into_iter().flatten().collect::<BTreeSet<_>>(), ids);
    // Who used to lead still forwards, and confirms nothing.
    assert!(!cloud.confirmed(&whole.leaders[0], &json!([{"id": "late"}]), "adds"));
    assert!(all(cloud.ids(&split)).contains(&"late".to_owned()));
}

#[test]
fn an_alias_is_routed_where_that_is_safe() {
    let cloud = Cloud::make("behind", "numShards=2");
    let behind = cloud.settled(2);
    cloud.create("hidden", "numShards=1");
    let aliases =
        [("simple", "behind"), ("two", "behind,hidden"), ("deep", "simple"), ("hidden", "behind")];
    for (alias, of) in aliases {
        cloud.admin(&format!("action=CREATEALIAS&name={alias}&collections={of}"));
        cloud.admin("action=LISTALIASES"); // each node hears of it in its own time
    }
    let layout = |name: &str| -> Layout {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            match cloud.read(name) {
                Ok(cluster) if cluster.collection.alias => return cluster.collection.layout,
                read => assert!(Instant::now() < deadline, "{read:?}"),
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    };
    assert_eq!(layout("simple"), behind.layout);
    let why = |name| match layout(name).router {
        Router::Other(why) => why,
        router => panic!("{name}: {router:?}"),
    };
    assert_eq!(why("two"), "an alias of 2 collections");
    assert_eq!(why("deep"), "an alias of an alias");
    assert_eq!(why("hidden"), "an alias with the name of a collection");
    for (alias, _) in aliases {
        for url in &cloud.urls {
            let answer = cloud.update(&format!("{url}/{alias}"), &json!([{"id": alias}]));
            assert_eq!(answer["responseHeader"]["status"], 0, "{answer}");
        }
    }
    assert_eq!(all(cloud.ids(&behind)).len(), aliases.len(), "the first collection has them all");
    assert_eq!(cloud.read("none"), Err(Unread::NoCollection));

    cloud.admin("action=MODIFYCOLLECTION&collection=behind&readOnly=true");
    assert!(cloud.read("simple").unwrap().collection.read_only);
    let refused = cloud.update(&format!("{}/simple", cloud.urls[0]), &json!([{"id": "x"}]));
    assert_eq!(refused["error"]["code"], 403, "{refused}");
    for (alias, _) in aliases {
        cloud.admin(&format!("action=DELETEALIAS&name={alias}"));
    }
    solrcloud(&["drop", "hidden"]);
}
