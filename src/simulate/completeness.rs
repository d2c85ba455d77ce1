//! Rule 5: all is computed once, in an order that may be, and every output is stored.

use std::collections::BTreeMap;

use super::facts::{Content, Facts, Run};
use super::geometry::{uncovered, volume};
use super::index::BoxIndex;
use super::violation::Violation;
use crate::schedule::{CommandId, Direction, ModelId, NdBox, TensorKind};

pub(super) fn check(facts: &Facts<'_>, found: &mut Vec<Violation>) {
    let stored = stored_parts(facts);
    for (model_id, model) in facts.schedule.models.iter_with_ids() {
        for request in 0..model.requests {
            for layer in model.layers.ids() {
                check_tiles(facts, Run { model: model_id, request, layer }, found);
            }
            check_table_order(facts, model_id, request, found);
            check_outputs(facts, model_id, request, &stored, found);
        }
    }
}

/// Rule 5.1: boxes that are disjoint and have all the volume cover all.
fn check_tiles(facts: &Facts<'_>, run: Run, found: &mut Vec<Violation>) {
    let tiles = facts.tiles.get(&run).map_or(&[][..], Vec::as_slice);
    let boxes = BoxIndex::new(tiles.iter().map(|&id| (facts.tile(id).part.clone(), id)).collect());
    let beside = |part: &NdBox, id: CommandId| boxes.find(part).map(|(_, other)| *other).find(|&other| other != id);
    if let Some((first, second)) = boxes.items().iter().find_map(|(part, id)| Some((*id, beside(part, *id)?))) {
        found.push(Violation::ComputedTwice { first: facts.named(first), second: facts.named(second) });
        return;
    }
    let computed = boxes.items().iter().map(|(part, _)| u128::from(volume(part))).sum();
    let iterations = volume(&facts.schedule.models[run.model].layers[run.layer].layer.whole());
    if computed != u128::from(iterations) {
        let layer = facts.named_layer(run);
        found.push(Violation::NotComputed { layer, request: run.request, computed, iterations });
    }
}

/// Rule 5.2.
fn check_table_order(facts: &Facts<'_>, model: ModelId, request: u32, found: &mut Vec<Violation>) {
    let layers = facts.schedule.models[model].layers.iter_with_ids();
    let mute = layers.filter(|(_, row)| row.layer.write.is_none());
    let in_table_order =
        mute.flat_map(|(layer, _)| facts.tiles.get(&Run { model, request, layer }).into_iter().flatten());
    let mut last: Option<CommandId> = None;
    for &id in in_table_order {
        if let Some(later) = last.filter(|&last| last > id) {
            found.push(Violation::OutOfTableOrder { earlier: facts.named(id), later: facts.named(later) });
        }
        last = last.max(Some(id));
    }
}

fn stored_parts<'a>(facts: &Facts<'a>) -> BTreeMap<Content, Vec<&'a NdBox>> {
    let mut stored: BTreeMap<Content, Vec<&NdBox>> = BTreeMap::new();
    for (_, store) in facts.transfers(Direction::Store) {
        for &buffer in &store.buffers {
            stored.entry(facts.content(buffer)).or_default().push(facts.part(buffer));
        }
    }
    stored
}

/// Rule 5.3.
fn check_outputs(
    facts: &Facts<'_>,
    model_id: ModelId,
    request: u32,
    stored: &BTreeMap<Content, Vec<&NdBox>>,
    found: &mut Vec<Violation>,
) {
    for (tensor_id, tensor) in facts.schedule.models[model_id].tensors.iter_with_ids() {
        if tensor.kind != TensorKind::Output || tensor.shape.contains(&0) {
            continue;
        }
        let content = Content { model: model_id, request: Some(request), tensor: tensor_id };
        let parts = stored.get(&content).map_or(&[][..], Vec::as_slice);
        if let Some(part) = uncovered(&tensor.whole(), parts).into_iter().next() {
            found.push(Violation::OutputNotStored { tensor: facts.named_tensor(content), request, part });
        }
    }
}
