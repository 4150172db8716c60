//! Rules of what cloud-init is told.

use super::Check;
use super::storage::public_key_problem;
use super::text::is_host_name;
use crate::diag::Code;
use crate::manifest::{CloudInit, check_mapping};

/// A longer document is cut by some images.
const WARN: usize = 16 * 1024;

/// A longer document is refused.
const MAX: usize = 1024 * 1024;

pub(super) fn check(check: &mut Check<'_>, told: &CloudInit) {
    let structured = [
        ("users", !told.users.is_empty()),
        ("packages", !told.packages.is_empty()),
        ("runCmd", !told.run_cmd.is_empty()),
        ("writeFiles", !told.write_files.is_empty()),
        ("timezone", told.timezone.is_some()),
    ];
    if told.user_data.is_some()
        && let Some((field, _)) = structured.into_iter().find(|(_, there)| *there)
    {
        let message = format!("`userData` says everything itself, so `{field}` can't stand beside it");
        let help = "write the fields, or put all into `userData`";
        check.clash(Code::Conflict, "/cloudInit/userData", &format!("/cloudInit/{field}"), message, help);
    }
    if let Some(name) = told.hostname.as_ref().filter(|name| !is_host_name(name)) {
        check.say(
            Code::InvalidText,
            "/cloudInit/hostname",
            format!("`{name}` is no host name"),
            "letters, digits and `-`, with dots between",
        );
    }
    if let Some(text) = &told.user_data {
        document(check, "userData", text, text.starts_with("#cloud-config"));
    }
    if let Some(text) = &told.network_config {
        document(check, "networkConfig", text, true);
    }
    users(check, told);
    files(check, told);
    let zone = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '+' | '-' | '/');
    if let Some(name) = told.timezone.as_ref().filter(|name| !name.chars().all(zone) || name.starts_with('/')) {
        check.say(Code::InvalidText, "/cloudInit/timezone", format!("`{name}` is no time zone"), "such as `Europe/Berlin`");
    }
    let keys = told.key_pairs.iter().enumerate().map(|(i, key)| (key.clone(), format!("/cloudInit/keyPairs/{i}")));
    check.unique(keys, |key| format!("KeyPair/{key} stands here twice"));
}

fn document(check: &mut Check<'_>, field: &str, text: &str, yaml: bool) {
    let pointer = format!("/cloudInit/{field}");
    if text.len() > MAX {
        let message = format!("`{field}` has {} bytes, and a seed holds 1 MiB", text.len());
        check.say(Code::UserData, &pointer, message, "let the guest fetch the rest");
        return;
    }
    if text.len() > WARN {
        let message = format!("`{field}` has {} KiB; some images read no more than 16 KiB of it", text.len().div_ceil(1024));
        check.say(Code::UserDataLong, &pointer, message, "let the guest fetch the rest");
    }
    if yaml && let Err(why) = check_mapping(text) {
        check.say(Code::UserData, &pointer, format!("`{field}` is not YAML that cloud-init can read: {why}"), "");
    }
}

fn users(check: &mut Check<'_>, told: &CloudInit) {
    let places: Vec<String> = (0..told.users.len()).map(|i| format!("/cloudInit/users/{i}")).collect();
    for (user, place) in told.users.iter().zip(&places) {
        let first = |c: char| c.is_ascii_lowercase() || c == '_';
        let rest = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-');
        if user.name.len() > 32 || !user.name.starts_with(first) || !user.name.trim_end_matches('$').chars().all(rest) {
            let message = format!("`{}` is no name that a user can have", user.name.escape_debug());
            check.say(
                Code::InvalidText,
                &format!("{place}/name"),
                message,
                "lower-case letters, digits, `_` and `-`, 32 at most",
            );
        }
        for (index, key) in user.ssh_authorized_keys.iter().enumerate() {
            if let Some(why) = public_key_problem(key) {
                check.say(Code::InvalidText, &format!("{place}/sshAuthorizedKeys/{index}"), why, "");
            }
        }
        if user.password_hash.as_ref().is_some_and(|hash| !hash.starts_with('$')) {
            let message = "this is no hash of a password: one begins with `$`";
            check.say(Code::InvalidText, &format!("{place}/passwordHash"), message, "make one with `openssl passwd -6`");
        }
    }
    let names = told.users.iter().map(|user| user.name.clone()).zip(places.iter().map(|place| format!("{place}/name")));
    check.unique(names, |name| format!("two users are called `{name}`"));
}

fn files(check: &mut Check<'_>, told: &CloudInit) {
    for (index, file) in told.write_files.iter().enumerate() {
        if !file.path.starts_with('/') || file.path.ends_with('/') || file.path.chars().any(char::is_control) {
            let message = "the path of a file in the guest is absolute";
            check.say(Code::InvalidPath, &format!("/cloudInit/writeFiles/{index}/path"), message, "");
        }
    }
    let paths =
        told.write_files.iter().enumerate().map(|(i, file)| (file.path.clone(), format!("/cloudInit/writeFiles/{i}/path")));
    check.unique(paths, |path| format!("`{}` is written twice", path.escape_debug()));
}
