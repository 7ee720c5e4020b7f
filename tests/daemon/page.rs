//! The page, as a real browser shows it.

use std::net::SocketAddr;

use nix::sys::signal::Signal;

use crate::common::{Browser, Daemon, Delta, FakeSolr, Mode, Site, own_address, wait_for};

/// A daemon with a page, and a browser that looks at it.
struct Scene {
    solr: FakeSolr,
    site: Site,
    daemon: Option<Daemon>,
    address: SocketAddr,
    browser: Browser,
}

impl Scene {
    /// `None`: there is no browser here, and that is told.
    fn set(changes: &str) -> Option<Scene> {
        let browser = Browser::start()?;
        let (solr, address) = (FakeSolr::up(), own_address());
        let site = Site::new(solr.url());
        site.configure(&format!("monitor.http = '{address}'\n{changes}"));
        let daemon = Some(Daemon::start(&site));
        let mut scene = Scene { solr, site, daemon, address, browser };
        scene.browser.look(1160, false);
        scene.browser.open(&format!("http://{address}/"));
        scene.browser.value("window.opened = 'once'");
        Some(scene)
    }

    fn daemon(&self) -> &Daemon {
        self.daemon.as_ref().expect("it runs")
    }

    /// Hands a delta over and waits until the page has it as settled.
    #[track_caller]
    fn settle(&mut self, name: &str, text: &str) {
        self.site.hand_over(name, text);
        let row = "document.getElementById('history').innerText";
        let seen = |browser: &mut Browser| browser.value(row).as_str().unwrap().contains(name);
        wait_for("the page has it", || seen(&mut self.browser));
    }

    /// Nothing was loaded again, nothing complained about, nothing asked of anybody else.
    #[track_caller]
    fn end(mut self) {
        assert_eq!(self.browser.value("window.opened"), "once", "it was loaded again");
        assert_eq!(self.browser.complaints, Vec::<String>::new());
        let own = format!("http://{}/", self.address);
        let others = |url: &&String| !url.starts_with(&own) && !url.starts_with("data:");
        assert_eq!(self.browser.asked.iter().find(others), None);
        assert!(self.browser.asked.len() > 2, "{:?}", self.browser.asked);
        if let Some(daemon) = self.daemon.take() {
            daemon.stop();
        }
    }
}

#[test]
fn the_page_says_that_all_is_well_and_goes_on_without_reloading() {
    let Some(mut scene) = Scene::set("workers.count = 3") else { return };
    let text = scene.browser.wait("it has the history, which comes last", |text| {
        text.contains("No delta has been settled")
    });
    for words in ["Idle, waiting for deltas in", "3 of 3 alive", "no delta waits", "All is well"] {
        assert!(text.contains(words), "{words}: {text}");
    }
    assert_eq!(scene.browser.value("document.title"), "All is well · solr-updater");
    scene.settle("x.jsonl", &Delta::offers(0..1_234, 1).text);
    let text = scene.browser.wait("the counts are there", |text| text.contains("1,234"));
    assert!(text.contains("x.jsonl") && text.contains("shard1"), "{text}");
    let curve = "document.getElementById('curve').getAttribute('d').length";
    wait_for("a curve is drawn", || scene.browser.value(curve).as_u64() > Some(20));
    scene.browser.wait("and its most is told", |text| text.contains(", at most "));
    scene.end();
}

#[test]
fn a_name_is_text_whatever_it_looks_like() {
    let Some(mut scene) = Scene::set("") else { return };
    scene.browser.wait("it has an answer", |text| text.contains("All is well"));
    let name = "<img src=x onerror=alert(1)>&amp;\u{202e}\"'.jsonl";
    let shown = name.replace('\u{202e}', "?");
    scene.solr.turn(Mode::Hold);
    scene.site.hand_over(name, Delta::offers(0..10, 1).text);
    scene.browser.wait("it is delivered", |text| text.contains(&format!("Delivering {shown}")));
    scene.solr.turn(Mode::Up);
    scene
        .browser
        .wait("it is settled", |text| text.contains(&shown) && text.contains("the last 1"));
    // An error, too.
    scene.site.hand_over("<script>alert(2)<!--.jsonl", "no JSON\n".repeat(3_000));
    scene.browser.wait("it has failed", |text| text.contains("<script>alert(2)<!--.jsonl"));
    assert_eq!(scene.browser.value("document.images.length"), 0);
    assert_eq!(scene.browser.value("document.scripts.length"), 1);
    scene.end();
}

#[test]
fn what_is_critical_is_told_in_words_with_its_cause_and_its_beginning() {
    let changes = "health.solr = { warning = '1s', critical = '2s' }\nhealth.rejected = { warning = 1, critical = 9 }";
    let Some(mut scene) = Scene::set(changes) else { return };
    scene.browser.wait("it has an answer", |text| text.contains("All is well"));
    scene.settle("a.jsonl", "no JSON\n");
    let text = scene.browser.wait("a warning", |text| text.contains("Warning"));
    assert!(text.contains("1 line rejected") && text.contains("since "), "{text}");
    scene.solr.turn(Mode::Down);
    scene.site.hand_over("b.jsonl", Delta::offers(0..10, 1).text);
    let text = scene.browser.wait("it is critical", |text| text.contains("Critical"));
    for words in
        ["Delivering b.jsonl", "unreachable", "CRITICAL", "WARNING", "1 line rejected", "0 % of"]
    {
        assert!(text.contains(words), "{words}: {text}");
    }
    assert_eq!(scene.browser.value("document.title"), "Critical · solr-updater");
    scene.solr.turn(Mode::Up);
    scene
        .browser
        .wait("it is over", |text| !text.contains("Critical") && text.contains("the last 2"));
    scene.site.run(&["pause"]).code(0);
    scene.browser.wait("a pause is told", |text| text.contains("Paused: nothing is sent until"));
    scene.end();
}

#[test]
fn a_page_without_an_answer_says_so_and_since_when_and_comes_back() {
    let Some(mut scene) = Scene::set("") else { return };
    scene.browser.wait("it has an answer", |text| text.contains("All is well"));
    // A killed monitor is no silence.
    let killed = scene.daemon().monitor();
    killed.signal(Signal::SIGKILL);
    let old = format!("monitor pid {};", killed.pid);
    let text = scene.browser.wait("the next one answers", |text| !text.contains(&old));
    assert!(text.contains("All is well") && !text.contains("No answer"), "{text}");
    scene.daemon.take().unwrap().stop();
    let text = scene.browser.wait("it is silent", |text| text.contains("No answer since "));
    assert!(text.contains("what stands below is of then. The daemon does not run"), "{text}");
    assert!(text.contains("All is well"), "what was is still to be read: {text}");
    assert_eq!(scene.browser.value("document.title"), "No answer · solr-updater");
    let ago = |text: &str| text.split(", for ").nth(1)?.split(' ').next()?.parse::<u64>().ok();
    let first = ago(&text).expect("how long");
    scene.browser.wait("how long is told, and grows", |text| ago(text) > Some(first));
    scene.daemon = Some(Daemon::start(&scene.site));
    scene.browser.wait("it is back", |text| text.contains("live, ") && !text.contains("No answer"));
    // The browser itself tells each request that was refused.
    scene.browser.complaints.retain(|what| !what.contains("ERR_CONNECTION_"));
    scene.end();
}

#[test]
fn the_page_fits_every_width_light_and_dark() {
    let Some(mut scene) = Scene::set("workers.count = 4") else { return };
    let long = format!("{}.jsonl", "offers-of-a-producer-with-much-to-say-".repeat(5));
    scene.solr.turn(Mode::Hold);
    scene.site.hand_over(&long, Delta::offers(0..2_000, 1).text);
    scene.browser.wait("it is delivered", |text| text.contains("Delivering offers-of"));
    let mut grounds = Vec::new();
    for dark in [false, true] {
        for width in [320, 390, 768, 1160, 2560] {
            scene.browser.look(width, dark);
            let wide = scene.browser.value("document.documentElement.scrollWidth");
            assert!(wide.as_u64() <= Some(width.into()), "{width}: {wide}");
        }
        grounds.push(scene.browser.value("getComputedStyle(document.body).backgroundColor"));
    }
    assert_ne!(grounds[0], grounds[1], "dark is dark");
    scene.solr.turn(Mode::Up);
    scene.browser.wait("it is settled", |text| text.contains("the last 1"));
    scene.end();
}
