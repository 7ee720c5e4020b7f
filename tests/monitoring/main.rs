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
    let setup = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/setup");
    let run = finish(Command::new(setup).args(["needs", "monitoring"]), b"").code(0);
    let packages: Vec<&str> = run.stdout.lines().collect();
    for program in [nagios::NAGIOS, icinga::ICINGA, nrpe::NRPE, nrpe::CHECK_NRPE] {
        let owner = finish(Command::new("dpkg").arg("-S").arg(program), b"").code(0).stdout;
        let owner = owner.split(':').next().expect("split gives one");
        assert!(packages.contains(&owner), "{program} is of {owner}: {packages:?}");
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
