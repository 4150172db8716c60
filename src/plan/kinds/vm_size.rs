//! How much a VM is given while it runs: vCPUs that are plugged in, memory that its balloon gives or takes.

use std::collections::BTreeMap;

use serde_json::json;

use super::vm_change::{Bench, Unit};
use crate::manifest::Cpu;
use crate::name::ByteSize;
use crate::plan::Op;
use crate::plan::model::Effect;
use crate::xml::domain::{DomainDoc, pluggable_vcpus};

impl Bench<'_, '_> {
    pub(super) fn vcpus(&mut self, unit: &Unit) {
        let Some(count) = self.spec.cpu.as_ref().and_then(|cpu| cpu.count) else { return };
        let cpu = |doc: &DomainDoc| doc.spec.cpu.clone().unwrap_or_default();
        let maximum = |cpu: &Cpu| cpu.max.or(cpu.count).unwrap_or(1);
        let (defined, running) = (cpu(&self.domain.doc), self.domain.live.as_deref().map(cpu));
        let config = !unit.inactive.is_empty();
        let id = self.domain.live.as_ref().and_then(|live| live.id);
        let can = running.as_ref().filter(|_| !unit.live.is_empty()).is_some_and(|running| {
            let has = running.count.unwrap_or(1);
            // QEMU without KVM may corrupt its memory and end when a vCPU is unplugged (seen with 7.2).
            let kvm = self.domain.doc.virt_type == "kvm";
            let spare = || {
                self.domain
                    .live_xml
                    .as_ref()
                    .filter(|_| kvm)
                    .and_then(|document| pluggable_vcpus(&document.text()).ok())
                    .unwrap_or(0)
            };
            count <= maximum(running) && (count >= has || has - count <= spare())
        });
        // A guest that was asked once, and kept them, keeps them until its next start.
        let asked = id.map(|id| (id, count));
        let tried =
            self.p.entry(&self.wanted.object).is_some_and(|entry| entry.tried_vcpus.is_some() && entry.tried_vcpus == asked);
        let down = running.as_ref().is_some_and(|running| running.count.unwrap_or(1) > count);
        if !can || (tried && !config) {
            if config {
                self.show(unit, Some(&Effect::NextStart));
                self.define("/cpu/count", unit);
            }
            return;
        }
        self.show(unit, Some(&Effect::Live));
        let both = config
            && count <= maximum(&defined)
            && self.spec.cpu.as_ref().is_some_and(|cpu| cpu.max.is_none_or(|max| max == maximum(&defined)));
        let value = || BTreeMap::from([("/cpu/count".to_owned(), Some(json!(count)))]);
        let op = Op::DomainVcpus { name: self.domain.name.clone(), uuid: self.domain.uuid, count, live: true, config: both };
        // Going down, the guest decides.
        let live = if down { BTreeMap::new() } else { value() };
        self.call(op, "/cpu/count", if both { value() } else { BTreeMap::new() }, live);
        if down {
            self.all.tried = asked;
        }
        if config && !both {
            self.define("/cpu/count", unit);
        }
    }

    /// The balloon of a running guest moves by itself, so what it has right now is no difference; what it is to have is.
    pub(super) fn memory(&mut self, unit: &Unit) {
        if unit.inactive.is_empty() {
            return;
        }
        let max = |doc: &DomainDoc| doc.spec.max_memory.map_or(0, ByteSize::kib);
        let wanted = self.spec.memory.map_or(0, ByteSize::kib);
        let fits = self.domain.live.as_ref().is_some_and(|live| wanted <= max(live));
        let balloon =
            self.spec.max_memory.is_some_and(|limit| limit.kib() == max(&self.domain.doc)) && wanted <= max(&self.domain.doc);
        if fits && balloon {
            self.show(unit, Some(&Effect::Live));
            let (name, uuid) = (self.domain.name.clone(), self.domain.uuid);
            let op = Op::DomainMemory { name, uuid, kib: wanted, live: true, config: true };
            let expect = BTreeMap::from([("/memory".to_owned(), unit.inactive.first().and_then(|(_, d)| d.new.clone()))]);
            return self.call(op, "/maxMemory", expect, BTreeMap::new());
        }
        self.show(unit, Some(&Effect::NextStart));
        self.define("/memory", unit);
    }
}
