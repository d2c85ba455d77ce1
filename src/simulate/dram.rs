//! Rules 7.5 and 8.3: what stores leave in DRAM, and the loads of it.

use std::collections::BTreeMap;

use super::facts::{Content, Facts};
use super::geometry::uncovered;
use super::index::BoxIndex;
use super::violation::Violation;
use crate::schedule::{BufferId, CommandId, Direction, NdBox, TensorKind};

pub(super) fn check(facts: &Facts<'_>, found: &mut Vec<Violation>) {
    let mut stored: BTreeMap<Content, Vec<(NdBox, CommandId)>> = BTreeMap::new();
    for (id, store) in facts.transfers(Direction::Store) {
        for &buffer in &store.buffers {
            stored.entry(facts.content(buffer)).or_default().push((facts.part(buffer).clone(), id));
        }
    }
    let stores: BTreeMap<_, _> = stored.into_iter().map(|(content, parts)| (content, BoxIndex::new(parts))).collect();
    for (id, load) in facts.transfers(Direction::Load) {
        for &buffer in &load.buffers {
            check_load(facts, id, buffer, stores.get(&facts.content(buffer)), found);
        }
    }
}

fn check_load(
    facts: &Facts<'_>,
    id: CommandId,
    buffer: BufferId,
    stores: Option<&BoxIndex<CommandId>>,
    found: &mut Vec<Violation>,
) {
    let (content, part) = (facts.content(buffer), facts.part(buffer));
    let mut there = Vec::new();
    let mut unordered = None;
    for (stored, store) in stores.into_iter().flat_map(|stores| stores.find(part)) {
        if facts.order.is_sure(*store, id) {
            there.push(stored);
        } else if !facts.order.is_sure(id, *store) {
            unordered = unordered.or(Some(*store));
        }
    }
    // One race a load, lest a file of many has their square.
    if let Some(store) = unordered {
        let (load, store, tensor) = (facts.named(id), facts.named(store), facts.named_tensor(content));
        found.push(Violation::DramRace { load, store, tensor });
    }
    let from_the_start = match facts.tensor(content).kind {
        TensorKind::Weight | TensorKind::Input => true,
        TensorKind::Output | TensorKind::Activation => false,
    };
    if !from_the_start && let Some(part) = uncovered(part, &there).into_iter().next() {
        found.push(Violation::LoadNotStored { command: facts.named(id), buffer: facts.named_buffer(buffer), part });
    }
}
