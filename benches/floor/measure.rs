//! Two commands, run in turn so that whatever else the machine does falls on both, and their medians.

use std::io::Write as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::Fallible;

/// Runs of each that are not counted: caches, libvirtd's threads.
const WARM: usize = 1;

pub(super) fn print(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

pub(super) fn say(text: &str) {
    let _ = std::io::stderr().write_all(text.as_bytes());
}

/// Prints one line: both medians in microseconds, the floor's fastest and slowest run, the other's, and its peak memory in KiB.
pub(super) fn measure(args: &[&str]) -> Fallible<()> {
    let mut parts = args.split(|arg| *arg == "::");
    let runs: usize = parts.next().and_then(|part| part.first()).ok_or("how many runs?")?.parse()?;
    let (Some(floor), Some(jvp)) = (parts.next(), parts.next()) else { return Err("two commands are needed".into()) };
    let prepare = parts.next();
    let (mut floors, mut jvps) = (Vec::new(), Vec::new());
    let all = runs + WARM;
    for run in 0..all {
        for (command, times) in [(floor, &mut floors), (jvp, &mut jvps)] {
            if let Some(prepare) = prepare {
                once(prepare)?;
            }
            let time = once(command)?;
            if run >= WARM {
                times.push(time);
            }
        }
    }
    if let Some(prepare) = prepare {
        once(prepare)?;
    }
    let peak = peak(jvp)?;
    floors.sort();
    jvps.sort();
    let line: Vec<String> = [&floors, &jvps]
        .iter()
        .flat_map(|times| [times.get(times.len() / 2), times.first(), times.last()])
        .map(|time| time.map_or(0, Duration::as_micros).to_string())
        .collect();
    print(&format!("{} {peak}\n", line.join(" ")));
    Ok(())
}

fn spawn(command: &[&str]) -> Fallible<Child> {
    let (program, args) = command.split_first().ok_or("an empty command")?;
    Ok(Command::new(program).args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?)
}

pub(super) fn once(command: &[&str]) -> Fallible<Duration> {
    let begun = Instant::now();
    let status = spawn(command)?.wait()?;
    let time = begun.elapsed();
    if status.success() { Ok(time) } else { Err(format!("{}: {status}", command.join(" ")).into()) }
}

/// The most memory that a command had: the kernel's own high-water mark, looked at until the process is gone, in a run of its own.
fn peak(command: &[&str]) -> Fallible<u64> {
    let mut child = spawn(command)?;
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    while child.try_wait()?.is_none() {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.split_whitespace().next()).and_then(|word| word.parse().ok());
        peak = peak.max(kib.unwrap_or(0));
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(peak)
}
