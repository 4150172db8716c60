//! Random worlds: manifests, what is on the nodes, histories and what breaks in them; each keeps all promises.
//!
//! `JVP_TEST_WORLDS` says how many (2,000 if nothing does), `JVP_TEST_SEED` which. One that breaks a promise is cut down to what it takes,
//! and printed as a case for `tests/golden/worlds`; `JVP_TEST_WORLD=N` has the N-th alone run.

use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::world::{Broke, INVALID, Step, World, run};
use crate::world_made::world;
use crate::world_parts::Parts;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is no number")))
}

/// A run; one that ends in a panic breaks a promise, too.
fn tried(world: &World) -> Result<crate::world::Told, Broke> {
    std::panic::catch_unwind(|| run(world)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned().or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
        Err(Broke { promise: "nothing panics", text: text.unwrap_or_default() })
    })
}

/// What is left of a world where all is gone that the broken promise doesn't need.
fn cut_down(world: World, promise: &str) -> World {
    let end = Instant::now() + Duration::from_secs(20);
    let mut least = world;
    loop {
        let before = least.clone();
        for smaller in smaller(&before) {
            if Instant::now() > end {
                return least;
            }
            if tried(&smaller).is_err_and(|broke| broke.promise == promise) {
                least = smaller;
                break;
            }
        }
        if least == before {
            return least;
        }
    }
}

/// A world with one thing less, in the order of how much goes with it.
fn smaller(world: &World) -> impl Iterator<Item = World> {
    let mut all = Vec::new();
    let mut with = |change: &dyn Fn(&mut World)| {
        let mut other = world.clone();
        change(&mut other);
        if other != *world {
            all.push(other);
        }
    };
    for at in 0..world.steps.len() {
        with(&|other| drop(other.steps.remove(at)));
    }
    let manifests = |world: &World| -> Vec<String> {
        let of = |step: &Step| match step {
            Step::Apply { manifests, .. } => manifests.clone(),
            _ => Vec::new(),
        };
        let mut all: Vec<String> = world.steps.iter().flat_map(of).collect();
        all.sort();
        all.dedup();
        all
    };
    let everywhere = |other: &mut World, change: &dyn Fn(&mut Vec<String>)| {
        for step in &mut other.steps {
            if let Step::Apply { manifests, .. } = step {
                change(manifests);
            }
        }
    };
    // An object, in all of its versions.
    let head =
        |text: &str| text.lines().filter(|line| line.starts_with("kind:") || line.starts_with("  name:")).collect::<String>();
    let mut heads: Vec<String> = manifests(world).iter().map(|text| head(text)).collect();
    heads.sort();
    heads.dedup();
    for one in heads.iter().rev() {
        with(&|other| everywhere(other, &|manifests| manifests.retain(|text| head(text) != *one)));
    }
    with(&|other| other.foreign = false);
    for at in 0..world.steps.len() {
        with(&|other| {
            if let Step::Apply { broken, .. } = &mut other.steps[at] {
                *broken = None;
            }
        });
        with(&|other| {
            if let Step::Apply { prune, .. } = &mut other.steps[at] {
                *prune = false;
            }
        });
    }
    // A field with all that is below it.
    let mut lines: Vec<String> = manifests(world)
        .iter()
        .flat_map(|text| blocks(text))
        .filter(|block| block.starts_with(' ') || block.starts_with("lifecycle"))
        .collect();
    lines.sort_by_key(|block| std::cmp::Reverse(block.len()));
    lines.dedup();
    for block in lines {
        with(&|other| {
            everywhere(other, &|manifests| {
                for text in manifests.iter_mut() {
                    *text = text.replacen(&block, "", 1);
                }
            });
        });
    }
    all.into_iter()
}

/// Each line of a text with the deeper ones below it.
fn blocks(text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let depth = |line: &str| line.len() - line.trim_start().len();
    let mut all = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let below = lines[at + 1..].iter().take_while(|other| {
            depth(other) > depth(line)
                || (depth(other) == depth(line) && other.trim_start().starts_with("- ") && !line.trim_start().starts_with("- "))
        });
        all.push(std::iter::once(line).chain(below).copied().collect());
    }
    all
}

#[test]
fn a_random_world_keeps_all_promises() {
    let seed = number("JVP_TEST_SEED").unwrap_or(1);
    let count = number("JVP_TEST_WORLDS").unwrap_or(2000);
    let numbers = number("JVP_TEST_WORLD").map_or(0..count, |one| one..one + 1);
    let next = AtomicU64::new(numbers.start);
    let wrong = Mutex::new(Vec::new());
    let sums = Mutex::new([0_u64; 4]);
    let parts = Mutex::new(Parts::default());
    let work = || {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= numbers.end || wrong.lock().unwrap().len() >= 10 {
                break;
            }
            let world = world(seed, number);
            parts.lock().unwrap().see(&world);
            match tried(&world) {
                Ok(told) => {
                    let mut sums = sums.lock().unwrap();
                    let more = [1, told.applied.into(), told.refused.into(), told.broke.into()];
                    sums.iter_mut().zip(more).for_each(|(sum, more): (&mut u64, u64)| *sum += more);
                }
                Err(broke) => wrong.lock().unwrap().push((number, world, broke)),
            }
        }
    };
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, std::num::NonZero::get) {
            scope.spawn(work);
        }
    });
    let [worlds, applied, refused, broke] = *sums.lock().unwrap();
    eprintln!(
        "seed {seed}: {worlds} worlds, {applied} applies, {refused} refused, {broke} broke and went on, {} s",
        begun.elapsed().as_secs()
    );
    let mut wrong = wrong.into_inner().unwrap();
    wrong.sort_by_key(|(number, ..)| *number);
    if wrong.is_empty() {
        // A generator whose worlds are refused, or in which nothing breaks, shows nothing.
        assert!(
            worlds < 100 || (applied > 4 * refused && broke * 5 > worlds),
            "{applied} applies, {refused} refused, {broke} broke"
        );
        if seed == 1 && worlds >= 2000 {
            parts.into_inner().unwrap().are_all();
        }
        return;
    }
    for (number, world, broke) in &wrong {
        // A world that makes no sense can be cut down to nothing.
        let least = if broke.promise == INVALID { world.clone() } else { cut_down(world.clone(), broke.promise) };
        let text = tried(&least).err().map_or_else(|| broke.text.clone(), |broke| broke.text);
        eprintln!(
            "World {number} of seed {seed} breaks the promise that {}:\n{text}\nCut down, a file for tests/golden/worlds/NAME.yaml:\n\n{}",
            broke.promise,
            serde_yaml::to_string(&least).unwrap()
        );
    }
    let all: Vec<_> = wrong.iter().map(|(number, _, broke)| format!("{number}: {}", broke.promise)).collect();
    panic!("{all:#?}");
}

#[test]
fn each_world_that_broke_a_promise_once_keeps_all_of_them() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/worlds");
    let (mut count, mut wrong) = (0, Vec::new());
    for file in fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let world: World = serde_yaml::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        if let Err(broke) = tried(&world) {
            wrong.push(format!("{} breaks the promise that {}:\n{}", path.display(), broke.promise, broke.text));
        }
        count += 1;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(count > 0, "the cases are gone");
}
