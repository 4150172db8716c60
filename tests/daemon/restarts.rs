//! Restarts that wait: for a window, or for a guest's own reboot.

use std::sync::atomic::{AtomicI64, Ordering};

use jiff::{SignedDuration, Timestamp};
use jvp::daemon::Clock;

use super::*;

/// A clock on the wall that goes with tokio's time, and that a test can put forward and back.
#[derive(Clone)]
struct Wall(Arc<AtomicI64>);

impl Wall {
    fn at(time: &str) -> (Self, Clock) {
        let (wall, began) = (Self(Arc::default()), tokio::time::Instant::now());
        let (start, moved): (Timestamp, _) = (time.parse().unwrap(), wall.0.clone());
        let clock = Clock::new(move || {
            let seconds = i64::try_from(began.elapsed().as_secs()).unwrap() + moved.load(Ordering::Relaxed);
            start + SignedDuration::from_secs(seconds)
        });
        (wall, clock)
    }

    fn moves(&self, seconds: i64) {
        self.0.fetch_add(seconds, Ordering::Relaxed);
    }
}

/// A VM with this memory, which a running guest can't be given, and this policy.
fn machine(memory: &str, policy: &str) -> String {
    vm("web", &format!(", updatePolicy: {{{policy}}}")).replace("64Mi", memory)
}

const NIGHTLY: &str = "restart: Now, windows: [{cron: \"0 3 * * *\", duration: 1h, timeZone: Europe/Vienna}]";

fn starts(bench: &Bench) -> usize {
    bench.times("domain-start web")
}

fn message(bench: &Bench, condition: &str) -> String {
    let object: ObjectRef = "vm/web".parse().unwrap();
    let view = bench.work().shared.view();
    view.objects[&object].condition(condition).map(|condition| condition.message.clone()).unwrap_or_default()
}

/// A VM that runs with less memory than it is to have, by this clock.
async fn waiting(clock: Clock, policy: &str, heal: bool) -> Bench {
    let options = Options { clock, heal, ..Options::default() };
    let mut bench = Bench::with(options).begun(&machine("64Mi", policy)).await;
    bench.commit(&machine("96Mi", policy));
    bench.until(|bench| bench.is("vm/web", "RestartRequired") && bench.is_synced()).await;
    bench
}

#[tokio::test(start_paused = true)]
async fn a_restart_waits_for_its_window_and_is_done_when_it_opens() {
    for heal in [true, false] {
        let (_, clock) = Wall::at("2026-11-29T01:30:00Z");
        let bench = waiting(clock, NIGHTLY, heal).await;
        let said = message(&bench, "RestartRequired");
        assert!(said.contains("/memory") && said.contains("2026-11-29 03:00 +01:00 (Europe/Vienna)"), "{said}");
        bench.pass(1700).await;
        assert_eq!(starts(&bench), 1);
        bench.until(|bench| starts(bench) == 2).await;
        bench.until(|bench| bench.is_synced() && !bench.is("vm/web", "RestartRequired")).await;
        assert!(["Drifted", "Flapping"].iter().all(|condition| !bench.is("vm/web", condition)));
        bench.pass(3600).await;
        assert_eq!(starts(&bench), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn a_window_that_is_open_when_the_daemon_begins_is_used() {
    let (_, clock) = Wall::at("2026-11-29T00:00:00Z");
    let mut bench = waiting(clock, NIGHTLY, true).await;
    bench.end().await;
    let (_, clock) = Wall::at("2026-11-29T02:59:00Z");
    bench.options.clock = clock;
    bench.start();
    bench.commit(&machine("96Mi", NIGHTLY));
    bench.until(|bench| starts(bench) == 2).await;
    bench.until(|bench| bench.is_synced() && !bench.is("vm/web", "RestartRequired")).await;
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_jumps_opens_a_window_and_one_that_jumps_back_opens_none() {
    let (wall, clock) = Wall::at("2026-11-29T12:00:00Z");
    let mut bench = waiting(clock, NIGHTLY, true).await;
    wall.moves(24 * 3600);
    bench.pass(300).await;
    assert_eq!(starts(&bench), 1, "a day later is as much outside of a window");
    wall.moves(14 * 3600 + 600);
    bench.pass(20).await;
    assert_eq!(starts(&bench), 2);
    bench.until(Bench::is_synced).await;
    wall.moves(-24 * 3600 - 7200);
    bench.commit(&machine("128Mi", NIGHTLY));
    bench.until(|bench| bench.is("vm/web", "RestartRequired")).await;
    bench.pass(600).await;
    assert_eq!(starts(&bench), 2);
}

#[tokio::test(start_paused = true)]
async fn a_window_that_closed_while_nothing_could_be_begun_is_over() {
    let (_, clock) = Wall::at("2026-11-29T01:30:00Z");
    let bench = waiting(clock, NIGHTLY, true).await;
    let (answer, paused) = oneshot::channel();
    assert!(bench.work().asks.ask(Ask::Hold(Claims::default(), answer)).await);
    let token = paused.await.unwrap();
    bench.pass(2 * 3600).await;
    drop(token);
    bench.pass(600).await;
    assert_eq!(starts(&bench), 1);
    bench.until(|bench| message(bench, "RestartRequired").contains("2026-11-30 03:00")).await;
}

fn reboots(bench: &Bench) {
    bench.node.hint(&Hint::Object(Target::Domain("web".into())), "rebooted");
}

#[tokio::test(start_paused = true)]
async fn a_guest_that_reboots_is_restarted_for_what_waits_and_only_for_that() {
    let policy = "restart: OnReboot";
    let (_, clock) = Wall::at("2026-11-29T12:00:00Z");
    let mut bench = waiting(clock, policy, true).await;
    assert!(message(&bench, "RestartRequired").contains("when its guest reboots"), "{}", message(&bench, "RestartRequired"));
    bench.node.hint(&Hint::Object(Target::Domain("web".into())), "resumed");
    bench.pass(300).await;
    assert_eq!(starts(&bench), 1);
    reboots(&bench);
    bench.pass(10).await;
    assert_eq!(starts(&bench), 2);
    bench.until(|bench| bench.is_synced() && !bench.is("vm/web", "RestartRequired")).await;
    // A reboot with nothing that waits is the guest's own affair, also for what changes right after it.
    reboots(&bench);
    bench.pass(5).await;
    bench.commit(&machine("128Mi", policy));
    bench.until(|bench| bench.is("vm/web", "RestartRequired")).await;
    bench.pass(300).await;
    assert_eq!(starts(&bench), 2);
    // One that stops is started with the new definition, as ever.
    bench.destroy("web");
    bench.until(|bench| bench.is_synced() && !bench.is("vm/web", "RestartRequired")).await;
    assert_eq!(starts(&bench), 3);
}

#[tokio::test(start_paused = true)]
async fn a_reboot_outside_of_the_windows_counts_for_nothing_and_one_within_does() {
    let policy = "restart: OnReboot, windows: [{cron: \"0 3 * * *\", duration: 1h}]";
    let (_, clock) = Wall::at("2026-11-29T02:55:00Z");
    let bench = waiting(clock, policy, true).await;
    reboots(&bench);
    bench.pass(1200).await;
    assert_eq!(starts(&bench), 1);
    reboots(&bench);
    bench.pass(10).await;
    assert_eq!(starts(&bench), 2);
}

#[tokio::test(start_paused = true)]
async fn a_restart_at_a_reboot_that_fails_is_tried_again_for_as_long_as_the_reboot_counts() {
    for (times, restarted) in [(2, true), (1000, false)] {
        let (_, clock) = Wall::at("2026-11-29T12:00:00Z");
        let bench = waiting(clock, "restart: OnReboot", true).await;
        bench.node.inject_times(When::On("domain-shutdown".into(), "web".into()), How::failed("not now"), times);
        reboots(&bench);
        bench.pass(180).await;
        let asked = bench.times("domain-shutdown web");
        assert_eq!((starts(&bench) == 2, bench.times("domain-destroy web")), (restarted, 0));
        assert!(if restarted { asked == 3 } else { (3..=8).contains(&asked) }, "{asked}");
        // What comes later is no longer the same interruption.
        bench.pass(1800).await;
        assert_eq!(bench.times("domain-shutdown web"), asked);
        assert!(restarted || message(&bench, "RestartRequired").contains("when its guest reboots"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_restart_at_a_reboot_is_done_once_though_something_waits_still() {
    let (_, clock) = Wall::at("2026-11-29T12:00:00Z");
    let mut bench = waiting(clock, "restart: OnReboot", true).await;
    bench.node.takes(Duration::from_secs(5));
    reboots(&bench);
    bench.until(|bench| bench.times("domain-shutdown web") == 1).await;
    // Its manifest changes while it is restarted.
    bench.commit(&machine("128Mi", "restart: OnReboot"));
    bench.pass(600).await;
    assert_eq!(starts(&bench), 2);
    assert!(bench.is("vm/web", "RestartRequired"));
}
