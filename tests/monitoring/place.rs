//! Where a story takes place: a daemon with a Solr that can be told to misbehave, a copy of the plugin where user
//! `nagios` may run it, and a folder for the monitoring system that watches.

use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Group, Pid, User, getegid, geteuid};

use crate::common::{DAEMON, FakeSolr, Site};

/// Alarms at once, or the tests would take half an hour. A parent beats every 5 s, so less than 6 s would be a lie.
pub const HASTE: &str = "
    batch.docs = 50
    health.solr = { warning = '1s', critical = '2s' }
    health.stall = { warning = '6s', critical = '8s' }";

pub struct Place {
    pub solr: FakeSolr,
    pub site: Site,
    user: User,
    group: Group,
}

impl Place {
    pub fn new() -> Place {
        let solr = FakeSolr::up();
        let site = Site::new(solr.url());
        site.configure(HASTE);
        let name =
            if geteuid().is_root() { User::from_name("nagios") } else { User::from_uid(geteuid()) };
        let user =
            name.expect("users can be looked up").expect("make monitoring-tests sets all up");
        let group = Group::from_gid(user.gid)
            .expect("groups can be looked up")
            .expect("a user's has a name");
        let place = Place { solr, site, user, group };
        place.open_to_all(&place.site.path(""));
        place.folder();
        let plugin = Path::new(DAEMON).with_file_name("check_updater");
        std::fs::copy(&plugin, place.plugin()).expect("cargo build --workspace first");
        place
    }

    /// The watcher's folder. The plugin is in it.
    pub fn folder(&self) -> PathBuf {
        let folder = self.site.path("watcher");
        if !folder.exists() {
            std::fs::create_dir(&folder).expect("the place is ours");
            self.give(&folder);
        }
        folder
    }

    pub fn plugin(&self) -> PathBuf {
        self.site.path("watcher").join("check_updater")
    }

    /// Makes a folder in it, and those on the way.
    pub fn make_folder(&self, name: &str) {
        let mut folder = self.folder();
        for step in name.split('/') {
            folder.push(step);
            std::fs::create_dir_all(&folder).expect("the place is ours");
            self.give(&folder);
        }
    }

    /// Writes a file for the watcher, its `@WORDS@` replaced.
    pub fn write(&self, name: &str, text: &str, words: &[(&str, &str)]) {
        let folder = self.folder();
        let (path, own) = (folder.join(name), folder.display().to_string());
        let socket = self.site.status_socket().display().to_string();
        let (user, group) = self.as_whom();
        let all =
            [("@R@", own.as_str()), ("@SOCKET@", &socket), ("@USER@", user), ("@GROUP@", group)];
        let text = all
            .iter()
            .chain(words)
            .fold(text.to_owned(), |text, (word, means)| text.replace(word, means));
        std::fs::write(&path, text).expect("the place is ours");
        self.give(&path);
    }

    pub fn mode_of_socket(&self, mode: u32) {
        let mode = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(self.site.status_socket(), mode).expect("it is ours");
    }

    /// The watcher's user and group.
    pub fn as_whom(&self) -> (&str, &str) {
        (&self.user.name, &self.group.name)
    }

    /// Makes it the watcher's own.
    pub fn give(&self, path: &Path) {
        let to_another = self.user.uid != geteuid() || self.user.gid != getegid();
        if to_another {
            chown(path, Some(self.user.uid.as_raw()), Some(self.user.gid.as_raw()))
                .expect("root may");
        }
        self.open_to_all(path);
    }

    fn open_to_all(&self, path: &Path) {
        let mode = if path.is_dir() { 0o755 } else { 0o644 };
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("it is ours");
    }
}

/// A file under `packaging/`, as it is shipped.
pub fn shipped(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|why| panic!("{}: {why}", path.display()))
}

/// A port that nobody listens at now.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a loopback");
    listener.local_addr().expect("it is bound").port()
}

/// A program of the monitoring system's, in the foreground, and gone at the end.
pub struct Running {
    child: Child,
    said: PathBuf,
}

impl Running {
    /// Starts it; what it says goes to a file beside its own.
    pub fn start(place: &Place, command: &mut Command) -> Running {
        let path = place.folder().join("said");
        let said = std::fs::File::create(&path).expect("the place is ours");
        let copy = said.try_clone().expect("a descriptor is free");
        command.current_dir("/").stdin(Stdio::null()).stdout(said).stderr(copy);
        let child = command.spawn();
        let child = child
            .unwrap_or_else(|why| panic!("{command:?}: {why}: make monitoring-tests installs it"));
        Running { child, said: path }
    }

    /// Fails if it has ended.
    #[track_caller]
    pub fn is_there(&mut self) {
        if let Some(status) = self.child.try_wait().expect("it is our child") {
            panic!(
                "it has ended, {status}: {}",
                std::fs::read_to_string(&self.said).unwrap_or_default()
            );
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = kill(Pid::from_raw(self.child.id() as i32), Signal::SIGTERM); // it ends its children
        let _ = self.child.wait();
    }
}
