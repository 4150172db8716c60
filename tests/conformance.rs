//! The conformance suite of hosts: what a real libvirt was seen to answer, and that the fake answers the same.
//!
//! A case is a list of calls in `host/cases/*.yaml`; its transcript (what each call said, and parts of documents read back) is
//! recorded from a real libvirtd in `host/recorded/`. The recorded transcripts are the truth: the fake never writes them.
//!
//! Against a real libvirtd, which must be one for tests, with a folder that it and this process see under the same path:
//! `JVP_TEST_LIBVIRT=URI JVP_TEST_IMAGES=/path cargo test --test conformance`; with `JVP_RECORD=1` it records anew.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "a test that can't read its cases has failed"
)]

#[path = "host/case.rs"]
mod case;
#[path = "host/run.rs"]
mod run;
#[path = "host/transcript.rs"]
mod transcript;
#[path = "host/world.rs"]
mod world;

use std::collections::BTreeSet;
use std::path::PathBuf;

use case::Case;
use world::World;

fn recorded(case: &Case) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/host/recorded").join(format!("{}.txt", case.name))
}

/// The transcript that was recorded, without its head, which tells of what.
fn truth(case: &Case) -> Option<(String, String)> {
    let text = std::fs::read_to_string(recorded(case)).ok()?;
    let (head, body) = text.split_once('\n')?;
    Some((head.to_owned(), body.to_owned()))
}

#[tokio::test]
async fn the_fake_answers_as_a_real_libvirt_did() {
    let mut wrong = Vec::new();
    let mut count = 0;
    for case in case::all() {
        let Some((_, expected)) = truth(&case) else {
            wrong.push(format!("{}: nothing recorded", case.name));
            continue;
        };
        count += 1;
        let got = run::run(&case, &mut World::fake()).await;
        if got != expected {
            wrong.push(format!("== {} (- recorded, + fake)\n{}", case.name, transcript::difference(&expected, &got)));
        }
    }
    assert!(wrong.is_empty(), "{} of {count} cases differ:\n{}", wrong.len(), wrong.join("\n"));
    assert!(count > 0, "no cases");
}

#[tokio::test]
async fn a_real_libvirt_answers_as_recorded() {
    let (Ok(uri), Ok(images)) = (std::env::var("JVP_TEST_LIBVIRT"), std::env::var("JVP_TEST_IMAGES")) else { return };
    let record = std::env::var_os("JVP_RECORD").is_some();
    let only = std::env::var("JVP_CASE").ok();
    let mut wrong = Vec::new();
    for case in case::all().into_iter().filter(|case| only.as_ref().is_none_or(|only| case.name.contains(only.as_str()))) {
        let mut world = World::libvirt(&uri, &images);
        let head = format!("# {}", world.version().await);
        let got = run::run(&case, &mut world).await;
        world.clean().await;
        if record {
            std::fs::write(recorded(&case), format!("{head}\n{got}")).unwrap();
            continue;
        }
        // Another version may say it in other words; only the same one is held to them.
        let Some((said, expected)) = truth(&case) else { continue };
        if said == head && got != expected {
            wrong.push(format!("== {} (- recorded, + now)\n{}", case.name, transcript::difference(&expected, &got)));
        }
    }
    assert!(wrong.is_empty(), "{} cases differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[tokio::test]
async fn libvirts_own_test_driver_agrees_on_outcomes() {
    let mut wrong = Vec::new();
    for case in case::all().into_iter().filter(|case| case.test_driver) {
        let Some((_, expected)) = truth(&case) else { continue };
        let mut world = World::test_driver();
        let got = run::run(&case, &mut world).await;
        world.clean().await;
        let (expected, got) = (transcript::outcomes(&expected), transcript::outcomes(&got));
        if got != expected {
            wrong.push(format!("== {} (- recorded, + test driver)\n{}", case.name, transcript::difference(&expected, &got)));
        }
    }
    assert!(wrong.is_empty(), "{} cases differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn every_recorded_transcript_belongs_to_a_case() {
    let names: BTreeSet<String> = case::all().into_iter().map(|case| case.name).collect();
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/host/recorded");
    for entry in std::fs::read_dir(folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(names.contains(name.trim_end_matches(".txt")), "{name} belongs to no case");
    }
}
