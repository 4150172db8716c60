//! What is fuzzed: each target of `fuzz/` holds for each input that is kept of it; and properties of loading, which it shares.

#![expect(clippy::unwrap_used, reason = "a test that can't read its corpus has failed")]
#![expect(clippy::print_stderr, reason = "the input that breaks a target is to be found")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

#[expect(unreachable_pub, reason = "it is a library of its own, too")]
#[path = "../fuzz/src/lib.rs"]
mod targets;

#[path = "fuzz_suite/load_properties.rs"]
mod load_properties;

use targets::TARGETS;

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

fn corpus(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let files = fs::read_dir(fuzz().join("corpus").join(target)).unwrap();
    let mut all: Vec<_> = files.map(|file| file.unwrap().path()).map(|path| (path.clone(), fs::read(path).unwrap())).collect();
    all.sort();
    all
}

#[test]
fn every_fuzz_target_holds_for_its_corpus() {
    let mut wrong = Vec::new();
    for (name, target) in TARGETS {
        let all = corpus(name);
        assert!(all.len() >= 10, "{name} has {} inputs", all.len());
        for (path, bytes) in all {
            if std::panic::catch_unwind(|| target(&bytes)).is_err() {
                wrong.push(path.display().to_string());
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_fuzz_target_has_its_program_and_a_small_corpus() {
    let manifest = fs::read_to_string(fuzz().join("Cargo.toml")).unwrap();
    let programs: BTreeSet<&str> =
        manifest.lines().filter_map(|line| line.strip_prefix("path = \"targets/")?.strip_suffix(".rs\"")).collect();
    let names: BTreeSet<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
    assert_eq!(programs, names);
    for name in names {
        let text = fs::read_to_string(fuzz().join(format!("targets/{name}.rs"))).unwrap();
        assert!(text.contains(&format!("jvp_fuzz::{name}::target(data)")), "{text}");
        let sizes: Vec<usize> = corpus(name).iter().map(|(_, bytes)| bytes.len()).collect();
        assert!(sizes.len() <= 100 && sizes.iter().all(|size| *size <= 16_384), "{name}: {sizes:?}");
    }
}

/// Numbers that look random, the same ones each time.
struct Draw(u64);

impl Draw {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 11).unwrap() % end.max(1)
    }
}

/// An input with some changes: bytes that are others, pieces that are gone, that stand twice, or that come from another input.
fn changed(all: &[(PathBuf, Vec<u8>)], draw: &mut Draw) -> Vec<u8> {
    let mut bytes = all[draw.below(all.len())].1.clone();
    for _ in 0..=draw.below(4) {
        let other = &all[draw.below(all.len())].1;
        let at = draw.below(bytes.len() + 1);
        let end = (at + 1 + draw.below(24)).min(bytes.len());
        let from = draw.below(other.len());
        let piece = &other[from..(from + 1 + draw.below(40)).min(other.len())];
        match draw.below(5) {
            0 if at < end => bytes[at] ^= 1 << draw.below(8),
            1 => drop(bytes.drain(at..end)),
            2 => drop(bytes.splice(at..at, bytes[at..end].to_vec())),
            3 => drop(bytes.splice(at..at, piece.to_vec())),
            _ => drop(bytes.splice(at..end, piece.to_vec())),
        }
    }
    bytes
}

/// `JVP_TEST_CHANGES` says how many of each target are tried, `JVP_TEST_SEED` which.
#[test]
fn every_fuzz_target_holds_for_its_corpus_with_some_changes() {
    let number = |name: &str, default: u64| std::env::var(name).map_or(default, |text| text.parse().unwrap());
    let seed = number("JVP_TEST_SEED", 1);
    for (name, target) in TARGETS {
        let all = corpus(name);
        let mut draw = Draw(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        for _ in 0..number("JVP_TEST_CHANGES", 300) {
            let bytes = changed(&all, &mut draw);
            if let Err(panic) = std::panic::catch_unwind(|| target(&bytes)) {
                let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("broke-{name}"));
                fs::write(&path, &bytes).unwrap();
                eprintln!("{name} doesn't hold for {} (of a corpus with some changes, seed {seed})", path.display());
                std::panic::resume_unwind(panic);
            }
        }
    }
}
