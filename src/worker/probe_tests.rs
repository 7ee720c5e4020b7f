use super::*;
use crate::fake_solr::{FakeSolr, Play, config, nobody};

#[test]
fn one_seed_that_takes_updates_is_enough() {
    let solr = FakeSolr::start();
    assert_eq!(probe(&config(&[&nobody(), &solr.url])), Ok(()));
    let (head, body) = solr.lock().requests[0].clone();
    assert!(head.starts_with("POST /solr/offers/update?") && body == "[]", "{head}");
}

#[test]
fn what_is_wrong_is_told_with_place_and_remedy() {
    let gone = nobody();
    assert_eq!(
        probe(&config(&[&gone])),
        Err(format!("{gone}: connection refused; start Solr there, or set solr.urls"))
    );
    let solr = FakeSolr::start();
    for (status, why) in [
        (
            404,
            format!(
                "collection offers not found at {}: create it or set solr.collection",
                solr.url
            ),
        ),
        (
            401,
            format!(
                "{}: the credentials are not taken (HTTP 401): set solr.username and \
             solr.password_file, or solr.token_file",
                solr.url
            ),
        ),
        (
            403,
            format!("{}: may not write (HTTP 403): give this user the right to update", solr.url),
        ),
        (302, format!("{}: HTTP 302: this is no Solr, name it in solr.urls", solr.url)),
    ] {
        solr.play([Play::Answer(status, "text/html", "<html>".into())]);
        // The node that answers knows more than the one that does not.
        assert_eq!(probe(&config(&[&gone, &solr.url])), Err(why));
    }
}
