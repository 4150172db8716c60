//! What the Debian package is made of is there and does as it is to, without the package being built. `./x package` builds it and tries
//! it in a Debian of its own.

#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test that can't read its cases has failed, and says what it left out"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Runs a program, where it is installed.
fn run(program: &str, arguments: &[&str]) -> Option<Output> {
    match Command::new(program).args(arguments).current_dir(root()).output() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            eprintln!("left out: {program} is not installed");
            None
        }
        answer => Some(answer.unwrap()),
    }
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn jvp(arguments: &[&str]) -> String {
    let output = run(env!("CARGO_BIN_EXE_jvp"), arguments).unwrap();
    assert!(output.status.success(), "{}", said(&output));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn all_that_the_package_takes_from_the_checkout_is_there() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let (_, assets) = manifest.split_once("\nassets = [\n").unwrap();
    let (assets, _) = assets.split_once("\n]\n").unwrap();
    let script = fs::read_to_string(root().join("package/build.sh")).unwrap();
    let mut tried = 0;
    for line in assets.lines() {
        let source = line.split('"').nth(1).unwrap();
        if let Some(made) = source.strip_prefix("target/package/") {
            assert!(script.contains(made.split_once('.').unwrap().0), "package/build.sh doesn't make {source}");
        } else if !source.starts_with("target/") {
            let (folder, pattern) = source.rsplit_once('/').unwrap_or((".", source));
            let folder = root().join(folder.trim_end_matches("/**"));
            let found = match pattern.split_once('*') {
                None => folder.join(pattern).is_file(),
                Some((_, end)) => {
                    fs::read_dir(folder).unwrap().any(|entry| entry.unwrap().file_name().to_string_lossy().ends_with(end))
                }
            };
            assert!(found, "{source} is not there");
        }
        tried += 1;
    }
    assert!(tried > 8, "{assets}");
}

#[test]
fn without_a_tool_for_containers_it_fails_unless_the_container_is_left_out() {
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink("/usr/bin/dirname", folder.path().join("dirname")).unwrap();
    let build = |words: &[&str]| {
        let script = root().join("package/build.sh");
        Command::new("/bin/sh").arg(script).args(words).env("PATH", folder.path()).output().unwrap()
    };
    for words in [&[][..], &["--dev"]] {
        let output = build(words);
        assert!(
            output.status.code() == Some(1) && said(&output).contains("leave the image out: --no-container"),
            "{}",
            said(&output)
        );
    }
    // A docker whose daemon is away is none.
    fs::write(folder.path().join("docker"), "#!/bin/sh\nexit 1\n").unwrap();
    fs::set_permissions(folder.path().join("docker"), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    assert!(said(&build(&[])).contains("--no-container"));
    // It goes on to what it builds with, of which nothing is there.
    let output = build(&["--dev", "--no-container"]);
    assert!(said(&output).contains("cargo is missing") && !said(&output).contains("container"), "{}", said(&output));
    assert_eq!(build(&["--no-containers"]).status.code(), Some(64));
    let x = fs::read_to_string(root().join("x")).unwrap();
    assert!(x.contains("package [--install] [--dev] [--no-container]") && x.contains("package--no-container)"));
}

#[test]
fn the_unit_is_one_that_systemd_takes() {
    let folder = tempfile::tempdir().unwrap();
    let unit = folder.path().join("jvp-daemon.service");
    let text = fs::read_to_string(root().join("docs/jvp-daemon.service")).unwrap();
    // Verifying looks for the program.
    assert!(text.contains("ExecStart=/usr/local/bin/jvp "));
    fs::write(&unit, text.replace("/usr/local/bin/jvp ", &format!("{} ", env!("CARGO_BIN_EXE_jvp")))).unwrap();
    let Some(output) = run("systemd-analyze", &["verify", "--man=no", unit.to_str().unwrap()]) else { return };
    let about_it: Vec<String> = said(&output).lines().filter(|line| line.contains("jvp-daemon")).map(str::to_owned).collect();
    assert!(about_it.is_empty(), "{}", about_it.join("\n"));
}

#[test]
fn the_flags_of_the_configuration_are_those_of_the_daemon() {
    let text = fs::read_to_string(root().join("package/daemon.yaml")).unwrap();
    let daemon = jvp::cli::command().find_subcommand("daemon").unwrap().clone();
    let known: Vec<&str> = daemon.get_arguments().filter_map(clap::Arg::get_long).collect();
    let flags = text.lines().filter_map(|line| line.strip_prefix("# ")?.split_once(": ")).filter(|(name, _)| !name.contains(' '));
    let flags: Vec<&str> = flags.map(|(name, _)| name).collect();
    assert!(flags.len() >= 3 && flags.iter().all(|flag| known.contains(flag)), "{flags:?} of {known:?}");
}

#[test]
fn completions_load_and_know_the_commands() {
    for shell in ["bash", "zsh", "fish"] {
        let script = jvp(&["completion", shell]);
        assert!(script.contains("suspend") && script.contains("allow-data-loss"), "{shell}");
    }
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("jvp");
    fs::write(&script, jvp(&["completion", "bash"])).unwrap();
    let load = "source \"$0\"; complete -p jvp; COMP_WORDS=(jvp susp); COMP_CWORD=1; _jvp jvp susp jvp; echo \"${COMPREPLY[@]}\"";
    if let Some(output) = run("bash", &["-c", load, script.to_str().unwrap()]) {
        assert!(output.status.success() && said(&output).contains("suspend"), "{}", said(&output));
    }
}

#[test]
fn the_manual_pages_are_read_without_a_complaint() {
    let folder = root().join("docs/man");
    let mut tried = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path: &Path = &entry.unwrap().path();
        let Some(output) = run("groff", &["-man", "-Tutf8", "-ww", path.to_str().unwrap()]) else { return };
        assert!(output.status.success() && output.stderr.is_empty(), "{}: {}", path.display(), said(&output));
        tried += 1;
    }
    assert!(tried > 30);
}
