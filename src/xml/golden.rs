//! Golden documents in `tests/golden/xml`, rewritten with `JVP_UPDATE=1` and checked against libvirt's schema where
//! `xmllint` and the schemas are installed.

use std::path::PathBuf;
use std::process::Command;

/// Compares a document with the golden file of that name, and has libvirt's schema look at it.
pub(super) fn check(name: &str, text: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/xml").join(format!("{name}.xml"));
    if std::env::var_os("JVP_UPDATE").is_some() {
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        std::fs::write(&path, text).expect("written");
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(golden, text, "{name}: rewrite it with JVP_UPDATE=1 where the change is meant");
    let schema = name.split('-').next().unwrap_or_default();
    if let Some(words) = complaints(&path, schema) {
        panic!("{}: {words}", path.display());
    }
}

/// What libvirt's schema has against a file; nothing where its validator or the schemas are not installed.
fn complaints(path: &std::path::Path, schema: &str) -> Option<String> {
    let schema = format!("/usr/share/libvirt/schemas/{schema}.rng");
    let output = Command::new("xmllint").args(["--noout", "--relaxng", &schema]).arg(path).output().ok()?;
    let missing = !std::path::Path::new(&schema).exists();
    (!missing && !output.status.success()).then(|| String::from_utf8_lossy(&output.stderr).into_owned())
}
