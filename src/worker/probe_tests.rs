use super::*;
use crate::testing::config;
use fake_solr::{FakeSolr, Play, nobody};

fn probe(config: &Config) -> Result<(), String> {
    super::probe(config, &Default::default(), Duration::from_secs(20))
}

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
                "{}: the credentials are not taken (HTTP 401): check solr.username and \
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

#[test]
fn a_solr_that_accepts_and_does_not_answer_is_told_in_time() {
    let solr = FakeSolr::start();
    solr.lock().always = Some(Play::Silence(Duration::from_secs(5)));
    let config = config(&[&solr.url, &solr.url.replace("127.0.0.1", "localhost")]);
    let begin = Instant::now();
    let error = super::probe(&config, &Default::default(), Duration::from_millis(600)).unwrap_err();
    assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
    assert_eq!(
        error,
        format!("{}: no answer in time; start Solr there, or set solr.urls", solr.url)
    );
    assert_eq!(solr.lock().requests.len(), 2, "every seed had its turn");
}

#[test]
fn a_leader_that_cannot_be_reached_from_here_is_named() {
    let cluster = fake_solr::FakeCluster::start(2);
    let mut config = config(&[&cluster.node(0).url()]);
    config.solr.collection = "c".into();
    assert_eq!(probe(&config), Ok(()));
    cluster.node(1).turn(fake_solr::Mode::Down);
    let core = cluster.core_url(1, 1).unwrap();
    assert_eq!(
        probe(&config),
        Err(format!(
            "{core}: connection refused; the cluster says that it leads a shard: make it reachable \
             from here, or set solr.routing = \"any\""
        ))
    );
    config.solr.routing = config::Routing::Any;
    assert_eq!(probe(&config), Ok(()));
}
