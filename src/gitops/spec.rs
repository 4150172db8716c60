//! How a source is written: a folder, or a Git repository with a branch and a folder in it. Values; nothing is looked up.

use std::fmt;
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

/// Where manifests come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceSpec {
    /// A folder of this machine.
    Folder(PathBuf),
    /// A branch of a Git repository.
    Git {
        /// As git takes it: `https://…`, `ssh://…` or `file:///…`. It holds no password.
        url: String,
        /// The branch; none for the one that the repository's `HEAD` names.
        branch: Option<String>,
        /// The folder in the repository, relative and without `..`; empty for all of it.
        path: PathBuf,
    },
}

/// A text that names no source.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is no source of manifests: {reason}; write a folder, or git+https://HOST/REPOSITORY#BRANCH:FOLDER, git+ssh://… or git+file:///…"
)]
pub struct InvalidSource {
    text: String,
    reason: String,
}

/// What git may be told to speak. Others execute programs (`ext`), or carry commits that anybody may change on their way.
const PROTOCOLS: &[&str] = &["https", "ssh", "file"];

impl SourceSpec {
    /// The same source, whatever the working folder. Links are kept: what one points at may be swapped.
    pub fn absolute(self) -> std::io::Result<Self> {
        match self {
            Self::Folder(path) => std::path::absolute(path).map(Self::Folder),
            git @ Self::Git { .. } => Ok(git),
        }
    }

    /// The one protocol that git needs for it.
    pub(super) fn protocol(url: &str) -> &str {
        url.split_once("://").map_or("", |(protocol, _)| protocol)
    }
}

impl FromStr for SourceSpec {
    type Err = InvalidSource;

    fn from_str(text: &str) -> Result<Self, InvalidSource> {
        read(text).map_err(|reason| InvalidSource { text: hidden(text), reason })
    }
}

impl fmt::Display for SourceSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(path) => write!(f, "{}", path.display()),
            Self::Git { url, branch, path } => {
                write!(f, "git+{url}")?;
                if branch.is_some() || !path.as_os_str().is_empty() {
                    write!(f, "#{}", branch.as_deref().unwrap_or_default())?;
                }
                if path.as_os_str().is_empty() { Ok(()) } else { write!(f, ":{}", path.display()) }
            }
        }
    }
}

/// The text without what may be a password.
fn hidden(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
    match authority.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://…@{host}{path}"),
        None => text.to_owned(),
    }
}

fn read(text: &str) -> Result<SourceSpec, String> {
    if text.is_empty() {
        return Err("it is empty".to_owned());
    }
    if text.starts_with('-') {
        return Err("it begins with `-` like an option; a folder of such a name is written with `./` before it".to_owned());
    }
    if text.chars().any(char::is_control) {
        return Err("it has control characters".to_owned());
    }
    if let Some((protocol, rest)) = text.strip_prefix("git+").and_then(|rest| rest.split_once("://")) {
        return repository(protocol, rest);
    }
    if text.contains("://") {
        return Err("it is a URL without `git+` before it".to_owned());
    }
    if text.contains("::") {
        return Err("programs that git would start as a transport are not taken".to_owned());
    }
    let before_slash = text.split('/').next().unwrap_or_default();
    if before_slash.contains('@') && before_slash.contains(':') {
        return Err("of git's own short form the host and the path are written as git+ssh://USER@HOST/PATH".to_owned());
    }
    Ok(SourceSpec::Folder(PathBuf::from(text)))
}

fn repository(protocol: &str, rest: &str) -> Result<SourceSpec, String> {
    if !PROTOCOLS.contains(&protocol) {
        return Err(format!("the protocol `{protocol}` is not taken"));
    }
    let (place, fragment) = rest.split_once('#').unwrap_or((rest, ""));
    if place.chars().any(char::is_whitespace) {
        return Err("a URL has no blanks: write `%20`".to_owned());
    }
    let (authority, path) = place.find('/').map_or((place, ""), |at| place.split_at(at));
    if path.trim_matches('/').is_empty() {
        return Err("the repository's path is missing".to_owned());
    }
    if protocol == "file" {
        if !authority.is_empty() {
            return Err("a repository of this machine has three slashes, git+file:///PATH".to_owned());
        }
    } else {
        let (user, host) = authority.rsplit_once('@').map_or((None, authority), |(user, host)| (Some(user), host));
        if host.is_empty() || host.starts_with('-') || host.starts_with(':') {
            return Err("the host is missing".to_owned());
        }
        if user.is_some_and(|user| user.contains(':')) {
            let way = "a password in it would stand in the list of processes and in logs: put it into ~/.netrc, or use ssh";
            return Err(way.to_owned());
        }
        if user.is_some_and(|user| user.is_empty() || user.starts_with('-')) {
            return Err("the user before the `@` is no user".to_owned());
        }
    }
    let (branch, folder) = fragment.split_once(':').unwrap_or((fragment, ""));
    let branch = (!branch.is_empty()).then(|| branch_name(branch)).transpose()?;
    Ok(SourceSpec::Git { url: format!("{protocol}://{place}"), branch, path: folder_within(folder)? })
}

/// A name that git takes for a branch and for nothing else.
fn branch_name(name: &str) -> Result<String, String> {
    let wrong = |c: char| c.is_whitespace() || "~^:?*[\\".contains(c);
    let part_wrong = |part: &str| part.is_empty() || part.starts_with('.') || part.ends_with(".lock");
    let bad = name.starts_with('-') || name.ends_with('.') || name.contains("..") || name.contains("@{") || name == "@";
    if bad || name.chars().any(wrong) || name.split('/').any(part_wrong) {
        return Err(format!("`{name}` is no name of a branch"));
    }
    Ok(name.to_owned())
}

fn folder_within(text: &str) -> Result<PathBuf, String> {
    let mut clean = PathBuf::new();
    for part in Path::new(text).components() {
        match part {
            Component::Normal(part) => clean.push(part),
            Component::CurDir => {}
            _ => return Err(format!("`{text}` is no folder in the repository: write it relative, without `..`")),
        }
    }
    Ok(clean)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn git(url: &str, branch: Option<&str>, path: &str) -> SourceSpec {
        SourceSpec::Git { url: url.to_owned(), branch: branch.map(str::to_owned), path: path.into() }
    }

    #[test]
    fn a_source_is_a_folder_or_a_branch_of_a_repository() {
        let cases = [
            ("manifests", SourceSpec::Folder("manifests".into())),
            ("./-odd", SourceSpec::Folder("./-odd".into())),
            ("/srv/a#b:c", SourceSpec::Folder("/srv/a#b:c".into())),
            ("git+https://host/site.git", git("https://host/site.git", None, "")),
            ("git+https://host:8443/a/site.git#main:vms/prod", git("https://host:8443/a/site.git", Some("main"), "vms/prod")),
            ("git+ssh://git@host/site.git#release/1.2", git("ssh://git@host/site.git", Some("release/1.2"), "")),
            ("git+file:///srv/site.git#:vms", git("file:///srv/site.git", None, "vms")),
        ];
        for (text, spec) in cases {
            assert_eq!(text.parse::<SourceSpec>().unwrap(), spec, "{text}");
            assert_eq!(spec.to_string(), text);
        }
        assert_eq!("git+file:///a#b:./c/".parse::<SourceSpec>().unwrap(), git("file:///a", Some("b"), "c"));
    }

    #[test]
    fn what_git_would_execute_or_take_for_an_option_is_refused() {
        let cases = [
            "",
            "--upload-pack=touch x",
            "ext::sh -c x",
            "git+ext::sh -c x",
            "git+ext://sh",
            "git+http://host/site.git",
            "git+git://host/site.git",
            "https://host/site.git",
            "git@host:site.git",
            "git+ssh://-oProxyCommand=x/site.git",
            "git+ssh://-oProxyCommand=x@host/site.git",
            "git+ssh://host",
            "git+ssh:///site.git",
            "git+file://srv/site.git",
            "git+file:///",
            "git+file:///srv/a b",
            "git+file:///srv/a\nb",
            "git+file:///a#-x",
            "git+file:///a#b..c",
            "git+file:///a#b^{commit}",
            "git+file:///a#b.lock",
            "git+file:///a#.b",
            "git+file:///a#b:../c",
            "git+file:///a#b:/c",
        ];
        for text in cases {
            let error = text.parse::<SourceSpec>().expect_err(text).to_string();
            assert!(error.contains("git+https://HOST"), "says what is allowed: {error}");
        }
    }

    #[test]
    fn a_password_is_refused_and_shown_nowhere() {
        let error = "git+https://me:canary@host/site.git".parse::<SourceSpec>().unwrap_err().to_string();
        assert!(error.contains(".netrc") && !error.contains("canary"), "{error}");
    }
}
