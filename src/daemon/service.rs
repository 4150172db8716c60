//! What systemd is told, where it started the daemon: that it is ready, that it lives, that it ends.

use std::time::Duration;

use sd_notify::NotifyState;

use super::view::Shared;

/// Tells systemd how the daemon is, for as long as it is not dropped.
pub struct Notifier(tokio::task::JoinHandle<()>);

impl Drop for Notifier {
    fn drop(&mut self) {
        self.0.abort();
        tell(&[NotifyState::Stopping]);
    }
}

/// Begins to tell. It says nothing where nobody listens. An engine that doesn't turn is not said to live, and systemd starts it anew.
pub fn notify(shared: Shared) -> Notifier {
    let watchdog = sd_notify::watchdog_enabled();
    let pause = watchdog.map_or(Duration::from_secs(5), |every| every / 3).min(Duration::from_secs(5));
    Notifier(tokio::spawn(async move {
        let mut ready = false;
        loop {
            let status = status(&shared);
            tell(&[NotifyState::Status(&status)]);
            let is_ready = {
                let view = shared.view();
                view.looked.is_some() || view.trouble.is_some()
            };
            if is_ready && !ready {
                ready = true;
                tell(&[NotifyState::Ready]);
            }
            if watchdog.is_some_and(|every| shared.silence() < every) {
                tell(&[NotifyState::Watchdog]);
            }
            tokio::time::sleep(if ready { pause } else { Duration::from_millis(100) }).await;
        }
    }))
}

fn status(shared: &Shared) -> String {
    let view = shared.view();
    let amiss = view.objects.values().filter(|status| !status.is("Synced")).count();
    let revision = view.revision.as_ref().map_or("no manifests yet", |revision| revision.id.as_str());
    let trouble = view.trouble.as_ref().map(|_| "; the newest manifests can't be used").unwrap_or_default();
    format!("{revision}: {} objects, {amiss} not as wanted, {} in hand{trouble}", view.objects.len(), view.running.len())
}

fn tell(what: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(what) {
        tracing::debug!(%error, "systemd was not told");
    }
}
