//! The floor that jvp's speed is measured against: what any program must ask of libvirt, through the same crate, and no more.
//!
//! - `link`: links libvirt and ends.
//! - `read URI`: lists domains, pools, volumes and networks, and reads each one's document; a running one's live document too.
//! - `define URI FILE`: defines the domains of a plan's JSON, each with the flags that the plan names.
//! - `change URI NAME`: reads all that, and defines this one domain anew.
//! - `undefine URI`: takes every domain away again; not measured.
//! - `measure RUNS :: FLOOR… :: JVP… [:: PREPARE…]`: runs the two commands in turn, `PREPARE` before each.
//! - `once COMMAND…`: runs it and prints how many microseconds that took.
//! - `far SOCKET DAEMON MILLISECONDS [BYTES]`: puts a libvirtd far away, behind a socket of its own: each message is so long on its way,
//!   over a link of so many bytes a second; ends with its standard input, and tells what went over.
//! - `settled SOCKET SECONDS`, `resyncs RUNS SOCKET :: FLOOR…`, `rest PID SECONDS`, `stir URI SECONDS RATE PID FOLDER`: of a daemon.
//!
//! One thread, one connection, one call after the other. See `benches/README.md`.

mod measure;
#[expect(dead_code, unreachable_pub, clippy::expect_used, reason = "the lab's own, which does more than is needed here")]
#[path = "../../tests/lab_suite/proxy.rs"]
mod proxy;
mod service;

use std::process::ExitCode;

use virt::connect::Connect;
use virt::error::{Error, clear_error_callback};
use virt::sys;

type Fallible<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["link"] => Ok(()),
        ["read", uri] => open(uri).map_err(Into::into).and_then(|connect| read(&connect)),
        ["change", uri, name] => change(uri, name),
        ["define", uri, file] => define(uri, file),
        ["undefine", uri] => undefine(uri).map_err(Into::into),
        ["measure", rest @ ..] => measure::measure(rest),
        ["far", socket, daemon, milliseconds, rate @ ..] => far(socket, daemon, milliseconds, rate.first()),
        ["once", command @ ..] => measure::once(command).map(|time| measure::print(&format!("{}\n", time.as_micros()))),
        ["settled", socket, seconds] => service::settled(socket, seconds),
        ["resyncs", runs, socket, "::", floor @ ..] => service::resyncs(runs, socket, floor),
        ["rest", pid, seconds, runs, "::", floor @ ..] => service::rest(pid, seconds, runs, floor),
        ["stir", uri, seconds, rate, pid, folder] => service::stir(uri, seconds, rate, pid, folder),
        _ => Err(
            "link | read URI | change URI NAME | define URI FILE | undefine URI | measure RUNS :: FLOOR… :: JVP… [:: PREPARE…] \
             | once | far | settled | resyncs | rest | stir"
                .into(),
        ),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            measure::say(&format!("floor: {error}\n"));
            ExitCode::FAILURE
        }
    }
}

fn open(uri: &str) -> Result<Connect, Error> {
    clear_error_callback();
    Connect::open(Some(uri))
}

fn read(connect: &Connect) -> Fallible<()> {
    let mut documents = vec![connect.capabilities()?];
    let live = running(connect)?;
    for domain in connect.list_all_domains(0)? {
        documents.push(domain.xml_desc(sys::VIR_DOMAIN_XML_INACTIVE | sys::VIR_DOMAIN_XML_SECURE)?);
    }
    for domain in live {
        documents.push(domain.xml_desc(sys::VIR_DOMAIN_XML_SECURE)?);
    }
    for network in connect.list_all_networks(0)? {
        documents.push(network.xml_desc(sys::VIR_NETWORK_XML_INACTIVE)?);
    }
    for network in connect.list_all_networks(sys::VIR_CONNECT_LIST_NETWORKS_ACTIVE)? {
        documents.push(network.xml_desc(0)?);
    }
    for pool in connect.list_all_storage_pools(0)? {
        documents.push(pool.xml_desc(sys::VIR_STORAGE_XML_INACTIVE)?);
    }
    for pool in connect.list_all_storage_pools(sys::VIR_CONNECT_LIST_STORAGE_POOLS_ACTIVE)? {
        for volume in pool.list_all_volumes(0)? {
            documents.push(volume.xml_desc(0)?);
        }
    }
    let bytes: usize = documents.iter().map(String::len).sum();
    measure::print(&format!("{} documents, {bytes} bytes\n", documents.len()));
    Ok(())
}

fn far(socket: &str, daemon: &str, milliseconds: &str, rate: Option<&&str>) -> Fallible<()> {
    let delay = std::time::Duration::from_millis(milliseconds.parse()?);
    let rate = rate.map(|rate| rate.parse()).transpose()?;
    let proxy = proxy::Proxy::far(socket.as_ref(), daemon.as_ref(), proxy::Link { delay, rate });
    measure::print(&format!("{}\n", proxy.uri()));
    for line in std::io::stdin().lines() {
        line?;
        measure::print(&format!("{:?}\n", proxy.traffic()));
    }
    Ok(())
}

fn running(connect: &Connect) -> Result<Vec<virt::domain::Domain>, Error> {
    connect.list_all_domains(sys::VIR_CONNECT_LIST_DOMAINS_ACTIVE)
}

fn change(uri: &str, name: &str) -> Fallible<()> {
    let connect = open(uri)?;
    read(&connect)?;
    let domain = connect.lookup_domain_by_name(name)?;
    let xml = domain.xml_desc(sys::VIR_DOMAIN_XML_INACTIVE | sys::VIR_DOMAIN_XML_SECURE)?;
    connect.define_domain_xml_flags(&xml, 0)?;
    Ok(())
}

fn define(uri: &str, file: &str) -> Fallible<()> {
    let plan: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(file)?)?;
    let actions = plan.get("actions").and_then(serde_json::Value::as_array).ok_or("no actions")?;
    let ops = actions.iter().filter_map(|action| action.get("op")).filter(|op| op["do"] == "domain-define");
    let connect = open(uri)?;
    let mut count = 0;
    for op in ops {
        let xml = op["xml"].as_str().ok_or("an action without its document")?;
        let flags = if op["validate"] == true { sys::VIR_DOMAIN_DEFINE_VALIDATE } else { 0 };
        connect.define_domain_xml_flags(xml, flags)?;
        count += 1;
    }
    measure::print(&format!("{count} domains\n"));
    Ok(())
}

fn undefine(uri: &str) -> Result<(), Error> {
    let connect = open(uri)?;
    for domain in connect.list_all_domains(0)? {
        domain.undefine_flags(sys::VIR_DOMAIN_UNDEFINE_NVRAM)?;
    }
    Ok(())
}
