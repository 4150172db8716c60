//! A Node's URI: what may stand in it, so that who writes manifests governs a node's libvirt and nothing on this machine.

use super::Check;
use crate::diag::Code;
use crate::manifest::NodeSpec;

/// Transports that run no program of the manifest's choice.
const TRANSPORTS: &[&str] = &["unix", "ssh", "tls", "libssh2"];

/// Parameters that run no program of the manifest's choice.
const PARAMETERS: &[&str] = &["socket", "keyfile", "known_hosts", "sshauth", "mode"];

pub(super) fn check(check: &mut Check<'_>, spec: &NodeSpec) {
    if check.document.object.name.as_str() == "nodes" {
        let message = "no Node can be called `nodes`: that is where what is known of Nodes is kept";
        let diagnostic = check.at(Code::Reserved, "", message).at(check.document.name_label());
        check.found.push(diagnostic.help("rename it"));
    }
    if let Some(uri) = &spec.uri
        && let Err(why) = uri_refused(uri)
    {
        let help = "such as `qemu:///system` or `qemu+ssh://root@kvm1/system`; `--allow-uri` takes others on your own word";
        check.say(Code::UriRefused, "/uri", why, help);
    }
}

/// Says why a Node's URI is refused; `Ok` where it isn't (DECISIONS E).
pub fn uri_refused(uri: &str) -> Result<(), String> {
    if uri.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err("the URI holds white space or control characters".to_owned());
    }
    let (scheme, rest) = uri.split_once("://").ok_or("this is no URI of libvirt's: it has no `://`")?;
    let (rest, fragment) = rest.split_once('#').unwrap_or((rest, ""));
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, path) = rest.split_once('/').ok_or("the URI has no path such as `/system`")?;
    let (driver, transport) = scheme.split_once('+').map_or((scheme, None), |(driver, t)| (driver, Some(t)));
    if driver == "test" && transport.is_none() && authority.is_empty() && path == "default" && query.is_empty() {
        return Ok(());
    }
    if driver != "qemu" {
        return Err(format!("jvp manages QEMU by libvirt, not the driver `{driver}`"));
    }
    if !fragment.is_empty() {
        return Err("the URI has a fragment (`#…`)".to_owned());
    }
    if let Some(transport) = transport.filter(|t| !TRANSPORTS.contains(t)) {
        let why = if transport == "tcp" { "nothing protects it" } else { "it could run programs on this machine" };
        return Err(format!("the transport `{transport}` is refused: {why}"));
    }
    if transport.is_some_and(|t| t != "unix") && authority.is_empty() {
        return Err("the URI names no host".to_owned());
    }
    if matches!(transport, Some("unix")) && !authority.is_empty() {
        return Err("a Unix socket has no host".to_owned());
    }
    host_problem(authority)?;
    if !["system", "session"].contains(&path) {
        return Err(format!("the path is `/system` or `/session`, not `/{path}`"));
    }
    for parameter in query.split(['&', ';']).filter(|parameter| !parameter.is_empty()) {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let (name, value) = (decode(name)?, decode(value)?);
        if !PARAMETERS.contains(&name.as_str()) {
            return Err(format!("the parameter `{name}` is refused: only {} are allowed", PARAMETERS.join(", ")));
        }
        if value.is_empty() || value.chars().any(char::is_control) || value.starts_with('-') {
            return Err(format!("the parameter `{name}` has no usable value"));
        }
        if ["socket", "keyfile", "known_hosts"].contains(&name.as_str()) && !value.starts_with('/') {
            return Err(format!("the parameter `{name}` is an absolute path"));
        }
    }
    Ok(())
}

/// A user or host that begins with `-` would be an option to ssh.
fn host_problem(authority: &str) -> Result<(), String> {
    let (user, host) = authority.rsplit_once('@').map_or((None, authority), |(user, host)| (Some(user), host));
    let plain = |text: &str| {
        let text = decode(text)?;
        let fine = !text.starts_with('-') && text.chars().all(|c| c.is_alphanumeric() || "._-:[]".contains(c));
        if fine { Ok(()) } else { Err(format!("`{text}` is no user or host")) }
    };
    plain(host)?;
    match user {
        Some("") => Err("the user before `@` is empty".to_owned()),
        Some(user) if user.contains(':') => Err("a password has no place in a manifest".to_owned()),
        Some(user) => plain(user),
        None => Ok(()),
    }
}

/// Percent-decoding, as libvirt does it before it looks at a parameter.
fn decode(text: &str) -> Result<String, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |b: Option<u8>| b.and_then(|b| char::from(b).to_digit(16)).and_then(|d| u8::try_from(d).ok());
        match (digit(rest.next()), digit(rest.next())) {
            (Some(high), Some(low)) => bytes.push(high * 16 + low),
            _ => return Err(format!("`{text}` is wrongly encoded")),
        }
    }
    String::from_utf8(bytes).map_err(|_| format!("`{text}` is wrongly encoded"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uris_that_reach_a_libvirt_are_taken() {
        for uri in [
            "qemu:///system",
            "qemu:///session",
            "qemu+unix:///system?socket=/run/jvp/libvirt-sock",
            "qemu+ssh://root@kvm1/system",
            "qemu+ssh://root@kvm1:2222/system?keyfile=/root/.ssh/id&known_hosts=/etc/ssh/known&sshauth=privkey&mode=direct",
            "qemu+libssh2://[fd00::1]/system",
            "qemu+tls://kvm1.example.org/system",
            "qemu://kvm1/system",
            "test:///default",
            "qemu+ssh://kvm1/system?keyfile=/root/%2essh/id%5f%6B",
            "qemu+ssh://kvm1/system?&mode=direct;sshauth=privkey&",
        ] {
            assert_eq!(uri_refused(uri), Ok(()), "{uri}");
        }
    }

    #[test]
    fn uris_that_could_do_anything_here_are_refused() {
        for uri in [
            "qemu+ext:///system?command=/bin/sh",
            "qemu+ssh://kvm1/system?command=/tmp/x",
            "qemu+ssh://kvm1/system?c%6fmmand=/tmp/x",
            "qemu+ssh://kvm1/system?keyfile=/a;netcat=/tmp/x",
            "qemu+ssh://kvm1/system?netcat=/tmp/x",
            "qemu+ssh://-oProxyCommand=id/system",
            "qemu+ssh://%2doProxyCommand/system",
            "qemu+ssh://-l@kvm1/system",
            "qemu+ssh://kvm1/system?no_verify=1",
            "qemu+tls://kvm1/system?pkipath=/tmp",
            "qemu+tcp://kvm1/system",
            "qemu+ssh:///system",
            "qemu:///embed?root=/tmp",
            "test:///etc/passwd",
            "lxc:///system",
            "esx://host/",
            "kvm1",
            "qemu:///system#x",
            "qemu+ssh://kvm1/system?keyfile=id",
            "qemu+ssh://root:secret@kvm1/system",
            "qemu+ssh://@kvm1/system",
            "qemu+ssh:// kvm1/system",
            "qemu+ssh://kvm1/system?mode=di\u{7}rect",
            "qemu+ssh://kvm1/system?mode=direct%07",
            "qemu+ssh://kvm1/system?mode=",
            "qemu+ssh://kvm1/system?mode=-x",
            "qemu+ssh://kvm1/system?mode=%zz",
            "qemu+ssh://kvm1/system?mode=a%4",
            "qemu+ssh://kvm1/system?mode=%ff",
            "qemu+unix://kvm1/system",
            "test+ssh:///default",
            "test://kvm1/default",
            "test:///default?mode=direct",
        ] {
            assert!(uri_refused(uri).is_err(), "{uri}");
        }
    }
}
