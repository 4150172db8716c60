//! What libvirt's errors mean: one table from its codes and words to [`ErrorKind`].
//!
//! The words are looked at only where one code stands for several things. Nothing is retried here.

use virt::error::Error;

use crate::host::{ErrorKind, HostError};

/// Where an error came up, as the same code can mean different things.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum At {
    /// While the connection was being opened: whatever it is, nothing has happened there.
    Open,
    /// In a call.
    Call,
}

/// libvirt's number for, among others, a flag that a driver doesn't know.
pub(super) const INVALID_ARG: i32 = 8;

/// libvirt's number for what it has no number for, as an error that a guest's agent answers with.
pub(super) const INTERNAL: i32 = 1;

/// A row: the code, words that must stand in the message, what it means, and why.
struct Row(i32, &'static str, ErrorKind, #[expect(dead_code, reason = "the row's reason is for its reader")] &'static str);

/// The first row that fits wins; so rows with words stand before those without.
const CALLS: &[Row] = &[
    // 1, internal error: QEMU's and helpers' words come through it.
    Row(1, "write\" lock", ErrorKind::InvalidState, "QEMU holds the image's lock: a guest or another job uses it"),
    Row(1, "storage volume name", ErrorKind::Exists, "the copy of a volume has another one's name"),
    Row(1, "already in use", ErrorKind::InvalidState, "a bridge name or subnet that another network has"),
    Row(1, "keepalive", ErrorKind::Unreachable, "the daemon did not answer the pings"),
    Row(1, "unsupported event id", ErrorKind::Unsupported, "an event that only a newer libvirt has"),
    Row(1, "client socket is closed", ErrorKind::Unreachable, "the connection broke before or in the call"),
    Row(2, "", ErrorKind::Transient, "the node was out of memory"),
    Row(3, "", ErrorKind::Unsupported, "no such function in that driver"),
    Row(6, "", ErrorKind::Unreachable, "the connection is no longer one"),
    // 9, operation failed: the refusals of define.
    Row(9, "already exists", ErrorKind::Exists, "the name is another object's"),
    Row(9, "already defined", ErrorKind::Exists, "the UUID is another object's"),
    Row(9, "already being started", ErrorKind::Transient, "somebody else starts it right now"),
    Row(9, "conflict with pool", ErrorKind::Exists, "another pool has that folder"),
    Row(9, "source conflict", ErrorKind::Exists, "another pool has that source"),
    Row(28, "", ErrorKind::Exists, "a domain of that name"),
    Row(29, "", ErrorKind::Denied, "a read-only connection"),
    Row(37, "", ErrorKind::Exists, "a network of that name"),
    // 38, system error: errno's words tell.
    Row(38, "no such file", ErrorKind::NotFound, "a file or folder is missing"),
    Row(38, "file exists", ErrorKind::Exists, "a file of that name"),
    Row(38, "permission denied", ErrorKind::Denied, "the file system says no"),
    Row(38, "operation not permitted", ErrorKind::Denied, "the kernel says no"),
    Row(38, "read-only file system", ErrorKind::Denied, "mounted read-only"),
    Row(38, "resource busy", ErrorKind::InvalidState, "the kernel says busy"),
    Row(38, "connection reset", ErrorKind::Unreachable, "the daemon went away in the call"),
    Row(38, "broken pipe", ErrorKind::Unreachable, "the daemon went away in the call"),
    Row(38, "end of file while reading", ErrorKind::Unreachable, "the daemon went away in the call"),
    Row(38, "cannot recv data", ErrorKind::Unreachable, "the daemon went away in the call"),
    Row(38, "cannot write data", ErrorKind::Unreachable, "the daemon went away in the call"),
    Row(39, "", ErrorKind::Unreachable, "the protocol broke; what the call did is not known"),
    Row(40, "", ErrorKind::Unreachable, "TLS broke"),
    Row(42, "", ErrorKind::NotFound, "no such domain, or it just ended"),
    Row(43, "", ErrorKind::NotFound, "no such network"),
    Row(45, "", ErrorKind::Denied, "authentication failed"),
    Row(49, "", ErrorKind::NotFound, "no such pool"),
    Row(50, "", ErrorKind::NotFound, "no such volume, or its file is gone"),
    Row(53, "", ErrorKind::NotFound, "no such device"),
    // 55, operation invalid.
    Row(55, "already exists", ErrorKind::Exists, "a file lies where a volume is to be made, or a DHCP host is there"),
    Row(55, "couldn't locate an existing dhcp host", ErrorKind::NotFound, "the DHCP host is gone"),
    Row(55, "couldn't locate a matching d", ErrorKind::NotFound, "the DHCP host, DHCP range or DNS host is gone"),
    Row(55, "existing dhcp host", ErrorKind::Exists, "a DHCP host of that MAC, name or address is there"),
    Row(55, "existing dhcp range", ErrorKind::Exists, "that DHCP range is there"),
    Row(55, "already at least one dns host record", ErrorKind::Exists, "a DNS host of that address is there"),
    Row(55, "asynchronous jobs running", ErrorKind::Transient, "a job of the pool's or volume's is in the way"),
    Row(55, "", ErrorKind::InvalidState, "not in this state"),
    Row(57, "", ErrorKind::NotFound, "no such interface"),
    Row(62, "", ErrorKind::NotFound, "no such filter"),
    Row(66, "", ErrorKind::NotFound, "no such secret"),
    Row(67, "is not active", ErrorKind::InvalidState, "a pool or network that a domain needs is stopped"),
    Row(68, "", ErrorKind::Transient, "a lock or an unplug took too long inside libvirt"),
    Row(72, "", ErrorKind::NotFound, "no such snapshot"),
    Row(74, "", ErrorKind::Unsupported, "that combination isn't supported"),
    Row(76, "", ErrorKind::Exists, "the pool holds something already"),
    Row(78, "", ErrorKind::Transient, "a job of the domain's was aborted by somebody"),
    Row(79, "", ErrorKind::Denied, "authentication was cancelled"),
    Row(80, "", ErrorKind::NotFound, "no such metadata"),
    Row(84, "", ErrorKind::Unsupported, "the driver can't do that in this state"),
    Row(86, "", ErrorKind::Transient, "the agent isn't there, or not yet"),
    Row(87, "", ErrorKind::Transient, "busy"),
    Row(88, "", ErrorKind::Denied, "an access rule says no"),
    Row(90, "", ErrorKind::Exists, "a volume of that name"),
    Row(94, "", ErrorKind::Denied, "no way to authenticate"),
    Row(97, "", ErrorKind::Transient, "the agent is busy with an older question"),
    Row(99, "", ErrorKind::NotFound, "no such device in the domain"),
];

/// While opening, anything that isn't a refusal says that the node can't be reached.
const OPEN: &[Row] = &[
    Row(29, "", ErrorKind::Denied, "no right to it"),
    Row(38, "permission denied", ErrorKind::Denied, "the socket's owner or group"),
    Row(39, "permission denied", ErrorKind::Denied, "ssh was refused"),
    Row(38, "host key verification failed", ErrorKind::Denied, "ssh does not know the host"),
    Row(39, "host key verification failed", ErrorKind::Denied, "ssh does not know the host"),
    Row(45, "", ErrorKind::Denied, "authentication failed"),
    Row(79, "", ErrorKind::Denied, "authentication was cancelled"),
    Row(88, "", ErrorKind::Denied, "an access rule says no"),
    Row(94, "", ErrorKind::Denied, "no way to authenticate"),
];

/// What an error means.
fn kind(code: i32, message: &str, at: At) -> ErrorKind {
    let (rows, otherwise) = match at {
        At::Open => (OPEN, ErrorKind::Unreachable),
        At::Call => (CALLS, ErrorKind::Failed),
    };
    let message = message.to_lowercase();
    rows.iter().find(|row| row.0 == code && message.contains(row.1)).map_or(otherwise, |row| row.2)
}

/// libvirt's error as the port's.
pub(super) fn translate(error: &Error, at: At) -> HostError {
    let code = i32::try_from(error.code().to_raw()).unwrap_or(0);
    let said = error.message();
    let message = if at == At::Open { of_ssh(said) } else { None }.unwrap_or_else(|| clean(said));
    HostError { kind: kind(code, said, at), code, message }
}

/// Why ssh gave up, in few words, where libvirt passes on what it said; none for all else.
fn of_ssh(message: &str) -> Option<String> {
    let said = message.split_once("annot recv data: ")?.1;
    let said = said.rsplit_once(": Connection reset by peer").map_or(said, |(said, _)| said).trim();
    let lower = said.to_lowercase();
    if lower.contains("remote host identification has changed") {
        let key = said.split_whitespace().find(|word| word.starts_with("SHA256:")).unwrap_or("another").trim_end_matches('.');
        let known = said.lines().find(|line| line.starts_with("Offending ")).and_then(|line| line.split_once(" key in "));
        let place = known.map_or_else(String::new, |(_, place)| format!(", and not the one that is known, in {}", place.trim()));
        return Some(format!("the host's key has changed: it is {key} now{place}"));
    }
    if lower.contains("host key verification failed") {
        return Some("ssh doesn't know the host's key".into());
    }
    lower.contains("permission denied (").then(|| format!("ssh was not let in: {}", clean(said)))
}

/// An error of this side's own.
pub(super) fn own(kind: ErrorKind, message: impl Into<String>) -> HostError {
    HostError { kind, code: 0, message: message.into() }
}

/// Names the object, unless the message does already.
pub(super) fn named(mut error: HostError, object: &str, name: &str) -> HostError {
    if !error.message.contains(&format!("'{name}'")) && error.kind != ErrorKind::Unreachable {
        error.message = format!("{object} '{name}': {}", error.message);
    }
    error
}

/// What libvirt puts before what it has to say.
const NOISE: &[&str] = &[
    "internal error: ",
    "operation failed: ",
    "Requested operation is not valid: ",
    "Operation not supported: ",
    "unsupported configuration: ",
    "invalid argument: ",
    "XML error: ",
    "this function is not supported by the connection driver: ",
    "Timed out during operation: ",
    "argument unsupported: ",
    "Domain not found: ",
    "Network not found: ",
    "Storage pool not found: ",
    "Storage volume not found: ",
    "process exited while connecting to monitor: ",
];

/// A message as a fragment: one line, in lower case, without what says nothing.
fn clean(message: &str) -> String {
    let mut rest = message.trim();
    while let Some(shorter) = NOISE.iter().find_map(|noise| rest.strip_prefix(noise)) {
        rest = shorter.trim_start();
    }
    let line = rest.lines().map(str::trim).filter(|l| !l.is_empty()).collect::<Vec<_>>().join("; ");
    let mut chars = line.chars();
    match (chars.next(), chars.next()) {
        // A word like QEMU or CPU keeps its capitals.
        (Some(first), Some(second)) if first.is_uppercase() && !second.is_uppercase() => {
            first.to_lowercase().chain(line.chars().skip(1)).collect()
        }
        _ => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_with_words_is_told_from_the_same_code_without() {
        assert_eq!(kind(9, "operation failed: domain 'a' already exists with uuid x", At::Call), ErrorKind::Exists);
        assert_eq!(kind(9, "operation failed: something", At::Call), ErrorKind::Failed);
        assert_eq!(kind(55, "Requested operation is not valid: domain is not running", At::Call), ErrorKind::InvalidState);
        assert_eq!(kind(1, "internal error: Failed to get \"write\" lock", At::Call), ErrorKind::InvalidState);
    }

    #[test]
    fn while_opening_all_but_a_refusal_is_out_of_reach() {
        assert_eq!(kind(38, "Failed to connect socket: No such file or directory", At::Open), ErrorKind::Unreachable);
        assert_eq!(kind(38, "Failed to connect socket: Permission denied", At::Open), ErrorKind::Denied);
        assert_eq!(kind(45, "authentication failed", At::Open), ErrorKind::Denied);
    }

    #[test]
    fn a_message_becomes_one_line_in_lower_case() {
        assert_eq!(
            clean("internal error: operation failed: Network is already in use\nby x\n"),
            "network is already in use; by x"
        );
        assert_eq!(clean("QEMU said no"), "QEMU said no");
        assert_eq!(clean(""), "");
    }

    #[test]
    fn what_ssh_says_is_said_in_few_words() {
        let of = |said: &str| of_ssh(&format!("Cannot recv data: {said}: Connection reset by peer"));
        assert_eq!(of("Host key verification failed.").unwrap(), "ssh doesn't know the host's key");
        let changed = "@@@@@@@@@@@@@@@@@@@@\n@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\n@@@@@@@@@@@@@@@@@@@@\n\
                       The fingerprint for the ED25519 key sent by the remote host is\nSHA256:abc.\n\
                       Offending ED25519 key in /root/.ssh/known_hosts:1\nHost key verification failed.";
        assert_eq!(
            of(changed).unwrap(),
            "the host's key has changed: it is SHA256:abc now, and not the one that is known, in /root/.ssh/known_hosts:1"
        );
        assert_eq!(
            of("root@kvm1: Permission denied (publickey).").unwrap(),
            "ssh was not let in: root@kvm1: Permission denied (publickey)."
        );
        assert_eq!(of("ssh: connect to host kvm1 port 22: No route to host"), None);
        assert_eq!(of_ssh("Failed to connect socket: Permission denied"), None);
    }

    #[test]
    fn an_object_is_named_once() {
        let error = own(ErrorKind::Failed, "no domain 'web'");
        assert_eq!(named(error.clone(), "domain", "web").message, "no domain 'web'");
        assert_eq!(named(error, "domain", "db").message, "domain 'db': no domain 'web'");
    }
}
