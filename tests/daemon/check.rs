//! `check --solr`: what is wrong with a configuration beside the Solr that it names, before there is a line.

use fake_solr::{FakeSolr, Mode};

use crate::common::Site;
use crate::schema::schema;

#[test]
fn check_solr_compares_the_conversion_with_the_schema() {
    let solr = FakeSolr::up();
    solr.set_schema(Some(schema(&[("n", "pint"), ("seen", "pdate")])));
    let site = Site::new(solr.url());
    site.configure(
        "[convert.fields]\nid = 'sku'\nseen = { from = 'ts', type = 'date' }\nn = { from = 'a', type = 'int' }",
    );
    let right = site.run(&["check", "--solr"]).code(0);
    assert!(
        right.stdout.contains("what its schema refuses is refused before it is sent"),
        "{right:?}"
    );
    site.configure(
        "[convert.fields]\nid = 'sku'\nsene = 'ts'\nn = { from = 'a', type = 'bool' }\nseen = { from = 'b', type = 'string' }",
    );
    let wrong = site.run(&["check", "--solr"]).code(78);
    assert!(
        wrong.stderr.contains("convert.fields.sene: the schema has no such field: is seen meant?")
    );
    assert!(wrong.stderr.contains("the field is a pint: no value fits"), "{wrong:?}");
    assert!(wrong.stderr.contains("^^^^"), "{wrong:?}");
    assert!(
        wrong.stdout.contains("note: ") && wrong.stdout.contains("better type = \"date\""),
        "{wrong:?}"
    );
    site.configure("solr.unique_key = 'sku'");
    site.run(&["check", "--solr"]).code(78).says("the schema's uniqueKey is id: need \"id\"");
}

#[test]
fn check_solr_vouches_for_no_seed_that_is_dead_or_silent() {
    let (solr, silent) = (FakeSolr::up(), FakeSolr::in_mode(Mode::Stall));
    let dead = fake_solr::nobody();
    let site = Site::new(solr.url());
    site.configure(&format!("solr.urls = [{:?}, {:?}, {:?}]", dead, silent.url(), solr.url()));
    let check = site.run(&["check", "--solr"]).code(0);
    assert!(
        check.stdout.contains(&format!("\n{}: collection c takes updates\n", solr.url())),
        "{check:?}"
    );
    assert!(check.stdout.contains(&format!("note: {dead}: connection refused")), "{check:?}");
    assert!(
        check.stdout.contains(&format!("note: {}: no answer in time", silent.url())),
        "{check:?}"
    );
    site.configure(&format!("solr.urls = [{:?}, {:?}]", dead, silent.url()));
    let check = site.run(&["check", "--solr"]).code(1);
    assert!(check.stderr.contains(&dead) && check.stderr.contains(&silent.url()), "{check:?}");
}

#[test]
fn check_solr_tells_more_replicas_than_there_are_and_a_collection_that_takes_nothing() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    site.configure("solr.min_rf = 2");
    let words = "1 can have an update of shard1, so no document would ever count: need 1 at most";
    site.run(&["check", "--solr"]).code(78).says(words);
    let cluster = fake_solr::FakeCluster::start(1);
    cluster.set_read_only(true);
    let site = Site::new(cluster.node(0).url());
    site.run(&["check", "--solr"]).code(1).says("is read-only");
}
