//! The program as the transport of libvirt's connections: in a session of its own it becomes ssh.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

#[test]
fn called_by_the_transports_name_it_becomes_ssh_in_a_session_of_its_own() {
    let dir = tempfile::tempdir().expect("a folder");
    let ssh = dir.path().join("ssh");
    // Fields 1 and 6 of stat: the process and its session.
    std::fs::write(&ssh, "#!/bin/sh\ncut -d' ' -f1,6 </proc/$$/stat\necho \"$@\"\n").expect("a script");
    std::fs::set_permissions(&ssh, PermissionsExt::from_mode(0o755)).expect("a mode");
    let path = format!("{}:/usr/bin:/bin", dir.path().display());
    let output = Command::new(env!("CARGO_BIN_EXE_jvp"))
        .arg0("/proc/self/exe")
        .args(["-T", "-e", "none", "--", "host", "sh -c x"])
        .env("PATH", path)
        .output()
        .expect("it starts");
    let text = String::from_utf8_lossy(&output.stdout);
    let lines: Vec<_> = text.lines().collect();
    let [ids, args] = lines.as_slice() else { panic!("{output:?}") };
    assert_eq!(*args, "-T -e none -- host sh -c x");
    let (pid, session) = ids.split_once(' ').expect("two numbers");
    assert_eq!(pid, session);
}
