//! Commits and checkouts of somebody who would like jvp to execute, read or write something of theirs.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use jvp::diag::Code;
use jvp::gitops::{Checkout, Options};

use crate::ground::{Ground, Repo, again, key, left_out, names, told, write};

/// A program that leaves a trace.
fn trap(ground: &Ground) -> String {
    let path = ground.path("trap");
    write(&path, format!("#!/bin/sh\ntouch {}\ncat\n", ground.path("sprung").display()));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path.display().to_string()
}

/// A configuration in which all that git can be told to execute is the trap.
fn poisoned(trap: &str) -> String {
    format!(
        "[filter \"evil\"]\n\tclean = {trap}\n\tsmudge = {trap}\n\tprocess = {trap}\n\trequired = true\n\
         [core]\n\tfsmonitor = {trap}\n\tsshCommand = {trap}\n\tpager = {trap}\n\taskPass = {trap}\n\teditor = {trap}\n\tgitProxy = {trap}\n\
         [credential]\n\thelper = {trap}\n[diff]\n\texternal = {trap}\n[gpg]\n\tprogram = {trap}\n[uploadpack]\n\tpackObjectsHook = {trap}\n\
         [alias]\n\tfetch = !{trap}\n[protocol \"ext\"]\n\tallow = always\n[fetch]\n\trecurseSubmodules = true\n"
    )
}

#[test]
fn nothing_of_a_commit_or_of_a_users_configuration_is_executed() {
    let ground = Ground::new();
    let trap = trap(&ground);
    let repo = ground.repository("site");
    let module = ground.repository("module");
    module.write("m.yaml", key("module"));
    let commit = module.commit("module");
    repo.write("a.yaml", key("a").replace('\n', "\r\n"));
    repo.write(".gitattributes", "*.yaml filter=evil text eol=lf ident working-tree-encoding=UTF-16\n*.img filter=lfs\n");
    repo.write("image.img", "version https://git-lfs.github.com/spec/v1\n");
    repo.write(".gitmodules", "[submodule \"m\"]\n\tpath = m\n\turl = ../module\n");
    // As they are, past the attributes.
    for name in ["a.yaml", ".gitattributes", "image.img", ".gitmodules"] {
        let id = repo.git(["hash-object", "-w", "--no-filters", name]);
        repo.git(["update-index", "--add", "--cacheinfo", &format!("100644,{id},{name}")]);
    }
    repo.git(["update-index", "--add", "--cacheinfo", &format!("160000,{commit},m")]);
    repo.git(["commit", "--quiet", "-m", "evil"]);
    for hook in ["post-checkout", "post-merge", "reference-transaction", "pre-auto-gc", "post-index-change"] {
        fs::copy(&trap, repo.0.join(".git/hooks").join(hook)).unwrap();
    }
    write(&ground.path("home/.gitconfig"), poisoned(&trap));
    // git copies what is in a template into each repository that it makes.
    write(&ground.path("template/hooks/reference-transaction"), fs::read(&trap).unwrap());
    fs::set_permissions(ground.path("template/hooks/reference-transaction"), fs::Permissions::from_mode(0o755)).unwrap();
    let (place, home) = (ground.path("").display().to_string(), ground.path("home").display().to_string());
    let template = ground.path("template").display().to_string();
    let environment = [
        ("JVP_TEST_HOSTILE", place.as_str()),
        ("HOME", &home),
        ("GIT_CONFIG_COUNT", "1"),
        ("GIT_CONFIG_KEY_0", "core.fsmonitor"),
        ("GIT_CONFIG_VALUE_0", &trap),
        ("GIT_TEMPLATE_DIR", &template),
        ("GIT_ASKPASS", &trap),
        ("GIT_SSH_COMMAND", &trap),
        ("GIT_EXTERNAL_DIFF", &trap),
        ("GIT_DIR", "/nowhere"),
        ("GIT_WORK_TREE", "/nowhere"),
    ];
    again(&[], "hostile::a_fetch_in_bad_company", &environment);
    assert!(!ground.path("sprung").exists());
}

#[tokio::test]
async fn a_fetch_in_bad_company() {
    let Some(place) = told("JVP_TEST_HOSTILE") else { return };
    let state = jvp::store::StateDir::open(&place.join("state")).unwrap();
    let source = format!("git+file://{}", place.join("site").display());
    let checkout = Checkout::open(source.parse().unwrap(), &state, Options::default()).unwrap();
    let tree = checkout.refresh().await.unwrap();
    assert_eq!(names(&tree), ["a"]);
    // What git knows to be an attack isn't even taken in.
    let repo = Repo(place.join("site"));
    repo.write(".gitmodules", "[submodule \"m\"]\n\tpath = m\n\turl = ../module\n\tupdate = !true\n");
    let id = repo.git(["hash-object", "-w", "--no-filters", ".gitmodules"]);
    repo.git(["update-index", "--cacheinfo", &format!("100644,{id},.gitmodules")]);
    repo.git(["commit", "--quiet", "-m", "worse"]);
    let trouble = checkout.refresh().await.unwrap_err();
    assert!(trouble.to_string().contains("gitmodulesUpdate"), "{trouble}");
    let read = |name: &str| fs::read_to_string(tree.folder.join(name)).unwrap();
    assert_eq!(read("a.yaml"), key("a").replace('\n', "\r\n"), "byte for byte");
    assert!(read("image.img").starts_with("version https://git-lfs"));
    assert!(!tree.folder.join("m").exists());
}

#[tokio::test]
async fn a_folder_in_a_checkout_tells_its_commit_and_nothing_of_that_checkout_is_executed() {
    let ground = Ground::new();
    let trap = trap(&ground);
    let repo = ground.repository("site");
    repo.write("vms/a.yaml", key("a"));
    repo.write("other.yaml", key("other"));
    repo.write(".gitattributes", "* filter=evil diff=evil\n");
    let commit = repo.commit("The first");
    let config = fs::read_to_string(repo.0.join(".git/config")).unwrap();
    write(&repo.0.join(".git/config"), config + &poisoned(&trap));
    let checkout = ground.folder("site/vms");
    let clean = checkout.refresh().await.unwrap();
    assert_eq!(clean.revision.id, commit);
    assert_eq!(clean.revision.subject.as_deref(), Some("The first"));
    assert_eq!(clean.revision.author.as_deref(), Some("Ann <ann@lab>"));
    repo.write("other.yaml", key("changed"));
    assert_eq!(checkout.refresh().await.unwrap().revision.id, commit, "what lies beside the folder isn't its matter");
    repo.write("vms/a.yaml", key("b"));
    let dirty = checkout.refresh().await.unwrap();
    assert_eq!(dirty.revision.id, format!("{commit}-dirty"));
    assert_ne!(dirty.digest, clean.digest);
    repo.write("vms/a.yaml", key("a"));
    repo.write("vms/new.yaml", key("new"));
    assert!(checkout.refresh().await.unwrap().revision.id.ends_with("-dirty"), "what isn't tracked is read as well");
    fs::remove_file(repo.0.join("vms/new.yaml")).unwrap();
    repo.write("vms/note.txt", "no manifest");
    assert!(checkout.refresh().await.unwrap().revision.id.starts_with(&commit));
    assert!(!ground.path("sprung").exists());
}

#[tokio::test]
async fn a_work_tree_beside_the_first_and_packed_branches_are_known() {
    let ground = Ground::new();
    let repo = ground.repository("site");
    repo.write("a.yaml", key("a"));
    let commit = repo.commit("one");
    repo.git(["worktree", "add", "--quiet", "-b", "side", "../side"]);
    repo.git(["pack-refs", "--all"]);
    for name in ["site", "side"] {
        assert_eq!(ground.folder(name).refresh().await.unwrap().revision.id, commit, "{name}");
    }
    // Elsewhere, for all of this lies in a checkout of jvp's own.
    let plain = tempfile::tempdir().unwrap();
    write(&plain.path().join("a.yaml"), key("a"));
    let plain = ground.open(plain.path().to_str().unwrap(), Options::default()).refresh().await.unwrap();
    assert!(plain.revision.id.starts_with("sha256:") && plain.revision.author.is_none(), "{:?}", plain.revision);
}

#[tokio::test]
async fn a_link_out_of_the_tree_is_not_followed() {
    let ground = Ground::new();
    write(&ground.path("outside/secret.yaml"), key("secret"));
    let repo = ground.repository("site");
    repo.write("vms/a.yaml", key("a"));
    symlink("vms/a.yaml", repo.0.join("within.yaml")).unwrap();
    symlink("../../../../outside/secret.yaml", repo.0.join("up.yaml")).unwrap();
    symlink(ground.path("outside"), repo.0.join("folder")).unwrap();
    repo.commit("links");
    let tree = ground.site("").refresh().await.unwrap();
    let codes: Vec<Code> = tree.set.diagnostics.iter().map(|diagnostic| diagnostic.code).collect();
    assert!(codes.contains(&Code::LinkOutside) && !codes.contains(&Code::DuplicateObject), "{codes:?}");
    let documents: Vec<_> = tree.set.documents.iter().map(|document| document.object.name.to_string()).collect();
    assert_eq!(documents, ["a"], "once, and no secret");
}

#[test]
fn what_can_t_be_read_is_told() {
    if left_out() {
        return;
    }
    let ground = Ground::new();
    write(&ground.path("site/a.yaml"), key("a"));
    fs::set_permissions(ground.path("site"), fs::Permissions::from_mode(0o700)).unwrap();
    // Somebody else has no right, and needs one to everything above.
    for above in ground.path("site").ancestors().skip(1) {
        let mode = fs::metadata(above).unwrap().permissions().mode();
        if mode & 0o005 != 0o005 && above != Path::new("/") {
            fs::set_permissions(above, fs::Permissions::from_mode(mode | 0o005)).unwrap();
        }
    }
    fs::create_dir(ground.path("state")).unwrap();
    std::os::unix::fs::chown(ground.path("state"), Some(65534), Some(65534)).unwrap();
    let place = ground.path("").display().to_string();
    let nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    again(&nobody, "hostile::as_nobody", &[("JVP_TEST_NOBODY", &place)]);
}

#[tokio::test]
async fn as_nobody() {
    let Some(place) = told("JVP_TEST_NOBODY") else { return };
    let state = jvp::store::StateDir::open(&place.join("state")).unwrap();
    let site = place.join("site");
    let checkout = Checkout::open(site.to_str().unwrap().parse().unwrap(), &state, Options::default()).unwrap();
    let trouble = checkout.refresh().await.unwrap_err();
    assert_eq!(trouble.failure.reason(), "Unreadable", "{trouble}");
    assert!(trouble.to_string().contains("no right to read"), "{trouble}");
}
