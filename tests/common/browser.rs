//! A real browser without a window: Debian's Chromium, told what to do over a pair of fifos
//! (`--remote-debugging-pipe`, <https://chromedevtools.github.io/devtools-protocol/>). It remembers all
//! that a page complains about and all that it asks for.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use nix::sys::stat::Mode;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{PATIENCE, skipped, wait_for_some};

/// Where it may be.
const PLACES: [&str; 2] = ["/usr/bin/chromium", "/usr/bin/chromium-browser"];
/// Without what would reach out into the network by itself, and as whoever runs the tests.
const OPTIONS: &[&str] = &[
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--no-default-browser-check",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
];

/// A browser with one page.
pub struct Browser {
    child: Child,
    to: File,
    from: Receiver<Value>,
    next: u64,
    session: Option<String>,
    /// What the page has complained about: errors, warnings, exceptions.
    pub complaints: Vec<String>,
    /// All addresses that it has asked for.
    pub asked: Vec<String>,
    dir: TempDir,
}

impl Browser {
    /// `None`: there is none here, and that is told. Where `BROWSER=required` it is a failure.
    pub fn start() -> Option<Browser> {
        let Some(program) = PLACES.iter().find(|place| Path::new(place).exists()) else {
            let required = std::env::var_os("BROWSER").is_some_and(|value| value == "required");
            assert!(!required, "no chromium here: tests/setup test installs it");
            skipped("no chromium here: nobody has looked at the page (tests/setup test)");
            return None;
        };
        let dir = tempfile::Builder::new().prefix("su-browser-").tempdir().unwrap();
        let (to, from) = (dir.path().join("to"), dir.path().join("from"));
        for fifo in [&to, &from] {
            nix::unistd::mkfifo(fifo, Mode::S_IRWXU).unwrap();
        }
        let log = File::create(dir.path().join("log")).unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", r#"to=$1 from=$2; shift 2; exec "$@" 3<"$to" 4>"$from""#, "sh"]);
        command.args([&to, &from]).arg(program).args(OPTIONS);
        command.arg(format!("--user-data-dir={}", dir.path().join("profile").display()));
        command.arg("about:blank").env("HOME", dir.path());
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap();
        let to = File::options().write(true).open(to).unwrap();
        let from = messages(File::open(from).unwrap());
        let (complaints, asked) = (Vec::new(), Vec::new());
        let session = None;
        let mut browser = Browser { child, to, from, next: 0, session, complaints, asked, dir };
        browser.attach();
        Some(browser)
    }

    fn attach(&mut self) {
        let target = self.call("Target.createTarget", json!({ "url": "about:blank" }));
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let session = self.call("Target.attachToTarget", attach);
        self.session = Some(session["sessionId"].as_str().expect("a session").to_owned());
        for domain in ["Page", "Runtime", "Log", "Network"] {
            self.call(&format!("{domain}.enable"), json!({}));
        }
    }

    /// Has it do something; what comes of that.
    #[track_caller]
    fn call(&mut self, method: &str, params: Value) -> Value {
        self.next += 1;
        let mut message = json!({ "id": self.next, "method": method, "params": params });
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        let sent = self.to.write_all(format!("{message}\0").as_bytes());
        sent.unwrap_or_else(|e| panic!("{method}: {e}: {}", self.log()));
        loop {
            let heard = self.from.recv_timeout(PATIENCE);
            let mut heard = heard.unwrap_or_else(|e| panic!("{method}: {e}: {}", self.log()));
            if heard["id"] == self.next {
                assert!(heard["error"].is_null(), "{method}: {heard}");
                return heard["result"].take();
            }
            self.remember(&heard);
        }
    }

    fn remember(&mut self, event: &Value) {
        let params = &event["params"];
        let is_bad = |word: &Value| ["error", "warning", "assert"].iter().any(|bad| *word == **bad);
        match event["method"].as_str().unwrap_or_default() {
            "Network.requestWillBeSent" => {
                self.asked.push(params["request"]["url"].as_str().unwrap_or_default().to_owned());
            }
            "Runtime.exceptionThrown" => self.complaints.push(params.to_string()),
            "Runtime.consoleAPICalled" if is_bad(&params["type"]) => {
                self.complaints.push(params.to_string());
            }
            "Log.entryAdded" if is_bad(&params["entry"]["level"]) => {
                self.complaints.push(params["entry"].to_string());
            }
            _ => {}
        }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    // --- a reader -------------------------------------------------------------------------------

    pub fn open(&mut self, url: &str) {
        self.call("Page.navigate", json!({ "url": url }));
    }

    /// The value of an expression in the page.
    #[track_caller]
    pub fn value(&mut self, expression: &str) -> Value {
        let params = json!({ "expression": expression, "returnByValue": true });
        let mut found = self.call("Runtime.evaluate", params);
        assert!(found["exceptionDetails"].is_null(), "{expression}: {found}");
        found["result"]["value"].take()
    }

    /// What a person reads, hidden things left out.
    #[track_caller]
    pub fn text(&mut self) -> String {
        let text = self.value("document.body ? document.body.innerText : ''");
        text.as_str().expect("a text").to_owned()
    }

    /// Waits until there is to be read what should be; answers that text.
    #[track_caller]
    pub fn wait(&mut self, what: &str, is_so: impl Fn(&str) -> bool) -> String {
        let mut last = String::new();
        let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            wait_for_some(what, || {
                last = self.text();
                is_so(&last).then(|| last.clone())
            })
        }));
        found.unwrap_or_else(|cause| {
            eprintln!("the page: {last}\n{:?}", self.complaints);
            std::panic::resume_unwind(cause)
        })
    }

    // --- a camera -------------------------------------------------------------------------------

    /// A window of this width, in pixels, and whether its user likes it dark.
    pub fn look(&mut self, width: u32, dark: bool) {
        let metrics = json!({
            "width": width, "height": 700, "deviceScaleFactor": 1, "mobile": width < 600,
        });
        self.call("Emulation.setDeviceMetricsOverride", metrics);
        let scheme = if dark { "dark" } else { "light" };
        let feature = json!({ "name": "prefers-color-scheme", "value": scheme });
        self.call("Emulation.setEmulatedMedia", json!({ "features": [feature] }));
    }

    /// The whole page as a PNG.
    pub fn picture(&mut self, path: &PathBuf) {
        use base64::Engine;
        let size = self.call("Page.getLayoutMetrics", json!({}))["cssContentSize"].take();
        let (width, height) = (&size["width"], &size["height"]);
        let clip = json!({ "x": 0, "y": 0, "width": width, "height": height, "scale": 1 });
        let params = json!({ "format": "png", "captureBeyondViewport": true, "clip": clip });
        let picture = self.call("Page.captureScreenshot", params);
        let data = picture["data"].as_str().expect("a picture");
        let bytes = base64::engine::general_purpose::STANDARD.decode(data).expect("base64");
        std::fs::write(path, bytes).unwrap();
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.to.write_all(b"{\"id\":0,\"method\":\"Browser.close\"}\0");
        for _ in 0..200 {
            if let Ok(Some(_)) = self.child.try_wait() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What it says, one message after the other, each ended by a NUL.
fn messages(from: File) -> Receiver<Value> {
    let (sender, messages) = channel();
    std::thread::spawn(move || {
        let mut from = BufReader::new(from);
        let mut message = Vec::new();
        while from.read_until(0, &mut message).is_ok_and(|n| n > 0) {
            message.pop();
            let Ok(value) = serde_json::from_slice(&message) else { return };
            if sender.send(value).is_err() {
                return;
            }
            message.clear();
        }
    });
    messages
}
