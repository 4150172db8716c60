//! What is measured of a daemon from outside: by its figures, by `/proc`, and beside the floor.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use virt::connect::Connect;
use virt::sys;

use super::Fallible;
use super::measure::{once, print};

/// How often is asked for figures.
const STEP: Duration = Duration::from_millis(50);
/// What is awaited longer doesn't come.
const PATIENCE: Duration = Duration::from_mins(5);

/// One figure of a daemon's, by the beginning of its line; 0 where it isn't there yet.
fn figure(socket: &str, name: &str) -> Fallible<f64> {
    let mut stream = UnixStream::connect(socket)?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: daemon\r\nconnection: close\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    Ok(line.and_then(|rest| rest.trim().parse().ok()).unwrap_or_default())
}

fn looks(socket: &str, cause: &str) -> Fallible<(f64, f64)> {
    let labels = format!("{{cause=\"{cause}\",scope=\"everything\"}}");
    let count = figure(socket, &format!("jvp_look_seconds_count{labels}"))?;
    Ok((count, figure(socket, &format!("jvp_look_seconds_sum{labels}"))?))
}

/// Waits until a daemon has looked at everything, and looked at nothing for so many seconds since.
pub(super) fn settled(socket: &str, seconds: &str) -> Fallible<()> {
    let (rest, began) = (Duration::from_secs(seconds.parse()?), Instant::now());
    let (mut before, mut since) = (0.0, Instant::now());
    loop {
        let all = ["start", "event", "awaited", "resync"]
            .iter()
            .map(|cause| looks(socket, cause).map_or(0.0, |(count, _)| count))
            .sum();
        if all > before {
            (before, since) = (all, Instant::now());
        }
        if before > 0.0 && since.elapsed() > rest {
            return Ok(());
        }
        if began.elapsed() > PATIENCE {
            return Err(format!("the daemon on {socket} doesn't come to rest").into());
        }
        sleep(STEP);
    }
}

/// The daemon's next looks by the clock, and between them runs of the floor. Prints a line as `measure` does; the last is 0.
pub(super) fn resyncs(runs: &str, socket: &str, floor: &[&str]) -> Fallible<()> {
    let runs: usize = runs.parse()?;
    let (mut floors, mut looked) = (Vec::new(), Vec::new());
    let (mut count, mut sum) = looks(socket, "resync")?;
    // The first of each doesn't count.
    while looked.len() <= runs {
        let began = Instant::now();
        let (now, all) = loop {
            let (now, all) = looks(socket, "resync")?;
            if now > count {
                break (now, all);
            }
            if began.elapsed() > PATIENCE {
                return Err(format!("the daemon on {socket} looks no more").into());
            }
            sleep(STEP);
        };
        looked.push(Duration::from_secs_f64((all - sum) / (now - count)));
        (count, sum) = (now, all);
        floors.push(once(floor)?);
    }
    let line: Vec<String> = [&mut floors, &mut looked]
        .into_iter()
        .flat_map(|times| {
            let times: &mut [Duration] = times.get_mut(1..).unwrap_or_default();
            times.sort();
            [times.get(times.len() / 2), times.first(), times.last()].map(|time| time.map_or(0, Duration::as_micros).to_string())
        })
        .collect();
    print(&format!("{} 0\n", line.join(" ")));
    Ok(())
}

/// The processor time that the daemon took within so many seconds, and what each run of the floor took right after it, on a machine that is
/// as much at rest. Prints a line as `measure` does, a minute's time for the daemon; the last is what it took in thousandths of a core.
pub(super) fn rest(pid: &str, seconds: &str, runs: &str, floor: &[&str]) -> Fallible<()> {
    let (began, before) = (Instant::now(), used(pid, OWN)?);
    sleep(Duration::from_secs(seconds.parse()?));
    let share = (used(pid, OWN)? - before) / began.elapsed().as_secs_f64();
    let runs: usize = runs.parse()?;
    let mut floors = Vec::new();
    for _ in 0..=runs {
        sleep(PAUSE);
        let before = used("self", CHILDREN)?;
        once(floor)?;
        floors.push(((used("self", CHILDREN)? - before) * 1e6).round());
    }
    // The first doesn't count.
    floors.remove(0);
    floors.sort_by(f64::total_cmp);
    let [median, least, most] = [runs / 2, 0, runs - 1].map(|at| floors.get(at).copied().unwrap_or_default());
    let minute = (share * 60e6).round();
    print(&format!("{median} {least} {most} {minute} {minute} {minute} {:.2}\n", share * 1000.0));
    Ok(())
}

/// Where `/proc/PID/stat` tells, counted after the program's name, the processor time of a process, and of its children that ended.
const OWN: usize = 11;
const CHILDREN: usize = 13;
/// For so long nothing is done before a run of the floor, as the daemon finds a machine that rests.
const PAUSE: Duration = Duration::from_secs(2);

/// In seconds, in the program and in the kernel.
fn used(pid: &str, which: usize) -> Fallible<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields: Vec<&str> = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok()).unwrap_or_default();
    // In hundredths of a second on every Linux there is.
    Ok((ticks(which) + ticks(which + 1)) / 100.0)
}

/// Changes domains by hand for so many seconds, so many a second, one after the other: by turns one that a manifest says otherwise of,
/// and one that it says nothing of, and each domain's next change is of the other kind. So none is changed back a fifth time before the last
/// minute of ten, as what is, is no day's events and is healed ever more slowly. Prints the process's memory and the folder's size, in KiB:
/// after a third of the time, and at the end.
pub(super) fn stir(uri: &str, seconds: &str, rate: &str, pid: &str, folder: &str) -> Fallible<()> {
    let (seconds, rate): (f64, f64) = (seconds.parse()?, rate.parse()?);
    let connect = super::open(uri)?;
    let mut domains = connect.list_all_domains(sys::VIR_CONNECT_LIST_DOMAINS_INACTIVE)?;
    domains.sort_by_key(|domain| domain.name().unwrap_or_default());
    let (began, mut early, mut done) = (Instant::now(), None, 0_u32);
    for (number, domain) in domains.iter().cycle().enumerate() {
        let due = Duration::from_secs_f64(f64::from(done) / rate);
        if due.as_secs_f64() >= seconds {
            break;
        }
        sleep(due.saturating_sub(began.elapsed()));
        if early.is_none() && began.elapsed().as_secs_f64() >= seconds / 3.0 {
            early = Some(sizes(pid, folder)?);
        }
        change(&connect, domain, number, (number % domains.len() + number / domains.len()) % 2 == 0)?;
        done += 1;
    }
    // What came last is healed, too.
    sleep(Duration::from_secs(2));
    let (early, late) = (early.unwrap_or_default(), sizes(pid, folder)?);
    print(&format!("{done} {} {} {} {}\n", early.0, late.0, early.1, late.1));
    Ok(())
}

fn change(connect: &Connect, domain: &virt::domain::Domain, number: usize, against_manifest: bool) -> Fallible<()> {
    if !against_manifest {
        let (kind, flags) = (sys::VIR_DOMAIN_METADATA_TITLE, sys::VIR_DOMAIN_AFFECT_CONFIG);
        domain.set_metadata(kind.try_into()?, Some(&number.to_string()), None, None, flags)?;
        return Ok(());
    }
    let xml = domain.xml_desc(sys::VIR_DOMAIN_XML_INACTIVE | sys::VIR_DOMAIN_XML_SECURE)?;
    let around = xml.split_once("<memory ").zip(xml.split_once("</currentMemory>"));
    let ((before, _), (_, after)) = around.ok_or("a domain without memory")?;
    connect.define_domain_xml_flags(&format!("{before}<memory>{}</memory>{after}", 131_072 + number), 0)?;
    Ok(())
}

/// A process's memory and a folder's size, in KiB.
fn sizes(pid: &str, folder: &str) -> Fallible<(u64, u64)> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let memory = line.and_then(|line| line.split_whitespace().next()).and_then(|word| word.parse().ok());
    Ok((memory.ok_or("no VmRSS")?, size(Path::new(folder))? / 1024))
}

fn size(path: &Path) -> Fallible<u64> {
    let mut all = 0;
    for entry in std::fs::read_dir(path)? {
        // What a daemon replaces may be gone by now.
        let Ok(entry) = entry else { continue };
        let Ok(about) = entry.metadata() else { continue };
        all += if about.is_dir() { size(&entry.path())? } else { about.len() };
    }
    Ok(all)
}
