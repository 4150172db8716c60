//! What `jvp network` and `jvp pool` ask for by hand: starts, stops and a refresh, with the guards that an apply has.

use std::collections::BTreeSet;

use super::network::subnet_taken;
use super::storage_pool::refuse_used;
use crate::manifest::Spec;
use crate::observe::{NetworkState, PoolState};
use crate::plan::identity::Verdict;
use crate::plan::model::{Effect, RefusalKind, Verb};
use crate::plan::planner::{Draft, Planner, Row};
use crate::plan::policy::{PowerAct, given};
use crate::plan::suspension::resting;
use crate::plan::{Expect, Lane, Op, Precondition, running_guests, unplugged};
use crate::resolve::Wanted;

/// Plans what `jvp network start|stop` asks for.
pub(super) fn network(p: &mut Planner<'_>, wanted: &Wanted, what: PowerAct) {
    let Some(state) = wanted.node.as_ref().and_then(|node| p.node(node)) else { return };
    let found = match p.verdict_network(wanted, state) {
        Verdict::Ours { uuid, .. } => state.networks.values().find(|network| network.uuid == uuid),
        _ => None,
    };
    let Some(network) = found else {
        return p.refuse(wanted, RefusalKind::Guard, "there is no such network of ours", &["jvp apply makes it".into()]);
    };
    let off = matches!(&*wanted.spec, Spec::Network(spec) if spec.running == Some(false));
    match what {
        PowerAct::Start if !network.active => {
            if off {
                p.note(&wanted.object, "Started", "its manifest says `running: false`: the next apply stops it again");
            }
            start_network(p, wanted, network);
        }
        PowerAct::Stop if network.active => {
            let guests = running_guests(state, &network.name);
            if !guests.is_empty() && !given(&p.policy.consents.allow_disconnect, &wanted.object) {
                let names = guests.into_iter().collect::<Vec<_>>().join(", ");
                return p.refuse(
                    wanted,
                    RefusalKind::Guard,
                    format!("{names} hang on it, and would be cut off"),
                    &[format!("if they may lose it: --allow-disconnect {}", wanted.object)],
                );
            }
            if !off {
                p.note(&wanted.object, "Stopped", "the next apply starts it again, unless its manifest says `running: false`");
            }
            let mut row = Row::new(wanted, Verb::Stop, "asked for");
            row.drafts.push(
                Draft::new(Op::NetworkStop { name: network.name.clone() }, lane(network))
                    .when(Precondition::NetworkGuests { uuid: network.uuid, guests: guests.clone() })
                    .expect(Expect::Active(false)),
            );
            if !guests.is_empty() {
                row.effect = Effect::Disconnect(guests.into_iter().collect());
            }
            p.commit(row);
        }
        PowerAct::Start | PowerAct::Stop => p.ready(&wanted.object),
        PowerAct::Restart | PowerAct::Refresh => {
            p.refuse(wanted, RefusalKind::Invalid, "a network is started or stopped by hand, and nothing else", &[]);
        }
    }
}

fn lane(network: &NetworkState) -> Lane {
    Lane::Object(format!("network/{}", network.name))
}

fn start_network(p: &mut Planner<'_>, wanted: &Wanted, network: &NetworkState) {
    let Some(state) = wanted.node.as_ref().and_then(|node| p.node(node)) else { return };
    if let Spec::Network(spec) = &*wanted.spec
        && subnet_taken(p, wanted, spec)
    {
        return;
    }
    let mut row = Row::new(wanted, Verb::Start, "asked for");
    let ours = Precondition::Uuid(network.uuid);
    row.drafts.push(
        Draft::new(Op::NetworkStart { name: network.name.clone() }, lane(network))
            .when(ours.clone())
            .expect(Expect::Active(true)),
    );
    // Guests that ran on when it stopped.
    let resting: BTreeSet<_> = resting(p, wanted.node.as_ref()).into_keys().collect();
    if unplugged(state, &network.name, false).iter().any(|nic| !resting.contains(&nic.uuid)) {
        row.effect = Effect::Live;
        row.reason = "asked for; the guests that it left are plugged in again".into();
        row.drafts.push(
            Draft::new(Op::NetworkReplug { name: network.name.clone(), direct: false, resting, nics: Vec::new() }, lane(network))
                .when(ours)
                .expect(Expect::Plugged),
        );
    }
    p.commit(row);
}

/// Plans what `jvp pool start|stop|refresh` asks for.
pub(super) fn pool(p: &mut Planner<'_>, wanted: &Wanted, what: PowerAct) {
    let Some(state) = wanted.node.as_ref().and_then(|node| p.node(node)) else { return };
    let found = match p.verdict_pool(wanted, state) {
        Verdict::Ours { uuid, .. } => state.pools.values().find(|pool| pool.uuid == uuid),
        _ => None,
    };
    let Some(pool) = found else {
        return p.refuse(wanted, RefusalKind::Guard, "there is no such pool of ours", &["jvp apply makes it".into()]);
    };
    let wants_it_stopped = matches!(&*wanted.spec, Spec::StoragePool(spec) if spec.running == Some(false));
    match what {
        PowerAct::Start if !pool.active => {
            if wants_it_stopped {
                p.note(&wanted.object, "Started", "its manifest says `running: false`: the next apply stops it again");
            }
            let op = Op::PoolStart { name: pool.name.clone() };
            one(p, wanted, Verb::Start, (pool, op, Precondition::Uuid(pool.uuid)), Expect::Active(true));
        }
        PowerAct::Stop if pool.active => {
            if refuse_used(p, wanted, pool) {
                return;
            }
            if !wants_it_stopped {
                p.note(&wanted.object, "Stopped", "the next apply starts it again, unless its manifest says `running: false`");
            }
            let op = Op::PoolStop { name: pool.name.clone() };
            one(p, wanted, Verb::Stop, (pool, op, Precondition::PoolUnused { uuid: pool.uuid }), Expect::Active(false));
        }
        PowerAct::Refresh if pool.active => {
            let op = Op::PoolRefresh { name: pool.name.clone() };
            one(p, wanted, Verb::Refresh, (pool, op, Precondition::Uuid(pool.uuid)), Expect::Active(true));
        }
        PowerAct::Refresh => {
            let help = [format!("jvp pool start {}", wanted.object)];
            p.refuse(wanted, RefusalKind::Guard, "it is stopped, and what is in it can't be looked at", &help);
        }
        PowerAct::Start | PowerAct::Stop => p.ready(&wanted.object),
        PowerAct::Restart => {
            p.refuse(wanted, RefusalKind::Invalid, "a pool is started, stopped or refreshed by hand, and nothing else", &[]);
        }
    }
}

fn one(p: &mut Planner<'_>, wanted: &Wanted, verb: Verb, what: (&PoolState, Op, Precondition), expect: Expect) {
    let (pool, op, precondition) = what;
    let mut row = Row::new(wanted, verb, "asked for");
    row.drafts.push(Draft::new(op, Lane::PoolExclusive(pool.name.clone())).when(precondition).expect(expect));
    p.commit(row);
}
