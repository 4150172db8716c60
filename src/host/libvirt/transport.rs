//! The ssh that libvirt starts, out of the terminal's reach.
//!
//! libvirt starts `ssh` as our child, in our process group: a Ctrl-C, meant for us alone, would cut all connections in the middle of
//! whatever they do. So libvirt is told to start ourselves in its place; that process takes a session of its own and becomes
//! ssh. It knows itself by the name it was called by: `/proc/self/exe`, which libvirt's fork may always execute (a name with our
//! process id it may not, as root without its capabilities), and which survives an upgrade of the file on disk.
//!
//! Nothing of the house is started in such a process, and nothing is printed.

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicBool, Ordering};

/// What a transport is called by.
const NAME: &str = "/proc/self/exe";

static ENABLED: AtomicBool = AtomicBool::new(false);

/// Must be the first thing in `main`.
///
/// In a process that libvirt started as its transport it becomes ssh and does not return, or returns the code to exit with where
/// there is no ssh. In any other it returns none, and from then on ssh is started so.
pub fn become_transport() -> Option<ExitCode> {
    let mut args = std::env::args_os();
    if !args.next().is_some_and(|name| name == NAME) {
        ENABLED.store(true, Ordering::Relaxed);
        return None;
    }
    // Fails only where it leads a group already, and then the terminal's signals don't reach it anyway.
    let _ = rustix::process::setsid();
    let error = Command::new("ssh").args(args).exec();
    // libvirt shows what its transport says on stderr.
    let text = format!("cannot start ssh: {error}\n");
    let _ = rustix::io::write(std::io::stderr(), text.as_bytes());
    Some(ExitCode::from(127))
}


/// The command that libvirt is to start in ssh's place, where this program can be one.
pub(super) fn command() -> Option<&'static str> {
    ENABLED.load(Ordering::Relaxed).then_some(NAME)
}
