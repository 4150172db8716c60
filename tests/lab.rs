//! Everything that needs a real libvirt: a private libvirtd in namespaces of its own, which needs root.
//!
//! Nothing here is skipped in silence: where the lab can't come up, the tests fail and say why. `JVP_TEST_LEVEL=unit` leaves them out
//! by a word.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::cast_possible_truncation,
    unreachable_pub,
    reason = "tests: what fails must be loud"
)]

#[path = "lab_suite/by_hand.rs"]
mod by_hand;
#[path = "changes/mod.rs"]
mod changes;
#[path = "lab_suite/checkout.rs"]
mod checkout;
#[path = "page/mod.rs"]
mod page;
#[path = "pty/mod.rs"]
mod pty;
#[path = "repo/mod.rs"]
mod repo;
#[path = "sample/mod.rs"]
mod sample;
#[path = "lab_suite/support.rs"]
mod support;

#[path = "lab_suite/acts.rs"]
mod acts;
#[path = "lab_suite/adoption.rs"]
mod adoption;
#[path = "lab_suite/bad_luck.rs"]
mod bad_luck;
#[path = "lab_suite/checkouts.rs"]
mod checkouts;
#[path = "lab_suite/console.rs"]
mod console;
#[path = "lab_suite/cut_calls.rs"]
mod cut_calls;
#[path = "lab_suite/daemon.rs"]
mod daemon;
#[path = "lab_suite/debian.rs"]
mod debian;
#[path = "lab_suite/dimms.rs"]
mod dimms;
#[path = "lab_suite/disruption.rs"]
mod disruption;
#[path = "lab_suite/far.rs"]
mod far;
#[path = "lab_suite/foreign.rs"]
mod foreign;
#[path = "lab_suite/gitops.rs"]
mod gitops;
#[path = "lab_suite/host_domains.rs"]
mod host_domains;
#[path = "lab_suite/host_events.rs"]
mod host_events;
#[path = "lab_suite/host_hangs.rs"]
mod host_hangs;
#[path = "lab_suite/host_networks.rs"]
mod host_networks;
#[path = "lab_suite/host_storage.rs"]
mod host_storage;
#[path = "lab_suite/host_test_driver.rs"]
mod host_test_driver;
#[path = "lab_suite/kill.rs"]
mod kill;
#[path = "lab_suite/kind_cases.rs"]
mod kind_cases;
#[path = "lab_suite/kinds.rs"]
mod kinds;
#[path = "lab_suite/leaf_cases.rs"]
mod leaf_cases;
#[path = "lab_suite/leaves.rs"]
mod leaves;
#[path = "lab_suite/lifecycle_cases.rs"]
mod lifecycle_cases;
#[path = "lab_suite/luck.rs"]
mod luck;
#[path = "lab_suite/networks.rs"]
mod networks;
#[path = "lab_suite/nodes.rs"]
mod nodes;
#[path = "lab_suite/proxy.rs"]
mod proxy;
#[path = "lab_suite/saved.rs"]
mod saved;
#[path = "lab_suite/scenarios.rs"]
mod scenarios;
#[path = "lab_suite/ssh.rs"]
mod ssh;
#[path = "lab_suite/volumes.rs"]
mod volumes;
#[path = "lab_suite/wait.rs"]
mod wait;
