//! Conditions that only a guest tells: when they come, when they go, and how seldom it is asked.

use super::*;

const RESULT: &str = "/run/cloud-init/result.json";

fn manifests() -> String {
    pool()
        + &network("lan", 1)
        + &vm(
            "web",
            ", guestAgent: true, interfaces: [{name: lan, network: lan}], cloudInit: {hostname: web}, \
             disks: [{name: root, claim: {pool: main, capacity: 8Mi}}]",
        )
}

impl Bench {
    /// A condition of the VM's: its status, why, and what it says.
    fn told(&self, condition: &str) -> Option<(ConditionStatus, String, String)> {
        let view = self.work().shared.view();
        let found = view.objects[&"vm/web".parse::<ObjectRef>().unwrap()].condition(condition)?;
        Some((found.status, found.reason.clone(), found.message.clone()))
    }

    fn since(&self, condition: &str) -> String {
        let view = self.work().shared.view();
        view.objects[&"vm/web".parse::<ObjectRef>().unwrap()].condition(condition).unwrap().since.clone()
    }

    fn agent_comes(&self) {
        self.node.with(|state| state.agent_comes_up("web", &["127.0.0.1", "10.9.1.5"]));
    }

    fn cloud_init_ends(&self, errors: &str) {
        self.node.with(|state| {
            let result = format!("{{\"v1\": {{\"errors\": [{errors}]}}}}");
            state.domains.get_mut("web").unwrap().guest_files.insert(RESULT.into(), result);
        });
    }

    fn questions(&self) -> usize {
        self.node.calls().iter().filter(|call| call.word == "read" && call.object == "guests").count()
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_guest_tells_becomes_conditions_and_makes_its_vm_ready() {
    let bench = Bench::new().begun(&manifests()).await;
    bench.pass(20).await;
    let (status, reason, message) = bench.told("Ready").unwrap();
    assert_eq!((status, reason.as_str()), (ConditionStatus::False, "GuestNotReady"));
    assert!(message.contains("AgentConnected (no agent is there yet)"), "{message}");
    assert_eq!(bench.told("AgentConnected").unwrap().0, ConditionStatus::False);
    // The agent's coming is an event, and its address is asked for at once.
    bench.agent_comes();
    bench.pass(2).await;
    assert_eq!(bench.told("AgentConnected").unwrap().0, ConditionStatus::True);
    assert_eq!(bench.told("AddressAssigned").unwrap(), (ConditionStatus::True, "AsTold".into(), "10.9.1.5".into()));
    assert_eq!(bench.told("CloudInitDone").unwrap().0, ConditionStatus::False);
    assert!(!bench.is("vm/web", "Ready"));
    bench.cloud_init_ends("");
    bench.until(|bench| bench.is("vm/web", "Ready")).await;
    assert!(bench.is("vm/web", "CloudInitDone") && bench.is_synced());
    // Nobody is asked what is known.
    bench.node.forget_calls();
    bench.pass(3600).await;
    assert_eq!(bench.questions(), 0);
    // A guest that is started anew tells anew.
    bench.destroy("web");
    bench.until(|bench| bench.runs("web")).await;
    bench.pass(5).await;
    assert!(!bench.is("vm/web", "Ready") && !bench.is("vm/web", "AgentConnected"));
}

#[tokio::test(start_paused = true)]
async fn a_guest_that_says_nothing_is_asked_ever_more_seldom() {
    let bench = Bench::new().begun(&manifests()).await;
    bench.pass(3600).await;
    let asked = bench.questions();
    assert!((10..=20).contains(&asked), "{asked}");
    bench.agent_comes();
    bench.pass(2).await;
    assert!(bench.is("vm/web", "AddressAssigned"));
}

#[tokio::test(start_paused = true)]
async fn a_first_boot_that_ended_with_errors_is_told_and_not_waited_for() {
    let bench = Bench::new().begun(&manifests()).await;
    bench.agent_comes();
    bench.cloud_init_ends("\"('final', ProcessExecutionError)\"");
    bench.until(|bench| bench.told("CloudInitDone").is_some_and(|(_, reason, _)| reason == "Failed")).await;
    assert!(bench.told("Ready").unwrap().2.contains("ProcessExecutionError"));
    bench.node.forget_calls();
    bench.pass(1800).await;
    assert_eq!(bench.questions(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_a_guest_told_holds_while_the_daemon_is_started_again() {
    let mut bench = Bench::new().begun(&manifests()).await;
    bench.agent_comes();
    bench.cloud_init_ends("");
    bench.until(|bench| bench.is("vm/web", "Ready")).await;
    let since = bench.since("Ready");
    bench.end().await;
    bench.start();
    bench.commit(&manifests());
    for _ in 0..100 {
        bench.pass(1).await;
        assert!(bench.is("vm/web", "Ready") && bench.is("vm/web", "AddressAssigned"), "{:?}", bench.told("Ready"));
    }
    assert_eq!(bench.since("Ready"), since);
}

#[tokio::test(start_paused = true)]
async fn a_vm_whose_guest_can_tell_nothing_is_ready_when_it_runs() {
    let mut bench = Bench::new().begun(&vm("web", "")).await;
    bench.pass(5).await;
    assert!(bench.is("vm/web", "Ready"));
    assert!(["AgentConnected", "AddressAssigned", "CloudInitDone"].iter().all(|condition| bench.told(condition).is_none()));
    bench.commit(&vm("web", "").replace("Always", "Halted"));
    bench.until(|bench| !bench.runs("web") && bench.is_synced()).await;
    bench.pass(5).await;
    assert_eq!(bench.told("Ready").unwrap().1, "Halted");
}
