//! What planning costs by itself: manifests in memory become a plan over nodes in memory, beside what reading their YAML takes alone.
//!
//! `jvp-planner OBJECTS RUNS same|new FOLDER`: a set of so many objects, each of which is as wanted, or of which no volume and no VM is
//! there. Prints one line as the floor's `measure` does: the median, fastest and slowest time of `serde_yaml`, which reads each document
//! into a value of its own, and of jvp, in microseconds; then the steps of jvp's last run. An image for the templates is put into `FOLDER`.
//!
//! `jvp-planner OBJECTS SETS same|new FOLDER once`: so many sets of so many objects, each planned once and kept. A small set that is
//! planned again and again stays in the processor's caches, as no large one can and as no command finds it; these are met as a command
//! meets its only set.
//!
//! A program of its own, beside the floor: whatever links libvirt alone has to stay small. No libvirt here, and nothing of the disk is
//! measured. See `benches/README.md`.

mod manifests;
mod nodes;

use std::io::Write as _;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use jvp::diag::{self, SourceMap};
use jvp::manifest::load;
use jvp::name::{Kind, ObjectRef};
use jvp::plan::{Owned, Plan, complete, plan};
use jvp::resolve::{Desired, Memo};
use jvp::source::{Given, ManifestSet, check};

use nodes::World;

type Fallible<T> = Result<T, Box<dyn std::error::Error>>;

/// As the command has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Runs of each that are not counted.
const WARM: usize = 1;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        [objects, runs, what @ ("same" | "new"), folder] => measure(objects, runs, *what == "new", folder, Sets::One),
        [objects, runs, what @ ("same" | "new"), folder, "once"] => measure(objects, runs, *what == "new", folder, Sets::Many),
        _ => Err("OBJECTS RUNS same|new FOLDER [once]".into()),
    };
    match done {
        Ok(line) => {
            let _ = writeln!(std::io::stdout(), "{line}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "planner: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What is planned in each run.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sets {
    /// The same one.
    One,
    /// Another one.
    Many,
}

/// Manifests, and the nodes that they are planned for.
struct Set {
    files: Vec<(String, String)>,
    sources: SourceMap,
    world: World,
}

impl Set {
    fn new(objects: usize, new: bool, folder: &str) -> Fallible<Self> {
        let files = manifests::files(objects);
        let mut sources = SourceMap::default();
        for (name, text) in &files {
            sources.add(name.clone(), text.clone());
        }
        let desired = read(&sources)?.2;
        let mut world = World::new(&desired, folder.as_ref())?;
        // What can't be looked into yet is only put off, which is less than planning it.
        world.make(&desired, |kind| !(new && matches!(kind, Kind::Volume | Kind::VirtualMachine)))?;
        Ok(Self { files, sources, world })
    }
}

fn measure(objects: &str, runs: &str, new: bool, folder: &str, which: Sets) -> Fallible<String> {
    let (objects, runs): (usize, usize) = (objects.parse()?, runs.parse()?);
    let (count, warm) = if which == Sets::Many { (runs, 0) } else { (1, WARM) };
    let sets = (0..count).map(|_| Set::new(objects, new, folder)).collect::<Fallible<Vec<_>>>()?;
    let (mut floors, mut times, mut kept) = (Vec::new(), Vec::new(), Vec::new());
    let mut steps = [Duration::ZERO; 3];
    for (run, Set { files, sources, world }) in sets.iter().cycle().take(runs + warm).enumerate() {
        let begun = Instant::now();
        let values = yaml(files)?;
        let floor = begun.elapsed();

        let values = (which == Sets::Many).then_some(values);
        let owned = world.owned.clone();
        let made = planned(sources, owned, world)?;
        let [loaded, resolved, time] = made.times;
        steps = [loaded, resolved.saturating_sub(loaded), time.saturating_sub(resolved)];
        said(&made.plan, &made.desired, new)?;
        if run >= warm {
            floors.push(floor);
            times.push(time);
        }
        if which == Sets::Many {
            kept.push((values, made));
        }
    }
    let line: Vec<String> = [&mut floors, &mut times]
        .into_iter()
        .flat_map(|times| {
            times.sort();
            [times.get(times.len() / 2), times.first(), times.last()].map(|time| time.map_or(0, Duration::as_micros).to_string())
        })
        .collect();
    let [loaded, resolved, planned] = steps.map(|step| step.as_millis());
    Ok(format!("{} 0 loaded {loaded} ms, resolved {resolved} ms, planned {planned} ms", line.join(" ")))
}

/// All that was made on the way to a plan, which a command frees as little as this does before its time is taken.
struct Made {
    plan: Plan,
    desired: Desired,
    _set: ManifestSet,
    _owned: Owned,
    /// From the beginning until the manifests were loaded, resolved and planned.
    times: [Duration; 3],
}

/// What is measured. A function of its own, so that a profiler can count it alone.
#[inline(never)]
fn planned(sources: &SourceMap, owned: Owned, world: &World) -> Fallible<Made> {
    let begun = Instant::now();
    let (loaded, set, desired) = read(sources)?;
    let resolved = begun.elapsed();
    let (owned, _) = complete(owned, &world.observed, desired.fleet);
    let plan = plan(&desired, &world.observed, &owned, &world.sources, &world.policy);
    let times = [loaded, resolved, begun.elapsed()];
    Ok(Made { plan, desired, _set: set, _owned: owned, times })
}

/// What a command does with manifests, and how long their reading took.
fn read(sources: &SourceMap) -> Fallible<(Duration, ManifestSet, Desired)> {
    let begun = Instant::now();
    let sources = sources.clone();
    let loaded = load(&sources);
    let time = begun.elapsed();
    let (documents, broken, diagnostics) = (loaded.documents, loaded.broken, loaded.diagnostics);
    let mut set = ManifestSet { sources, documents, broken, diagnostics, ..ManifestSet::default() };
    let (desired, _) = check(&mut set, &Given { uri: "qemu:///system", allowed: &|_| false }, || None, &mut Memo::none());
    if diag::has_errors(&set.diagnostics) {
        return Err(format!("the manifests are wrong: {:?}", set.diagnostics.first()).into());
    }
    Ok((time, set, desired))
}

/// The floor: each document as a value of YAML's, and nothing else.
fn yaml(files: &[(String, String)]) -> Fallible<Vec<serde_yaml::Value>> {
    use serde::Deserialize as _;
    let documents = files.iter().flat_map(|(_, text)| serde_yaml::Deserializer::from_str(text));
    Ok(documents.map(serde_yaml::Value::deserialize).collect::<Result<_, _>>()?)
}

/// Whether a plan is what it has to be.
fn said(plan: &Plan, desired: &Desired, new: bool) -> Fallible<()> {
    if let Some(refusal) = plan.refusals.first() {
        return Err(format!("{}: {}", refusal.object, refusal.message).into());
    }
    let made = |object: &&ObjectRef| new && matches!(object.kind, Kind::Volume | Kind::VirtualMachine);
    let (changes, due) = (plan.changes.len(), desired.objects.keys().filter(made).count());
    if changes != due || !plan.deferred.is_empty() {
        return Err(
            format!("{changes} changes where {due} are due: {:?} {:?}", plan.changes.first(), plan.deferred.first()).into()
        );
    }
    Ok(())
}
