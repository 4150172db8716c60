//! Branches of repositories: fetched, verified, kept.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use jvp::gitops::{Failure, Options};

use crate::ground::{Ground, Repo, again, key, left_out, names, told, write};

#[tokio::test]
async fn a_branch_is_fetched_with_its_revision_and_a_tree_stays_while_it_is_held() {
    let ground = Ground::new();
    let repo = ground.repository("site");
    repo.write("vms/a.yaml", key("a"));
    let first = repo.commit("The first key");
    let checkout = ground.site("#main");
    let one = checkout.refresh().await.unwrap();
    assert_eq!(names(&one), ["a"]);
    assert_eq!(one.revision.id, first);
    assert_eq!(one.revision.author.as_deref(), Some("Ann <ann@lab>"));
    assert_eq!(one.revision.subject.as_deref(), Some("The first key"));
    assert!(one.revision.at.is_some());
    assert_eq!(one.set.sources.name(one.set.documents[0].file), "vms/a.yaml", "told as it is called in the repository");
    assert_eq!(checkout.refresh().await.unwrap().folder, one.folder, "the same commit is the same tree");

    repo.write("vms/b.yaml", key("b"));
    repo.commit("A second");
    let two = checkout.refresh().await.unwrap();
    assert_eq!(names(&two), ["a", "b"]);
    assert_ne!(one.digest, two.digest);
    assert_eq!(fs::read_dir(one.folder.join("vms")).unwrap().count(), 1, "what is held is as it was");
    let gone = one.folder.clone();
    drop(one);
    repo.commit("Nothing but a word");
    let three = checkout.refresh().await.unwrap();
    assert_eq!(three.digest, two.digest, "another commit with the same in it");
    assert!(!gone.exists(), "nobody needs it");
}

#[tokio::test]
async fn a_fetch_that_fails_keeps_the_last_good_tree_also_after_a_restart() {
    let ground = Ground::new();
    let repo = ground.repository("site");
    repo.write("a.yaml", key("a"));
    let good = repo.commit("good");
    let checkout = ground.site("");
    checkout.accept(&checkout.refresh().await.unwrap()).await.unwrap();
    // Not taken for good by whoever reads it.
    repo.write("a.yaml", "kind: Nonsense\n");
    repo.commit("bad");
    assert!(!checkout.refresh().await.unwrap().set.diagnostics.is_empty());
    fs::rename(ground.path("site"), ground.path("away")).unwrap();
    let trouble = checkout.refresh().await.unwrap_err();
    assert_eq!(trouble.failure.reason(), "GitFailed", "{trouble}");
    assert!(trouble.to_string().contains(&good[..12]), "{trouble}");
    let last = trouble.last.unwrap();
    assert_eq!((names(&last), last.revision.id), (vec!["a".to_owned()], good.clone()));
    drop(checkout);
    let trouble = ground.site("").refresh().await.unwrap_err();
    assert_eq!(names(&trouble.last.unwrap()), ["a"]);
    let checkout = ground.site("");
    assert_eq!(checkout.accepted().await.unwrap().revision.id, good);
    fs::rename(ground.path("away"), ground.path("site")).unwrap();
    assert!(!checkout.refresh().await.unwrap().set.diagnostics.is_empty());
}

#[tokio::test]
async fn a_branch_that_is_rewritten_is_followed_and_one_that_is_deleted_is_told() {
    let ground = Ground::new();
    let repo = ground.repository("site");
    repo.write("a.yaml", key("a"));
    let first = repo.commit("one");
    repo.write("a.yaml", key("b"));
    repo.commit("two");
    let checkout = ground.site("#main");
    checkout.refresh().await.unwrap();
    repo.git(["reset", "--quiet", "--hard", &first]);
    repo.write("c.yaml", key("c"));
    repo.commit("another two");
    let rewritten = checkout.refresh().await.unwrap();
    assert_eq!(names(&rewritten), ["a", "c"]);
    repo.git(["branch", "--quiet", "--move", "trunk"]);
    let trouble = checkout.refresh().await.unwrap_err();
    assert_eq!(trouble.failure.reason(), "NoBranch");
    assert!(trouble.to_string().contains("branch `main`"), "{trouble}");
    assert_eq!(trouble.last.unwrap().revision, rewritten.revision);
    repo.git(["branch", "--quiet", "main"]);
    assert_eq!(checkout.refresh().await.unwrap().revision, rewritten.revision);
    let empty = ground.repository("empty");
    let url = format!("git+file://{}", empty.0.display());
    assert_eq!(ground.open(&url, Options::default()).refresh().await.unwrap_err().failure.reason(), "NoBranch");
}

#[tokio::test]
async fn a_commit_without_a_manifest_is_no_wish_that_nothing_be_there() {
    let ground = Ground::new();
    let repo = ground.repository("site");
    repo.write("site/a.yaml", key("a"));
    repo.commit("one");
    let whole = ground.site("");
    let part = ground.site("#:site");
    whole.refresh().await.unwrap();
    part.refresh().await.unwrap();
    repo.git(["rm", "--quiet", "-r", "site"]);
    repo.write("README", "nothing");
    repo.commit("all gone");
    let trouble = whole.refresh().await.unwrap_err();
    assert_eq!(trouble.failure.reason(), "Empty", "{trouble}");
    assert_eq!(names(&trouble.last.unwrap()), ["a"]);
    let trouble = part.refresh().await.unwrap_err();
    assert_eq!(trouble.failure.reason(), "NoPath", "{trouble}");
    repo.write("site", "a file now");
    repo.commit("a file");
    assert_eq!(part.refresh().await.unwrap_err().failure.reason(), "NoPath");
}

#[tokio::test]
async fn a_folder_of_a_repository_has_the_fleet_above_it() {
    let ground = Ground::new();
    let repo = ground.repository("site");
    let fleet =
        "apiVersion: jvp.dev/v1alpha1\nkind: Fleet\nmetadata: {name: home}\nspec: {id: 5f0c2a9e-2d5c-4c1b-9f53-0f3c8f1c7b52}\n";
    repo.write("jvp.yaml", fleet);
    repo.write("prod/a.yaml", key("a"));
    repo.write("test/b.yaml", key("b"));
    repo.commit("one");
    let tree = ground.site("#main:prod").refresh().await.unwrap();
    assert_eq!(names(&tree), ["a", "home"]);
    assert!(!tree.set.whole, "the Fleet's folder has more in it");
    assert!(!tree.folder.parent().unwrap().join("test").exists());
}

#[tokio::test]
async fn a_commit_that_is_not_signed_by_who_may_is_refused() {
    let ground = Ground::new();
    let repo = ground.repository("site");
    for name in ["ann", "eve"] {
        let path = ground.path(name);
        let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(path).status().unwrap();
        assert!(made.success());
    }
    let signers = ground.path("signers");
    write(&signers, format!("ann@lab {}", fs::read_to_string(ground.path("ann.pub")).unwrap()));
    let sign = |name: &str, manifest: &str| {
        repo.write("a.yaml", key(manifest));
        repo.git(["add", "."]);
        let by = format!("user.signingkey={}", ground.path(name).display());
        repo.git(["-c", &by, "commit", "--quiet", "-S", "-m", name]);
    };
    let options = Options { verify_commits: Some(signers.clone()), ..Options::default() };
    sign("ann", "one");
    let checkout = ground.open(&ground.url("#main"), options.clone());
    checkout.accept(&checkout.refresh().await.unwrap()).await.unwrap();
    for refused in ["by another", "unsigned"] {
        if refused == "unsigned" {
            repo.write("a.yaml", key("two"));
            repo.commit("unsigned");
        } else {
            sign("eve", "three");
        }
        let trouble = checkout.refresh().await.unwrap_err();
        assert_eq!(trouble.failure.reason(), "NotSigned", "{trouble}");
        assert!(trouble.to_string().contains("Ann <ann@lab>") && trouble.to_string().contains("signers"), "{trouble}");
        assert_eq!(names(&trouble.last.unwrap()), ["one"], "{refused}");
    }
    sign("ann", "four");
    assert_eq!(names(&checkout.refresh().await.unwrap()), ["four"]);
    // Who may sign no longer isn't believed after a restart either.
    drop(checkout);
    write(&signers, format!("eve@lab {}", fs::read_to_string(ground.path("eve.pub")).unwrap()));
    let checkout = ground.open(&ground.url("#main"), options.clone());
    let trouble = checkout.refresh().await.unwrap_err();
    assert!(matches!(trouble.failure, Failure::NotSigned { .. }) && trouble.last.is_none(), "{trouble}");
    fs::remove_file(&signers).unwrap();
    assert!(checkout.refresh().await.unwrap_err().to_string().contains("allowed signers"));
    let folder = jvp::gitops::Checkout::open(repo.0.to_str().unwrap().parse().unwrap(), &ground.state(), options);
    assert_eq!(folder.err().unwrap().reason(), "NothingToVerify");
}

#[tokio::test]
async fn one_repository_is_fetched_by_one_at_a_time() {
    let ground = Ground::new();
    ground.repository("site");
    let first = ground.site("");
    let second = jvp::gitops::Checkout::open(ground.url("").parse().unwrap(), &ground.state(), Options::default());
    assert_eq!(second.err().unwrap().reason(), "Held");
    drop(first);
    ground.site("");
}

/// The repository that jvp fetches into.
fn own(ground: &Ground) -> std::path::PathBuf {
    let folders = fs::read_dir(ground.path("state/checkouts")).unwrap();
    folders.flatten().map(|entry| entry.path().join("repository.git")).find(|path| path.exists()).unwrap()
}

#[tokio::test]
async fn what_a_killed_or_cut_off_fetch_left_is_mended() {
    let ground = Ground::new();
    let repo = ground.repository("site");
    repo.write("a.yaml", key("a"));
    repo.commit("one");
    let checkout = ground.site("");
    checkout.refresh().await.unwrap();
    drop(checkout);
    let own = own(&ground);
    for lock in ["shallow.lock", "config.lock", "packed-refs.lock", "refs/jvp/fetched.lock"] {
        write(&own.join(lock), "");
    }
    write(&own.parent().unwrap().join("trees/.new/half.yaml"), "half");
    repo.write("a.yaml", key("b"));
    repo.commit("two");
    let checkout = ground.site("");
    assert_eq!(names(&checkout.refresh().await.unwrap()), ["b"]);
    // Power was lost before the pack reached the disk.
    for pack in fs::read_dir(own.join("objects/pack")).unwrap().flatten() {
        fs::set_permissions(pack.path(), std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        fs::write(pack.path(), "").unwrap();
    }
    drop(checkout);
    assert_eq!(names(&ground.site("").refresh().await.unwrap()), ["b"]);
    // Nor did the beginning of a repository.
    fs::remove_file(own.join("HEAD")).unwrap();
    assert_eq!(names(&ground.site("").refresh().await.unwrap()), ["b"]);
}

#[tokio::test]
async fn many_commits_leave_no_heap_behind() {
    let ground = Ground::new();
    let repo = ground.repository("site");
    let checkout = ground.site("");
    for count in 0..60 {
        repo.write("a.yaml", key(&format!("key-{count}")));
        repo.commit("again");
        checkout.refresh().await.unwrap();
    }
    let own = own(&ground);
    let packs = fs::read_dir(own.join("objects/pack")).unwrap().count();
    assert!(packs < 60, "{packs} files of packs, two or more a pack");
    assert!(fs::read_dir(own.parent().unwrap().join("trees")).unwrap().count() <= 2);
}

/// A program that is called `ssh` and does what it is told on this machine.
fn stand_in(ground: &Ground, body: &str) -> String {
    let script = format!("#!/bin/sh\necho \"$@\" >>{}\n{body}\n", ground.path("calls").display());
    write(&ground.path("bin/ssh"), script);
    fs::set_permissions(ground.path("bin/ssh"), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    format!("{}:{}", ground.path("bin").display(), std::env::var("PATH").unwrap())
}

#[test]
fn a_repository_is_fetched_over_ssh_without_a_question() {
    let ground = Ground::new();
    let repo = ground.repository("site");
    repo.write("a.yaml", key("a"));
    repo.commit("one");
    let path = stand_in(&ground, "for last; do :; done\nexec sh -c \"$last\"");
    let place = ground.path("").display().to_string();
    again(
        &[],
        "fetched::by_ssh",
        &[("PATH", &path), ("JVP_TEST_SSH", &place), ("GIT_SSH_COMMAND", "false"), ("GIT_SSH", "false")],
    );
    let calls = fs::read_to_string(ground.path("calls")).unwrap();
    assert!(calls.contains("BatchMode=yes") && calls.contains("git@kvm1"), "{calls}");
}

#[tokio::test]
async fn by_ssh() {
    let Some(place) = told("JVP_TEST_SSH") else { return };
    let state = jvp::store::StateDir::open(&place.join("state")).unwrap();
    let source = format!("git+ssh://git@kvm1{}#main", place.join("site").display());
    let checkout = jvp::gitops::Checkout::open(source.parse().unwrap(), &state, Options::default()).unwrap();
    assert_eq!(names(&checkout.refresh().await.unwrap()), ["a"]);
}

#[test]
fn a_host_that_says_nothing_is_given_up_and_what_was_started_ends() {
    let ground = Ground::new();
    let path = stand_in(&ground, &format!("echo $$ >{}\nexec sleep 100", ground.path("pid").display()));
    let place = ground.path("").display().to_string();
    let began = Instant::now();
    again(&[], "fetched::by_ssh_to_nobody", &[("PATH", &path), ("JVP_TEST_SSH_HANGS", &place)]);
    assert!(began.elapsed() < Duration::from_secs(30));
    let pid = fs::read_to_string(ground.path("pid")).unwrap();
    let alive = || fs::read_to_string(format!("/proc/{}/cmdline", pid.trim())).is_ok_and(|line| line.contains("sleep"));
    for _ in 0..100 {
        if !alive() {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("the transport runs still");
}

#[tokio::test]
async fn by_ssh_to_nobody() {
    let Some(place) = told("JVP_TEST_SSH_HANGS") else { return };
    let state = jvp::store::StateDir::open(&place.join("state")).unwrap();
    let options = Options { deadline: Duration::from_secs(1), ..Options::default() };
    let checkout = jvp::gitops::Checkout::open("git+ssh://git@kvm1/site".parse().unwrap(), &state, options).unwrap();
    let trouble = checkout.refresh().await.unwrap_err();
    assert_eq!(trouble.failure.reason(), "DeadlineExceeded", "{trouble}");
    // Whoever doesn't wait for the deadline ends it as well.
    assert!(tokio::time::timeout(Duration::from_millis(200), checkout.refresh()).await.is_err());
}

#[test]
fn a_full_disk_is_told_and_the_last_tree_stays() {
    if left_out() {
        return;
    }
    let ground = Ground::new();
    let repo = ground.repository("site");
    repo.write("a.yaml", key("a"));
    repo.commit("one");
    fs::create_dir(ground.path("state")).unwrap();
    let mount = format!("mount -t tmpfs -o size=4m,mode=755 tmpfs {} && exec \"$@\"", ground.path("state").display());
    let place = ground.path("").display().to_string();
    again(&["unshare", "-m", "sh", "-c", &mount, "sh"], "fetched::on_a_small_disk", &[("JVP_TEST_DISK", &place)]);
}

#[tokio::test]
async fn on_a_small_disk() {
    let Some(place) = told("JVP_TEST_DISK") else { return };
    let state = jvp::store::StateDir::open(&place.join("state")).unwrap();
    let source = format!("git+file://{}", place.join("site").display());
    let checkout = jvp::gitops::Checkout::open(source.parse().unwrap(), &state, Options::default()).unwrap();
    let one = checkout.refresh().await.unwrap();
    let repo = Repo(place.join("site"));
    // As a pack it is small, as a file it doesn't fit; the second doesn't fit either way.
    let mut noise = vec![0; 6 << 20];
    for step in ["zeros", "noise"] {
        if step == "noise" {
            std::io::Read::read_exact(&mut fs::File::open("/dev/urandom").unwrap(), &mut noise).unwrap();
        }
        repo.write("image.img", &noise);
        repo.commit("an image");
        let trouble = checkout.refresh().await.unwrap_err();
        assert_eq!(trouble.failure.reason(), "DiskFull", "{step}: {trouble}");
        assert_eq!(names(&trouble.last.unwrap()), names(&one));
    }
    assert!(Path::new(&one.folder).join("a.yaml").exists());
    repo.git(["rm", "--quiet", "image.img"]);
    repo.write("b.yaml", key("b"));
    repo.commit("without it");
    assert_eq!(names(&checkout.refresh().await.unwrap()), ["a", "b"]);
}
