//! The spool's promises that end in the index: what comes late brings nothing old back, and a full
//! disk costs no document. (`tests/daemon` has all of them, with a Solr that can be told to misbehave.)

use std::io::Write;

use serde_json::json;

use crate::cluster::{Collection, offers};
use crate::common::{Daemon, Delta, assert_same};

#[test]
fn what_is_appended_to_a_delivered_delta_arrives_and_no_older_value_with_it() {
    let collection = Collection::shared();
    let site = collection.site();
    site.configure("spool.settle = '100ms'\nspool.poll = '200ms'");
    let daemon = Daemon::start(&site);
    let settled = |deltas: u64| {
        daemon.wait("it is settled", |status| status["totals"]["deltas"] == deltas);
    };
    let before = collection.docs();
    let mut old = Delta::default();
    let mut new = Delta::default();
    for n in 0..500 {
        old.doc(json!({"id": format!("late-{n}"), "price_i": 1}));
        new.doc(json!({"id": format!("late-{n}"), "price_i": 2}));
    }
    let hidden = site.spool("incoming/.x.jsonl");
    let mut file = std::fs::File::create(&hidden).unwrap();
    file.write_all(old.text.as_bytes()).unwrap();
    std::fs::rename(&hidden, site.spool("incoming/x.jsonl")).unwrap(); // and the writer goes on
    settled(1);
    site.hand_over("y.jsonl", &new.text);
    settled(2);
    file.write_all(b"{\"id\":\"late-more\",\"price_i\":3}\n").unwrap();
    drop(file);
    settled(3);
    new.doc(json!({"id": "late-more", "price_i": 3}));
    let mut expected = before;
    expected.extend(new.docs);
    assert_same(&collection.docs(), &expected);
    daemon.stop();
}

#[test]
fn a_full_disk_in_mid_delta_costs_no_document_and_no_reject() {
    let collection = Collection::make("full-disk");
    let site = collection.site();
    let Some(disk) = site.spool_on_disk("size=16m") else { return };
    site.configure("batch.docs = 100\nspool.max_rejects = '100%'");
    let daemon = Daemon::start(&site);
    let mut delta = offers(&["20000", "9", "--deletes", "20"]);
    for n in 0..2_000 {
        delta.line(&format!("no JSON {n}: {}", "x".repeat(200)));
    }
    site.hand_over("x.jsonl", &delta.text);
    daemon.wait("it is under way", |status| status["totals"]["docs"].as_u64() >= Some(2_000));
    disk.fill(0).unwrap();
    daemon.wait("it is critical", |status| {
        let reasons = status["health"]["reasons"].as_array().unwrap();
        reasons.iter().any(|reason| reason["code"] == "spool")
    });
    site.check_updater(&[]).code(2).says("cannot write checkpoint or rejects");
    disk.free();
    daemon.wait("it is settled", |status| status["totals"]["deltas"] == 1);
    assert_same(&collection.docs(), &delta.docs);
    assert_eq!(site.rejects("x.jsonl").len(), 2_000);
    daemon.wait("it is well but for the rejects", |status| {
        let reasons = status["health"]["reasons"].as_array().unwrap();
        reasons.iter().all(|reason| reason["code"] == "rejected")
    });
    daemon.stop();
}
