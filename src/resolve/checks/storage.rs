//! Rules of storage: pools, templates, volumes and claims; and of the small kinds, Fleet and KeyPair.

use super::Check;
use super::text::path_problem;
use crate::diag::Code;
use crate::manifest::{
    CloneMode, FleetSpec, KeyPairSpec, StoragePoolSpec, TemplateSpec, VolumeClaim, VolumeFormat, VolumeSource, VolumeSpec,
};
use crate::name::ByteSize;

pub(super) fn fleet(check: &mut Check<'_>, spec: &FleetSpec) {
    if spec.id.is_some_and(|id| id.is_nil()) {
        check.say(Code::WrongValue, "/id", "the id is the empty UUID, which is nobody's", "`jvp init` makes one");
    }
}

/// Kinds of OpenSSH public keys.
const KEY_TYPES: &[&str] = &[
    "ssh-ed25519",
    "ssh-rsa",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
];

pub(super) fn key_pair(check: &mut Check<'_>, spec: &KeyPairSpec) {
    let generate = spec.generate == Some(true);
    check.one_of("", &[("publicKey", spec.public_key.is_some()), ("generate", generate)], false);
    if let Some(key) = &spec.public_key {
        if key.contains("PRIVATE KEY") {
            let message = "this is a private key, which has no place in a manifest";
            check.say(
                Code::InvalidText,
                "/publicKey",
                message,
                "write the public half, of the file `….pub`; and make a new pair",
            );
        } else if let Some(why) = public_key_problem(key) {
            check.say(Code::InvalidText, "/publicKey", why, "it is one line such as `ssh-ed25519 AAAA… ops`");
        }
    }
}

/// What is wrong with an OpenSSH public key.
pub(super) fn public_key_problem(key: &str) -> Option<String> {
    let mut words = key.split_whitespace();
    let (kind, body) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    if !KEY_TYPES.contains(&kind) {
        return Some(format!("the key doesn't begin with a kind of key, such as `{}`", KEY_TYPES.join("`, `")));
    }
    let base64 = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'=');
    (body.len() < 16 || !body.bytes().all(base64)).then(|| "the key has no body in base64 after its kind".to_owned())
}

pub(super) fn pool(check: &mut Check<'_>, spec: &StoragePoolSpec) {
    check.needed_to_make(&[("type", spec.pool_type.is_some()), ("target", spec.target.is_some())]);
    if check.document.object.name.as_str().ends_with("-templates") {
        let message = "names that end in `-templates` are kept for the pools that Templates lie in";
        let diagnostic = check.at(Code::Reserved, "", message).at(check.document.name_label());
        check.found.push(diagnostic.help("rename it"));
    }
    if spec.libvirt_name.as_ref().is_some_and(|name| name.as_str().ends_with("-templates")) {
        let message = "names that end in `-templates` are kept for the pools that Templates lie in";
        check.say(Code::Reserved, "/libvirtName", message, "");
    }
    let path = spec.target.as_ref().and_then(|target| target.path.as_deref());
    match path.map(|path| (path, path_problem(path))) {
        Some((_, Some(why))) => check.say(Code::InvalidPath, "/target/path", why, ""),
        Some((path, None)) if path.trim_matches('/').is_empty() => {
            check.say(Code::InvalidPath, "/target/path", "a pool can't lie in `/`", "give it a folder of its own");
        }
        _ => {}
    }
}

pub(super) fn template(check: &mut Check<'_>, spec: &TemplateSpec) {
    let Some(source) = &spec.source else { return };
    check.one_of("/source", &[("url", source.url.is_some()), ("file", source.file.is_some())], false);
    if let Some(url) = &source.url {
        let host = |rest: &str| rest.split(['/', '?', '#']).next().unwrap_or_default().to_owned();
        if let Some(rest) = url.strip_prefix("http://") {
            if spec.checksum.is_none() {
                let message = "what comes over http can be changed on its way, so it needs a checksum";
                check.say(Code::Checksum, "/source/url", message, "write `checksum: sha256:…` beside `source`, or use https");
            }
            url_problem(check, &host(rest));
        } else if let Some(rest) = url.strip_prefix("https://") {
            url_problem(check, &host(rest));
        } else {
            check.say(
                Code::WrongValue,
                "/source/url",
                "a template comes from an `http://` or `https://` URL",
                "a file beside the manifest is `file:`",
            );
        }
    }
    if source.file.as_ref().is_some_and(|file| file.starts_with('/')) {
        check.say(
            Code::InvalidPath,
            "/source/file",
            "the path is relative to the manifest's folder",
            "put the file into the checkout",
        );
    }
}

fn url_problem(check: &mut Check<'_>, host: &str) {
    if host.is_empty() || host.contains(char::is_whitespace) {
        check.say(Code::WrongValue, "/source/url", "the URL names no host", "");
    } else if host.contains('@') {
        check.say(Code::WrongValue, "/source/url", "a user or password has no place in a manifest", "");
    }
}

/// What a Volume and a claim have in common.
struct Made<'a> {
    capacity: Option<ByteSize>,
    format: Option<VolumeFormat>,
    source: Option<&'a VolumeSource>,
    clone: Option<CloneMode>,
}

pub(super) fn volume(check: &mut Check<'_>, spec: &VolumeSpec) {
    let made = Made { capacity: spec.capacity, format: spec.format, source: spec.source.as_ref(), clone: spec.clone };
    made_volume(check, "", &made);
    if spec.source.as_ref().and_then(|source| source.volume.as_ref()) == Some(&check.document.object.name) {
        check.say(Code::Cycle, "/source/volume", "the volume is to be made from itself", "");
    }
}

pub(super) fn claim(check: &mut Check<'_>, pointer: &str, claim: &VolumeClaim) {
    let made = Made { capacity: claim.capacity, format: claim.format, source: claim.source.as_ref(), clone: claim.clone };
    made_volume(check, pointer, &made);
}

fn made_volume(check: &mut Check<'_>, pointer: &str, made: &Made<'_>) {
    if let Some(source) = made.source {
        let fields = [("template", source.template.is_some()), ("volume", source.volume.is_some())];
        check.one_of(&format!("{pointer}/source"), &fields, false);
    } else if made.capacity.is_none() && !check.is_there() {
        let diagnostic = check.at(Code::Required, pointer, "a blank volume needs a `capacity`");
        let key = check.document.key_label(&format!("/spec{pointer}"));
        check.found.push(diagnostic.at(key).help("write `capacity: 10Gi`, or a `source` that it takes its size from"));
    }
    let raw = made.format == Some(VolumeFormat::Raw);
    match (made.source, made.clone) {
        (None, Some(_)) => {
            check.say(
                Code::Conflict,
                &format!("{pointer}/clone"),
                "a blank volume is no clone",
                "take `clone` out, or give it a `source`",
            );
        }
        (Some(_), None | Some(CloneMode::Linked)) if raw => {
            let message = "a raw volume can't be a linked clone";
            check.say(Code::Conflict, &format!("{pointer}/format"), message, "write `clone: Full`, or take `format: raw` out");
        }
        _ => {}
    }
}
