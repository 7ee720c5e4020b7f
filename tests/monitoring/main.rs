//! The plugin in what it is made for: Debian's Nagios, Icinga 2 and NRPE watch a running daemon with the definitions
//! under `packaging/`, while all that an operator has to be told of happens to that daemon on purpose. What counts is
//! what the monitoring system itself then says: Nagios in its status file, Icinga by its API, NRPE through check_nrpe.
//!
//! A test for each of the three, and each is the same [`story`]. Where a monitoring system is not installed the tests
//! fail: `make monitoring-tests` installs them. Run by root they run as user `nagios`, as they do in life.

#[path = "../common/mod.rs"]
mod common;

mod icinga;
mod nagios;
mod nrpe;
mod place;
mod story;

use std::path::Path;
use std::process::Command;

use common::finish;
use icinga::Icinga;
use nagios::Nagios;
use nrpe::Nrpe;
use place::Place;
use story::Watcher;

#[test]
fn nagios_is_told_of_all_that_happens_to_a_daemon_and_why() {
    let place = Place::new();
    let nagios = Nagios::start(&place);
    story::tell(&place, &nagios);
    let told = nagios.told().expect("it has checked");
    assert_eq!(told.perf, "", "a daemon that is gone has no figures: {told:?}");
}

#[test]
fn icinga_is_told_of_all_that_happens_to_a_daemon_and_why() {
    let place = Place::new();
    let icinga = Icinga::start(&place);
    story::tell(&place, &icinga);
    let options = "--queue-critical ~:5 --queue-warning 2 --socket";
    let command = icinga.command();
    let wanted = format!(
        "{} {options} {} --timeout 5 -vv",
        place.plugin().display(),
        place.site.status_socket().display()
    );
    assert_eq!(command, wanted, "each variable becomes its option");
}

#[test]
fn check_nrpe_is_told_of_all_that_happens_to_a_daemon_and_why() {
    let place = Place::new();
    let nrpe = Nrpe::start(&place);
    story::tell(&place, &nrpe);
}

/// A package's name is the same on Debian 12 and 13; what is in it is asked of the one that is installed.
#[test]
fn the_setup_installs_all_that_is_run_here() {
    let setup = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/setup");
    let run = finish(Command::new(setup).args(["needs", "monitoring"]), b"").code(0);
    let packages: Vec<&str> = run.stdout.lines().collect();
    for program in [nagios::NAGIOS, icinga::ICINGA, nrpe::NRPE, nrpe::CHECK_NRPE] {
        let owner = finish(Command::new("dpkg").arg("-S").arg(program), b"").code(0).stdout;
        let owner = owner.split(':').next().expect("split gives one");
        assert!(packages.contains(&owner), "{program} is of {owner}: {packages:?}");
    }
}

/// What stands around README's commands: /etc is a copy that goes with the namespace, and no service is touched.
const REHEARSAL: &str = r#"
    set -e
    mount -t tmpfs none "$LAYER"
    mkdir "$LAYER/up" "$LAYER/work"
    mount -t overlay overlay -o "lowerdir=/etc,upperdir=$LAYER/up,workdir=$LAYER/work" /etc
    sudo() { "$@"; }
    systemctl() { echo "would $1 $2"; }
"#;

/// In Debian's own configurations, as their packages leave them.
#[test]
fn what_readme_says_to_do_holds() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = std::fs::read_to_string(root.join("README.md")).expect("it is there");
    let block = |name: &str| {
        let mark = format!("<!-- monitoring: {name} -->\n```\n");
        let (_, rest) = readme.split_once(&mark).unwrap_or_else(|| panic!("README: {mark}"));
        rest.split_once("```").expect("its end").0
    };
    let blocks = ["nagios", "icinga", "nrpe"].map(block).concat();
    let look = "cat /etc/nagios/nrpe.d/solr-updater.cfg\n";
    let script = [REHEARSAL, &blocks, look].concat();
    let layer = tempfile::tempdir().expect("there is room");
    let unshared = |what: &[&str]| {
        let mut command = Command::new("unshare");
        command.args(["-m", "--"]).args(what).env("LAYER", layer.path()).current_dir(root);
        finish(&mut command, b"")
    };
    if unshared(&["mount", "-t", "tmpfs", "none", "/mnt"]).code != Some(0) {
        return common::skipped("what_readme_says_to_do_holds: only who may mount can try it");
    }
    let run = unshared(&["sh", "-c", &script]).code(0);
    let nagios_and_icinga = ["Total Warnings: 0\n", "Total Errors:   0\n", "Finished validating"];
    let services =
        ["would reload nagios4", "would reload icinga2", "would restart nagios-nrpe-server"];
    for said in nagios_and_icinga.iter().chain(&services).chain(&["\ncommand[check_updater]="]) {
        assert!(run.stdout.contains(said), "{said:?}: {run:#?}");
    }
}

#[test]
fn icinga_reads_every_figure_of_the_performance_data() {
    let place = Place::new();
    let _daemon = common::Daemon::start(&place.site);
    let line = place.site.check_updater(&["-w", "@10:20", "--workers-critical", "1:"]).stdout;
    let (_, perf) = line.split_once('|').expect("there are some");
    let figures: Vec<&str> = perf.split_whitespace().collect();
    assert!(figures.len() > 15, "{figures:?}");
    icinga::reads(&figures);
}
