//! What a claim and a settling promise, whenever they are broken off.

use super::*;
use crate::Identity;

#[test]
fn what_was_ahead_when_the_daemon_died_has_passed_what_is_before_it() {
    let (_dir, spool) = spool();
    let by_id = |shares| Division { shares, key: Some("id".into()) };
    let mut claims = Vec::new();
    for (name, shares) in [("a.jsonl", 2), ("b.jsonl", 2), ("c.jsonl", 3)] {
        hand_over(&spool, name, "{}\n");
        claims.push(spool.claim(name.as_ref(), by_id(shares), 0, 7).unwrap());
    }
    let ends: Vec<_> = claims.iter().map(|claim| (claim.end, claim.version)).collect();
    assert_eq!(ends, [(Some(3), 7); 3]);
    assert!(claims[0].is_alike(&claims[1]) && !claims[1].is_alike(&claims[2]));
    for (claim, share) in [(&claims[0], 1), (&claims[1], 1), (&claims[2], 0)] {
        let of = Identity { claim: claim.number, share, of: claim.shares, inode: 1, size: 3 };
        let mark = Checkpoint { version: 90 + u64::from(share), ..Checkpoint::default() };
        mark.save(&spool.checkpoint(claim.number, share), &of).unwrap();
    }
    let found = spool.resume(1, 0).unwrap();
    let passed: Vec<_> = found.iter().map(|claim| claim.passed.clone()).collect();
    assert_eq!(passed, [vec![1], vec![], vec![]]);
    assert!(found.iter().zip(&claims).all(|(a, b)| (a.end, &a.key) == (b.end, &b.key)));
    // By these it is known, too, what Solr had come to.
    assert_eq!(spool.last_version().unwrap(), 91);
    spool.keep_version(92).unwrap();
    assert_eq!(spool.last_version().unwrap(), 92);
}

#[test]
fn none_runs_ahead_of_a_delta_that_has_another_name() {
    let (dir, spool) = spool();
    hand_over(&spool, "a.jsonl", "{}\n");
    std::fs::hard_link(spool.incoming().join("a.jsonl"), dir.path().join("outbox")).unwrap();
    let division = Division { shares: 2, key: Some("id".into()) };
    assert_eq!(spool.claim("a.jsonl".as_ref(), division, 0, 0).unwrap().end, None);
    hand_over(&spool, "b.jsonl", "{}\n");
    assert_eq!(spool.claim("b.jsonl".as_ref(), 2, 0, 0).unwrap().end, None, "not by id");
}

fn spool() -> (tempfile::TempDir, Spool) {
    let dir = tempfile::tempdir().unwrap();
    let spool = Spool::at(dir.path());
    spool.prepare().unwrap();
    (dir, spool)
}

fn hand_over(spool: &Spool, name: &str, text: &str) {
    std::fs::write(spool.incoming().join(name), text).unwrap();
}

/// A claim that was only recorded.
fn claim(number: u64, name: &str) -> Claim {
    let (kind, guarded, name, key) = (Kind::Delta, false, name.into(), None);
    Claim { number, name, kind, guarded, shares: 2, key, ..Claim::default() }
}

fn names(folder: PathBuf) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_delta_is_always_in_exactly_one_place() {
    let (_dir, spool) = spool();
    hand_over(&spool, "x.jsonl", "{}\n");
    let claim = spool.claim("x.jsonl".as_ref(), 4, 17, 0).unwrap();
    assert_eq!((claim.number, claim.shares, claim.seen, claim.bytes), (1, 4, 17, 3));
    assert!(names(spool.incoming()).is_empty());
    assert_eq!(spool.resume(9, 99).unwrap(), std::slice::from_ref(&claim));
    std::fs::write(spool.rejects(1, 3), "x").unwrap();
    assert_eq!(spool.settle(&claim, Settled::Done).unwrap(), "x.jsonl");
    assert_eq!(names(spool.done()), ["x.jsonl"]);
    assert_eq!(names(spool.active()), [".last-claim"]);
    assert!(spool.resume(9, 99).unwrap().is_empty());
}

#[test]
fn a_name_that_was_used_before_is_given_a_free_one() {
    let (_dir, spool) = spool();
    for (folder, name) in [
        (spool.done(), "x.jsonl"),
        (spool.failed(), "x~2.jsonl"),
        (spool.rejected(), "x~3.jsonl.rejected.jsonl"),
        (spool.active(), "x~4.jsonl"),
    ] {
        std::fs::write(folder.join(name), "").unwrap();
    }
    hand_over(&spool, "x.jsonl", "");
    assert_eq!(spool.claim("x.jsonl".as_ref(), 1, 0, 0).unwrap().name, "x~5.jsonl");
}

#[test]
fn claim_numbers_grow_over_restarts_and_a_torn_counter() {
    let (_dir, spool) = spool();
    for (n, name) in ["a.jsonl", "b.jsonl"].iter().enumerate() {
        hand_over(&spool, name, "");
        let claim = spool.claim(name.as_ref(), 1, 0, 0).unwrap();
        assert_eq!(claim.number, n as u64 + 1);
    }
    std::fs::write(spool.last_claim(), "torn").unwrap();
    hand_over(&spool, "c.jsonl", "");
    assert_eq!(spool.claim("c.jsonl".as_ref(), 1, 0, 0).unwrap().number, 3);
}

#[test]
fn a_claim_whose_delta_never_moved_is_forgotten_and_the_delta_claimed_anew() {
    let (_dir, spool) = spool();
    hand_over(&spool, "x.jsonl", "");
    spool.record(&claim(1, "x.jsonl")).unwrap(); // and here it died
    assert!(spool.resume(2, 0).unwrap().is_empty());
    assert_eq!(spool.claim("x.jsonl".as_ref(), 2, 0, 0).unwrap().name, "x.jsonl");
}

#[test]
fn a_delta_in_active_without_a_claim_gets_one() {
    let (_dir, spool) = spool();
    std::fs::write(spool.active().join("lost.jsonl"), "{}").unwrap();
    let claims = spool.resume(3, 5).unwrap();
    assert_eq!(claims.len(), 1);
    assert_eq!(
        (claims[0].name.to_str(), claims[0].shares, claims[0].bytes),
        (Some("lost.jsonl"), 3, 2)
    );
    assert_eq!(spool.resume(9, 9).unwrap(), claims);
}

#[test]
fn of_two_claims_of_one_delta_the_last_counts() {
    let (_dir, spool) = spool();
    std::fs::write(spool.active().join("x.jsonl"), "{}").unwrap();
    for number in [9, 10] {
        spool.record(&claim(number, "x.jsonl")).unwrap();
    }
    let claims = spool.resume(2, 0).unwrap();
    assert_eq!(claims.iter().map(|c| c.number).collect::<Vec<_>>(), [10]);
    assert_eq!(spool.resume(2, 0).unwrap(), claims);
}

#[test]
fn a_missing_folder_is_made_again_and_nothing_counts_as_settled() {
    let (_dir, spool) = spool();
    hand_over(&spool, "x.jsonl", "");
    let claim = spool.claim("x.jsonl".as_ref(), 1, 0, 0).unwrap();
    std::fs::remove_dir(spool.done()).unwrap();
    spool.settle(&claim, Settled::Done).unwrap_err();
    assert_eq!(spool.resume(1, 0).unwrap(), std::slice::from_ref(&claim));
    spool.settle(&claim, Settled::Done).unwrap();
    assert_eq!(names(spool.done()), ["x.jsonl"]);
}

#[test]
fn a_delta_stays_divided_as_it_was_claimed() {
    let (_dir, spool) = spool();
    hand_over(&spool, "x.jsonl", "{}");
    let division = Division { shares: 3, key: Some("Größe \n=".into()) };
    let claim = spool.claim("x.jsonl".as_ref(), division, 0, 0).unwrap();
    assert_eq!((claim.shares, claim.key.as_deref()), (3, Some("Größe \n=")));
    assert_eq!(spool.resume(9, 9).unwrap(), [claim]);
}

#[test]
fn only_deltas_in_active_are_taken_for_deltas() {
    let (_dir, spool) = spool();
    std::fs::create_dir(spool.active().join("folder.jsonl")).unwrap();
    std::fs::write(spool.active().join("notes.txt"), "").unwrap();
    std::os::unix::fs::symlink("notes.txt", spool.active().join("link.jsonl")).unwrap();
    assert_eq!(spool.resume(1, 0).unwrap(), []);
}

#[test]
fn settling_twice_is_settling_once() {
    let (_dir, spool) = spool();
    hand_over(&spool, "x.jsonl", "");
    let claim = spool.claim("x.jsonl".as_ref(), 1, 0, 0).unwrap();
    spool.settle(&claim, Settled::Failed).unwrap();
    spool.settle(&claim, Settled::Failed).unwrap();
    assert_eq!(names(spool.failed()), ["x.jsonl"]);
}

#[test]
fn what_was_appended_to_a_settled_delta_is_a_claim_of_its_own() {
    let (_dir, spool) = spool();
    hand_over(&spool, "x.jsonl", "{}\n{}\n");
    let claim = spool.claim("x.jsonl".as_ref(), 1, 0, 0).unwrap();
    spool.settle(&claim, Settled::Done).unwrap();
    std::fs::write(spool.rejected_file("x.jsonl".as_ref()), "").unwrap();
    let begin = Begin { line: 1, offset: 3 };
    let late = spool.claim_late("x.jsonl".as_ref(), begin, 2, 9, 0).unwrap();
    assert_eq!((late.name.to_str(), late.begin, late.bytes), (Some("x.jsonl"), begin, 6));
    assert!(late.number > claim.number && names(spool.done()).is_empty());
    assert_eq!(
        spool.resume(1, 0).unwrap(),
        std::slice::from_ref(&late),
        "it is known where it began"
    );
    hand_over(&spool, "x.jsonl", "");
    let other = spool.claim("x.jsonl".as_ref(), 1, 0, 0).unwrap();
    assert_eq!(other.name, "x~2.jsonl", "the name is taken");
    assert_eq!(spool.settle(&late, Settled::Done).unwrap(), "x.jsonl");
}

#[test]
fn a_claim_that_cannot_be_leaves_nothing_behind() {
    let (_dir, spool) = spool();
    hand_over(&spool, "x.jsonl", "");
    let claim = || spool.claim("x.jsonl".as_ref(), 1, 0, 0);
    std::fs::remove_dir(spool.rejected()).unwrap();
    std::fs::write(spool.rejected(), "").unwrap(); // ENOTDIR, before there is a record
    claim().unwrap_err();
    assert_eq!(names(spool.active()), [".last-claim"]);
    std::fs::remove_file(spool.rejected()).unwrap();
    std::fs::create_dir(spool.rejected()).unwrap();
    let in_the_way = [".claim-2.tmp", ".claim-3.tmp", ".claim-4.tmp"];
    for name in in_the_way {
        std::fs::create_dir(spool.active().join(name)).unwrap();
        claim().unwrap_err();
    }
    assert_eq!(names(spool.active()), [&in_the_way[..], &[".last-claim"]].concat());
    assert_eq!(names(spool.incoming()), ["x.jsonl"]);
    assert_eq!(claim().unwrap().name, "x.jsonl");
}

#[test]
fn a_settling_that_was_broken_off_is_made_good() {
    let (_dir, spool) = spool();
    hand_over(&spool, "x.jsonl", "");
    let claim = spool.claim("x.jsonl".as_ref(), 1, 0, 0).unwrap();
    // It has moved, and then a sync failed.
    std::fs::rename(spool.active().join("x.jsonl"), spool.done().join("x.jsonl")).unwrap();
    spool.settle(&claim, Settled::Done).unwrap();
    assert_eq!(names(spool.active()), [".last-claim"]);
    assert_eq!(names(spool.done()), ["x.jsonl"]);
}

#[test]
fn what_was_taken_away_before_the_claim_is_not_found() {
    let (_dir, spool) = spool();
    let error = spool.claim("x.jsonl".as_ref(), 1, 0, 0).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
    assert!(spool.resume(1, 0).unwrap().is_empty());
}

fn marks(spool: &Spool) -> Vec<Vec<String>> {
    [spool.failed(), spool.active(), spool.rejected()].into_iter().map(names).collect()
}

/// A delta in `failed/`, of two shares, first claimed as number 1, that is wanted again.
fn failed(spool: &Spool) -> (Claim, Progress) {
    use std::os::unix::fs::MetadataExt;
    hand_over(spool, "x.jsonl", "{}\n");
    let claim = spool.claim("x.jsonl".as_ref(), 2, 0, 77).unwrap();
    let found = spool.look_at_claimed(Kind::Delta, &claim.name).unwrap();
    let shares = vec![crate::Standing { line: 1, ..Default::default() }; 2];
    let (inode, size) = (found.ino(), found.size());
    let (claim_number, as_of, key) = (claim.number, 5, Some("sku".into()));
    let progress = Progress { inode, size, claim: claim_number, as_of, key, shares };
    progress.save(&spool.progress(claim.number)).unwrap();
    spool.settle(&claim, Settled::Failed).unwrap();
    spool.want("x.jsonl".as_ref(), false).unwrap();
    (claim, progress)
}

#[test]
fn a_failed_delta_keeps_its_progress_and_takes_it_along_when_it_is_retried() {
    let (_dir, spool) = spool();
    let (first, progress) = failed(&spool);
    let hidden = [".again-rest~x.jsonl", ".last-claim", ".progress~x.jsonl"];
    assert_eq!(marks(&spool), [&["x.jsonl"][..], &hidden, &[]]);
    assert!(spool.is_known("x.jsonl".as_ref()).unwrap());
    let wanted = spool.wanted().unwrap();
    let claim = spool.claim_again(&wanted[0], 9, 0, 99).unwrap();
    assert_eq!((claim.kind, claim.guarded, claim.shares), (Kind::Rest, true, 2));
    assert_eq!(claim.key.as_deref(), Some("sku"), "divided as it was");
    assert!(claim.number > first.number);
    assert_eq!(Progress::load(&spool.progress(claim.number)).unwrap(), Some(progress.clone()));
    assert_eq!(names(spool.failed()), [""; 0]);
    assert_eq!(spool.resume(9, 9).unwrap(), std::slice::from_ref(&claim));
    assert_eq!(spool.last_version().unwrap(), 99);
    // It fails once more.
    spool.settle(&claim, Settled::Failed).unwrap();
    assert_eq!(Progress::load(&spool.kept_progress("x.jsonl".as_ref())).unwrap(), Some(progress));
    assert_eq!(names(spool.active()), [".last-claim", ".progress~x.jsonl"]);
}

#[test]
fn a_crash_between_any_two_steps_of_a_retry_leaves_the_old_state_or_the_new() {
    let record = |spool: &Spool| {
        let claim = Claim { kind: Kind::Rest, guarded: true, since: 3, ..claim(9, "x.jsonl") };
        spool.record(&claim).unwrap();
        claim
    };
    let progress = |spool: &Spool| {
        rename(&spool.kept_progress("x.jsonl".as_ref()), &spool.progress(9)).unwrap();
    };
    let delta = |spool: &Spool| {
        std::fs::rename(spool.failed().join("x.jsonl"), spool.active().join("x.jsonl")).unwrap();
    };
    let old = [".again-rest~x.jsonl", ".last-claim", ".progress~x.jsonl"];
    let new = [".claim-9", ".last-claim", ".progress-9", "x.jsonl"];
    for steps in 0..=4 {
        let (_dir, spool) = spool();
        let (_, known) = failed(&spool);
        let claim = (steps >= 1).then(|| record(&spool));
        // A power cut may have kept the second rename and not the first.
        if matches!(steps, 2 | 3) {
            progress(&spool);
        }
        if steps >= 3 {
            delta(&spool);
        }
        let claims = spool.resume(2, 0).unwrap();
        match steps {
            0..=2 => {
                assert_eq!(claims, []);
                assert_eq!(marks(&spool), [&["x.jsonl"][..], &old, &[]], "{steps} steps");
                assert_eq!(spool.wanted().unwrap().len(), 1);
            }
            _ => {
                assert_eq!(claims, [Claim { bytes: 3, ..claim.unwrap() }]);
                assert_eq!(marks(&spool), [&[][..], &new, &[]], "{steps} steps");
                assert_eq!(Progress::load(&spool.progress(9)).unwrap(), Some(known));
            }
        }
        let again = spool.resume(2, 0).unwrap();
        assert_eq!(again, claims);
    }
}

#[test]
fn a_crash_while_a_delta_goes_to_failed_loses_no_progress() {
    for moved in [false, true] {
        let (_dir, spool) = spool();
        let (_, progress) = failed(&spool);
        let claim = spool.claim_again(&spool.wanted().unwrap()[0], 2, 0, 0).unwrap();
        if moved {
            std::fs::rename(spool.active().join("x.jsonl"), spool.failed().join("x.jsonl"))
                .unwrap();
        }
        assert_eq!(spool.resume(2, 0).unwrap().len(), usize::from(!moved));
        let now = if moved {
            spool.kept_progress("x.jsonl".as_ref())
        } else {
            spool.progress(claim.number)
        };
        assert_eq!(Progress::load(&now).unwrap(), Some(progress), "moved: {moved}");
    }
}

#[test]
fn rejected_lines_are_retried_under_a_name_that_no_delta_can_have() {
    let (_dir, spool) = spool();
    std::fs::write(spool.rejected_file("x.jsonl".as_ref()), "{}\n{}\n").unwrap();
    spool.want("x.jsonl".as_ref(), true).unwrap();
    let wanted = spool.wanted().unwrap();
    let claim = spool.claim_again(&wanted[0], 3, 0, 0).unwrap();
    assert_eq!(
        (claim.kind, claim.guarded, claim.shares, claim.bytes),
        (Kind::Rejects, false, 3, 6)
    );
    assert_eq!(names(spool.active()), [".claim-1", ".last-claim", ".retry~x.jsonl"]);
    assert_eq!(names(spool.rejected()), [""; 0]);
    // Meanwhile the name comes again: what is rejected of it must not meet these.
    hand_over(&spool, "x.jsonl", "");
    let other = spool.claim("x.jsonl".as_ref(), 1, 0, 0).unwrap();
    assert_eq!(other.name, "x~2.jsonl");
    assert_eq!(spool.resume(1, 0).unwrap(), [claim.clone(), other]);
    assert_eq!(spool.settle(&claim, Settled::Done).unwrap(), "x.jsonl");
    assert_eq!(spool.settle(&claim, Settled::Done).unwrap(), "x.jsonl", "and once more");
    let left = [".claim-2", ".last-claim", "x~2.jsonl"];
    assert_eq!(
        (names(spool.active()), names(spool.done())),
        (left.map(String::from).to_vec(), vec![])
    );
    // One without its claim is one still, and guarded.
    std::fs::write(spool.active().join(".retry~y.jsonl"), "").unwrap();
    let claims = spool.resume(1, 0).unwrap();
    let found = claims.iter().find(|c| c.name == "y.jsonl").unwrap();
    assert_eq!((found.kind, found.guarded), (Kind::Rejects, true));
}

#[test]
fn what_was_taken_away_before_it_was_retried_is_not_found() {
    let (_dir, spool) = spool();
    let (_, progress) = failed(&spool);
    let wanted = spool.wanted().unwrap();
    std::fs::rename(spool.failed().join("x.jsonl"), spool.dir().join("mine")).unwrap();
    let error = spool.claim_again(&wanted[0], 1, 0, 0).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
    let kept = spool.kept_progress("x.jsonl".as_ref());
    assert_eq!(Progress::load(&kept).unwrap(), Some(progress));
    assert_eq!(spool.resume(1, 0).unwrap(), []);
    assert!(!kept.exists(), "nobody needs it any more");
    // Another file in its place is not taken for it.
    std::fs::write(spool.failed().join("x.jsonl"), "{}\n").unwrap();
    assert!(!spool.is_known("x.jsonl".as_ref()).unwrap());
}

#[test]
fn a_waiting_delta_that_is_cancelled_can_be_retried_and_is_as_old_as_then() {
    let (_dir, spool) = spool();
    std::fs::write(spool.done().join("x.jsonl"), "").unwrap();
    hand_over(&spool, "x.jsonl", "{}\n");
    assert_eq!(spool.cancel_waiting("x.jsonl".as_ref(), 42, false).unwrap(), "x~2.jsonl");
    assert_eq!(names(spool.failed()), ["x~2.jsonl"]);
    assert!(names(spool.incoming()).is_empty());
    let name = OsStr::new("x~2.jsonl");
    assert!(spool.is_known(name).unwrap());
    let progress = Progress::load(&spool.kept_progress(name)).unwrap().unwrap();
    assert_eq!((progress.as_of, progress.shares.len()), (42, 0));
    hand_over(&spool, "later.jsonl", "");
    let later = spool.claim("later.jsonl".as_ref(), 1, 0, 0).unwrap();
    assert!(later.number > progress.claim);
    let wanted = spool.want(name, false).unwrap();
    assert_eq!(spool.claim_again(&wanted[0], 3, 0, 0).unwrap().shares, 3);
    for name in ["x.jsonl", "nobody.jsonl"] {
        let error = spool.cancel_waiting(name.as_ref(), 0, false).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}

#[test]
fn what_is_under_way_when_a_waiting_delta_is_cancelled_is_older_than_that() {
    let (_dir, spool) = spool();
    for name in ["a.jsonl", "b.jsonl", "c.jsonl", "d.jsonl"] {
        hand_over(&spool, name, "{}\n");
    }
    assert!(!spool.is_writing().unwrap());
    let active = spool.claim("a.jsonl".as_ref(), 1, 0, 0).unwrap();
    assert!(spool.is_writing().unwrap());
    for (name, as_of) in [("b.jsonl", 42), ("c.jsonl", 43)] {
        spool.cancel_waiting(name.as_ref(), as_of, true).unwrap();
        let progress = Progress::load(&spool.kept_progress(name.as_ref())).unwrap().unwrap();
        let [run] = spool.runs().unwrap()[..] else { panic!("one run is enough") };
        assert_eq!((run.after, run.upto), (42, Run::OPEN));
        assert!(active.number < run.claim && run.claim < progress.claim);
    }
    spool.settle(&active, Settled::Done).unwrap();
    spool.end_runs(50).unwrap();
    spool.cancel_waiting("d.jsonl".as_ref(), 60, false).unwrap();
    assert_eq!(spool.runs().unwrap()[0].upto, 50);
}

#[test]
fn what_failed_is_not_retried_because_another_of_its_name_was_to_be() {
    let (_dir, spool) = spool();
    failed(&spool); // and wanted
    std::fs::remove_file(spool.failed().join("x.jsonl")).unwrap();
    hand_over(&spool, "x.jsonl", "{}\n");
    let claim = spool.claim("x.jsonl".as_ref(), 1, 0, 0).unwrap();
    spool.settle(&claim, Settled::Failed).unwrap();
    assert_eq!(names(spool.failed()), ["x.jsonl"]);
    assert_eq!(spool.wanted().unwrap(), []);
}

#[test]
fn what_was_not_written_whole_before_a_crash_is_cleared_away() {
    let (_dir, spool) = spool();
    std::fs::write(spool.active().join(".claim-16.tmp"), "solr-upd").unwrap();
    hand_over(&spool, "x.jsonl", "{}\n");
    let claim = spool.claim("x.jsonl".as_ref(), 1, 0, 0).unwrap();
    assert_eq!(spool.resume(1, 0).unwrap(), [claim]);
    assert_eq!(names(spool.active()), [".claim-1", ".last-claim", "x.jsonl"]);
}
