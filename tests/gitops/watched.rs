//! Folders that are watched: each change is one tick, and the tree behind a tick is whole.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jvp::gitops::{Checkout, Options, Tick, Tree, Watch};

use crate::ground::{Ground, QUIET, again, key, names, told, write};

/// Longer than any tick takes on a busy machine.
const LONG: Duration = Duration::from_secs(20);
/// Long enough that a second tick would have come.
const AFTER: Duration = Duration::from_millis(700);

/// The next tick, and that there is no other after it.
async fn one(watch: &mut Watch) -> Tick {
    let tick = tokio::time::timeout(LONG, watch.tick()).await.expect("no tick came");
    none(watch).await;
    tick
}

async fn none(watch: &mut Watch) {
    if let Ok(tick) = tokio::time::timeout(AFTER, watch.tick()).await {
        panic!("a tick too many: {tick:?}");
    }
}

async fn watched(ground: &Ground, name: &str) -> (Checkout, Watch) {
    let checkout = ground.folder(name);
    let watch = checkout.watch().await;
    assert_eq!(watch.polling(), None);
    (checkout, watch)
}

fn set(names: &[&str]) -> BTreeSet<PathBuf> {
    names.iter().map(PathBuf::from).collect()
}

async fn read(checkout: &Checkout) -> Tree {
    checkout.refresh().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_save_of_any_editor_is_one_tick_on_a_whole_tree() {
    let ground = Ground::new();
    let a = ground.path("site/a.yaml");
    write(&a, key("a"));
    write(&ground.path("site/vms/b.yaml"), key("b"));
    let (checkout, mut watch) = watched(&ground, "site").await;
    none(&mut watch).await;
    let saves: [(&str, &dyn Fn(&str)); 5] = [
        ("in place", &|text| fs::write(&a, text).unwrap()),
        ("in two strokes", &|text| {
            let mut file = fs::File::create(&a).unwrap();
            for half in text.as_bytes().chunks(text.len() / 2 + 1) {
                file.write_all(half).unwrap();
                std::thread::sleep(QUIET / 3);
            }
        }),
        ("beside and renamed", &|text| {
            write(&ground.path("site/.a.yaml.swp"), text);
            fs::rename(ground.path("site/.a.yaml.swp"), &a).unwrap();
        }),
        ("with a backup, as vim does", &|text| {
            fs::rename(&a, ground.path("site/a.yaml~")).unwrap();
            fs::write(&a, text).unwrap();
            fs::remove_file(ground.path("site/a.yaml~")).unwrap();
        }),
        ("removed and made anew", &|text| {
            fs::remove_file(&a).unwrap();
            std::thread::sleep(QUIET / 3);
            fs::write(&a, text).unwrap();
        }),
    ];
    for (turn, (how, save)) in saves.iter().enumerate() {
        let name = format!("key-{turn}");
        save(&key(&name));
        let tick = one(&mut watch).await;
        assert_eq!((tick.files, tick.lost), (set(&["a.yaml"]), false), "{how}");
        assert_eq!(names(&read(&checkout).await), [name.as_str(), "b"], "{how}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changes_nothing_gives_no_tick() {
    let ground = Ground::new();
    write(&ground.path("site/a.yaml"), key("a"));
    let (checkout, mut watch) = watched(&ground, "site").await;
    for _ in 0..3 {
        read(&checkout).await;
    }
    write(&ground.path("site/.a.yaml.swp"), "an editor's own");
    write(&ground.path("beside.yaml"), key("beside"));
    write(&ground.path("site/b.yaml"), key("b"));
    fs::remove_file(ground.path("site/b.yaml")).unwrap();
    none(&mut watch).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_beside_the_folder_holds_nothing_up() {
    let ground = Ground::new();
    let a = ground.path("site/a.yaml");
    write(&a, key("a"));
    let (checkout, mut watch) = watched(&ground, "site").await;
    // A log that somebody writes to all the time and never closes.
    let (mut log, (stop, stopped)) = (fs::File::create(ground.path("beside.log")).unwrap(), std::sync::mpsc::channel::<()>());
    let writer = std::thread::spawn(move || {
        while stopped.recv_timeout(QUIET / 10).is_err_and(|error| error == std::sync::mpsc::RecvTimeoutError::Timeout) {
            log.write_all(b"a line\n").unwrap();
        }
    });
    std::thread::sleep(QUIET);
    write(&a, key("b"));
    let saved = Instant::now();
    assert_eq!(watch.tick().await.files, set(&["a.yaml"]));
    assert_eq!(names(&read(&checkout).await), ["b"]);
    let took = saved.elapsed();
    drop(stop);
    writer.join().unwrap();
    assert!(took < LONG / 4, "{took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkout_of_a_thousand_files_is_one_tick_on_all_of_it() {
    let ground = Ground::new();
    let repo = ground.repository("site");
    for count in 0..1000 {
        repo.write(&format!("rack-{}/key-{count}.yaml", count % 20), key(&format!("one-{count}")));
    }
    repo.commit("one");
    repo.git(["checkout", "--quiet", "-b", "two"]);
    repo.git(["rm", "--quiet", "-r", "."]);
    for count in 0..1000 {
        repo.write(&format!("rack-{}/key-{count}.yaml", count % 25), key(&format!("two-{count}")));
    }
    let second = repo.commit("two");
    repo.git(["checkout", "--quiet", "main"]);
    let (checkout, mut watch) = watched(&ground, "site").await;
    assert_eq!(read(&checkout).await.set.documents.len(), 1000);
    repo.git(["checkout", "--quiet", "two"]);
    let tick = one(&mut watch).await;
    assert_eq!((tick.files.len(), tick.lost), (1800, false), "those that came, those that went, and those that are others");
    let tree = read(&checkout).await;
    assert_eq!(tree.revision.id, second);
    let two = names(&tree).iter().filter(|name| name.starts_with("two-")).count();
    assert_eq!(two, 1000);
    // Without a tick, right into a checkout: the tree is whole all the same.
    for branch in ["main", "two", "main"] {
        let mut git =
            std::process::Command::new("git").args(["checkout", "--quiet", branch]).current_dir(&repo.0).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(10));
        let tree = read(&checkout).await;
        assert!(git.wait().unwrap().success());
        let kinds: BTreeSet<String> = names(&tree).iter().map(|name| name[..3].to_owned()).collect();
        assert_eq!(kinds.len(), 1, "{branch}: half of one and half of the other");
        tokio::time::timeout(LONG, watch.tick()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_changes_no_file_is_a_new_revision() {
    let ground = Ground::new();
    let repo = ground.repository("site");
    repo.write("a.yaml", key("a"));
    let first = repo.commit("one");
    let (checkout, mut watch) = watched(&ground, "site").await;
    repo.write("a.yaml", key("b"));
    one(&mut watch).await;
    assert_eq!(read(&checkout).await.revision.id, format!("{first}-dirty"));
    let second = repo.commit("two");
    let tick = one(&mut watch).await;
    assert!(tick.files.is_empty());
    assert_eq!(read(&checkout).await.revision.id, second);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_is_swapped_is_one_tick_on_the_new_tree() {
    let ground = Ground::new();
    for turn in 0..4 {
        for name in ["x", "y"] {
            write(&ground.path(&format!("trees/{turn}/{name}.yaml")), key(&format!("{name}-{turn}")));
        }
    }
    let swap = |turn: u32, link: &str| {
        symlink(format!("trees/{turn}"), ground.path("link.new")).unwrap();
        fs::rename(ground.path("link.new"), ground.path(link)).unwrap();
    };
    swap(0, "current");
    // A link to a link, as git-sync's volume is often mounted.
    symlink("current", ground.path("site")).unwrap();
    let (checkout, mut watch) = watched(&ground, "site").await;
    assert_eq!(names(&read(&checkout).await), ["x-0", "y-0"]);
    for turn in 1..4 {
        swap(turn, "current");
        fs::remove_dir_all(ground.path(&format!("trees/{}", turn - 1))).unwrap();
        let tick = one(&mut watch).await;
        assert_eq!(tick.files, set(&["x.yaml", "y.yaml"]));
        let tree = read(&checkout).await;
        assert_eq!(names(&tree), [format!("x-{turn}"), format!("y-{turn}")]);
        assert_eq!(tree.folder, ground.path(&format!("trees/{turn}")));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn links_within_the_folder_are_swapped_as_a_mounted_config_map_does_it() {
    let ground = Ground::new();
    for turn in 0..2 {
        write(&ground.path(&format!("site/..{turn}/a.yaml")), key(&format!("a-{turn}")));
    }
    symlink("..0", ground.path("site/..data")).unwrap();
    symlink("..data/a.yaml", ground.path("site/a.yaml")).unwrap();
    let (checkout, mut watch) = watched(&ground, "site").await;
    assert_eq!(names(&read(&checkout).await), ["a-0"]);
    symlink("..1", ground.path("site/..new")).unwrap();
    fs::rename(ground.path("site/..new"), ground.path("site/..data")).unwrap();
    assert_eq!(one(&mut watch).await.files, set(&["a.yaml"]));
    assert_eq!(names(&read(&checkout).await), ["a-1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_somebody_still_writes_to_is_waited_for() {
    let ground = Ground::new();
    write(&ground.path("site/a.yaml"), key("a"));
    let (checkout, mut watch) = watched(&ground, "site").await;
    let mut file = fs::File::create(ground.path("site/many.yaml")).unwrap();
    file.write_all(key("first").as_bytes()).unwrap();
    none(&mut watch).await;
    let reading = tokio::spawn(async move { (read(&checkout).await, checkout) });
    tokio::time::sleep(AFTER).await;
    assert!(!reading.is_finished(), "half of a file is a valid set here, and not what was meant");
    file.write_all(format!("---\n{}", key("second")).as_bytes()).unwrap();
    drop(file);
    assert_eq!(one(&mut watch).await.files, set(&["many.yaml"]));
    let (tree, _checkout) = reading.await.unwrap();
    assert_eq!(names(&tree), ["a", "first", "second"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_without_an_end_holds_up_the_rest_for_a_while_only() {
    let ground = Ground::new();
    let repo = ground.repository("site");
    repo.write("a.yaml", key("a"));
    repo.commit("one");
    let options = Options { longest: Duration::from_secs(1), ..Options::default() };
    let checkout = ground.open(repo.0.to_str().unwrap(), options);
    let mut watch = checkout.watch().await;
    // A git that was killed left its lock, and somebody keeps a file open for ever.
    repo.write(".git/index.lock", "");
    let mut file = fs::File::create(repo.0.join("b.yaml")).unwrap();
    file.write_all(key("b").as_bytes()).unwrap();
    assert_eq!(one(&mut watch).await.files, set(&["b.yaml"]));
    let began = Instant::now();
    assert_eq!(names(&read(&checkout).await), ["a", "b"]);
    assert!(began.elapsed() < LONG / 2);
    fs::remove_file(repo.0.join(".git/index.lock")).unwrap();
    // A file that changes at every look never becomes a tree.
    let (stop, path) = (std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false)), repo.0.join("c.yaml"));
    let until = std::sync::Arc::clone(&stop);
    let writer = std::thread::spawn(move || {
        let mut count = 0u64;
        while !until.load(std::sync::atomic::Ordering::Relaxed) {
            count += 1;
            fs::write(&path, format!("{}# {count}\n", key("c"))).unwrap();
        }
    });
    // On a busy machine the writer may rest for longer than the folder has to.
    let mut found = checkout.refresh().await;
    for _ in 0..20 {
        if found.is_err() {
            break;
        }
        found = checkout.refresh().await;
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    writer.join().unwrap();
    let trouble = found.unwrap_err();
    assert_eq!(trouble.failure.reason(), "Unsettled", "{trouble}");
    assert_eq!(names(&trouble.last.unwrap()), ["a", "b"]);
    assert_eq!(names(&read(&checkout).await), ["a", "b", "c"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn folders_that_come_and_go_are_watched_as_they_are() {
    let ground = Ground::new();
    write(&ground.path("site/a.yaml"), key("a"));
    let (checkout, mut watch) = watched(&ground, "site").await;
    for count in 0..50 {
        write(&ground.path(&format!("site/new/deep/key-{count}.yaml")), key(&format!("key-{count}")));
    }
    assert_eq!(one(&mut watch).await.files.len(), 50);
    assert_eq!(names(&read(&checkout).await).len(), 51);
    write(&ground.path("site/new/deep/more.yaml"), key("more"));
    assert_eq!(one(&mut watch).await.files, set(&["new/deep/more.yaml"]));
    fs::rename(ground.path("site/new"), ground.path("site/old")).unwrap();
    assert_eq!(one(&mut watch).await.files.len(), 102);
    write(&ground.path("site/old/deep/more.yaml"), key("other"));
    assert_eq!(one(&mut watch).await.files, set(&["old/deep/more.yaml"]));
    // Removed and made anew at once, under the same name.
    fs::remove_dir_all(ground.path("site/old")).unwrap();
    write(&ground.path("site/old/deep/last.yaml"), key("last"));
    one(&mut watch).await;
    write(&ground.path("site/old/deep/last.yaml"), key("end"));
    assert_eq!(one(&mut watch).await.files, set(&["old/deep/last.yaml"]));
    assert_eq!(names(&read(&checkout).await), ["a", "end"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkout_that_is_lost_is_told_and_found_again() {
    let ground = Ground::new();
    write(&ground.path("site/a.yaml"), key("a"));
    let (checkout, mut watch) = watched(&ground, "site").await;
    let good = read(&checkout).await;
    checkout.accept(&good).await.unwrap();
    let site = ground.path("site");
    let make = || write(&site.join("a.yaml"), key("a"));
    let lose: [(&str, &dyn Fn(), &dyn Fn()); 4] = [
        ("Missing", &|| fs::remove_dir_all(&site).unwrap(), &make),
        ("Missing", &|| fs::rename(&site, ground.path("away")).unwrap(), &|| fs::rename(ground.path("away"), &site).unwrap()),
        ("Empty", &|| fs::remove_file(site.join("a.yaml")).unwrap(), &make),
        (
            "NotAFolder",
            &|| {
                fs::remove_dir_all(&site).unwrap();
                fs::write(&site, "a file").unwrap();
            },
            &|| {
                fs::remove_file(&site).unwrap();
                make();
            },
        ),
    ];
    for (reason, lose, find) in lose {
        lose();
        one(&mut watch).await;
        let trouble = checkout.refresh().await.unwrap_err();
        assert_eq!(trouble.failure.reason(), reason, "{trouble}");
        assert!(trouble.to_string().contains(site.to_str().unwrap()), "{trouble}");
        assert_eq!(trouble.last.unwrap().digest, good.digest, "what was read is kept");
        find();
        one(&mut watch).await;
        assert_eq!(names(&read(&checkout).await), ["a"], "after {reason}");
        // It is watched again.
        write(&site.join("b.yaml"), key("b"));
        assert_eq!(one(&mut watch).await.files, set(&["b.yaml"]), "after {reason}");
        fs::remove_file(site.join("b.yaml")).unwrap();
        one(&mut watch).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_whose_parent_is_replaced_is_watched_where_it_is() {
    let ground = Ground::new();
    for name in ["mnt", "other"] {
        write(&ground.path(&format!("{name}/deep/site/a.yaml")), key(name));
    }
    let (checkout, mut watch) = watched(&ground, "mnt/deep/site").await;
    fs::rename(ground.path("mnt"), ground.path("away")).unwrap();
    fs::rename(ground.path("other"), ground.path("mnt")).unwrap();
    one(&mut watch).await;
    assert_eq!(names(&read(&checkout).await), ["other"]);
    write(&ground.path("mnt/deep/site/a.yaml"), key("again"));
    assert_eq!(one(&mut watch).await.files, set(&["a.yaml"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tick_that_nobody_waited_for_is_there_later() {
    let ground = Ground::new();
    write(&ground.path("site/a.yaml"), key("a"));
    let (_checkout, mut watch) = watched(&ground, "site").await;
    write(&ground.path("site/b.yaml"), key("b"));
    assert!(tokio::time::timeout(Duration::from_millis(1), watch.tick()).await.is_err());
    tokio::time::sleep(AFTER).await;
    write(&ground.path("site/c.yaml"), key("c"));
    tokio::time::sleep(AFTER).await;
    assert_eq!(one(&mut watch).await.files, set(&["b.yaml", "c.yaml"]));
}

#[tokio::test]
async fn a_repository_is_asked_at_each_interval() {
    let ground = Ground::new();
    let interval = Duration::from_millis(600);
    let checkout = ground.open("git+https://host.invalid/site.git", Options { interval, ..Options::default() });
    let mut watch = checkout.watch().await;
    let began = Instant::now();
    for turn in 1..4 {
        // Waiting for something else meanwhile puts nothing off.
        while tokio::time::timeout(interval / 4, watch.tick()).await.is_err() {}
        assert!(began.elapsed() >= interval * turn);
        assert!(began.elapsed() < LONG);
    }
}

#[test]
fn where_the_system_has_no_watches_left_the_folder_is_looked_at() {
    let ground = Ground::new();
    write(&ground.path("site/vms/a.yaml"), key("a"));
    let place = ground.path("").display().to_string();
    // A user namespace has limits of its own.
    for (limit, most) in [("max_inotify_instances", "0"), ("max_inotify_watches", "1")] {
        let script = format!("echo {most} >/proc/sys/user/{limit} && exec \"$@\"");
        again(
            &["unshare", "--user", "--map-root-user", "sh", "-c", &script, "sh"],
            "watched::without_notifications",
            &[("JVP_TEST_POLL", &place)],
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_notifications() {
    let Some(place) = told("JVP_TEST_POLL") else { return };
    let state = jvp::store::StateDir::open(&place.join("state")).unwrap();
    let site: &Path = &place.join("site");
    let checkout = Checkout::open(site.to_str().unwrap().parse().unwrap(), &state, Options::default()).unwrap();
    let mut watch = checkout.watch().await;
    let why = watch.polling().unwrap();
    assert!(why.contains("fs.inotify.max_user_"), "{why}");
    let _ = fs::remove_file(site.join("vms/b.yaml"));
    let _ = tokio::time::timeout(Duration::from_secs(5), watch.tick()).await;
    write(&site.join("vms/b.yaml"), key("b"));
    assert_eq!(one(&mut watch).await.files, set(&["vms/b.yaml"]));
    assert_eq!(names(&read(&checkout).await), ["a", "b"]);
}
