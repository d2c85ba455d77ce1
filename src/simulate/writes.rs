//! Rule 6: what tiles write, how partial sums pass from one to the next, and when a buffer is whole.
//!
//! Tiles that write the same box of a tensor add to each other, in queue order; where boxes meet without being the same,
//! each element is followed on its own. A layer with no access writes the whole tensor with each tile and adds nothing:
//! it is there when all its tiles are done.

use std::collections::BTreeMap;

use super::facts::{Content, Facts};
use super::geometry::{is_gapless, meet, meets, uncovered, volume};
use super::index::BoxIndex;
use super::violation::{Sums, Violation};
use crate::schedule::{BufferId, CommandId, IdVec, LayerId, NdBox, Operand, Tile};

/// The least width of partial sums.
const SUM_BITS: u64 = 32;

/// What buffers hold, and from when on.
pub(super) struct Written {
    /// The command after which a buffer is whole; `None` where it never is.
    pub(super) whole_after: IdVec<BufferId, Option<CommandId>>,
    /// The earlier commands whose sums a compute command adds to.
    pub(super) adds_to: IdVec<CommandId, Vec<CommandId>>,
}

/// The boxes of a tensor that one layer writes, each with its writers in queue order.
type Regions = BoxIndex<Vec<CommandId>>;

/// Disjoint parts of one tensor, each with the commands that complete it.
type Completed = BoxIndex<Vec<CommandId>>;

pub(super) fn check(facts: &Facts<'_>, found: &mut Vec<Violation>) -> Written {
    let mut adds_to = facts.schedule.commands.iter().map(|_| Vec::new()).collect();
    let mut completed = BTreeMap::new();
    for (content, layers) in written_regions(facts, found) {
        check_layers(facts, &layers, found);
        let mut pieces = Vec::new();
        for regions in layers.values() {
            for region in regions.items() {
                let writers = Writers::new(facts, content, regions, region);
                writers.check_sums(&mut adds_to, found);
                pieces.append(&mut writers.completed());
            }
        }
        completed.insert(content, Completed::new(pieces));
    }
    let whole_after = facts.schedule.buffers.ids().map(|buffer| whole_after(facts, &completed, buffer)).collect();
    Written { whole_after, adds_to }
}

/// Rules 6.1 and 6.2, and what each layer writes of each tensor.
fn written_regions(facts: &Facts<'_>, found: &mut Vec<Violation>) -> BTreeMap<Content, BTreeMap<LayerId, Regions>> {
    let mut written: BTreeMap<(Content, LayerId), BTreeMap<NdBox, Vec<CommandId>>> = BTreeMap::new();
    for (id, tile) in facts.computes() {
        let write = facts.layer(tile).write.as_ref();
        let output = write.map(|write| facts.operand(tile, write));
        for &buffer in tile.writes.iter().filter(|&&buffer| Some(facts.content(buffer)) != output) {
            let (command, buffer) = (facts.named(id), facts.named_buffer(buffer));
            found.push(Violation::NotItsOutput { command, buffer });
        }
        if let Some((write, output)) = write.zip(output)
            && let Some(part) = written_part(facts, id, tile, write, found)
        {
            written.entry((output, tile.layer)).or_default().entry(part).or_default().push(id);
        }
    }
    let mut of_tensors: BTreeMap<Content, BTreeMap<LayerId, Regions>> = BTreeMap::new();
    for ((content, layer), regions) in written {
        of_tensors.entry(content).or_default().insert(layer, Regions::new(regions.into_iter().collect()));
    }
    of_tensors
}

/// Rule 6.3: once for each box of a layer that meets one of a later layer.
fn check_layers(facts: &Facts<'_>, layers: &BTreeMap<LayerId, Regions>, found: &mut Vec<Violation>) {
    if layers.len() < 2 {
        return;
    }
    let regions = layers.iter().flat_map(|(&layer, regions)| regions.items().iter().map(move |region| (layer, region)));
    let writers: Vec<_> = regions.map(|(layer, (part, commands))| (part.clone(), (layer, commands[0]))).collect();
    let writers = BoxIndex::new(writers);
    for (part, (layer, first)) in writers.items() {
        if let Some((other, (_, second))) = writers.find(part).find(|(_, (other, _))| other > layer) {
            let part = meet(part, other).expect("it was found because they meet");
            let (first, second) = (facts.named(*first), facts.named(*second));
            found.push(Violation::TwoLayers { first, second, part });
        }
    }
}

/// What a tile writes of its layer's output; `None` where it is all padding.
fn written_part(
    facts: &Facts<'_>,
    id: CommandId,
    tile: &Tile,
    write: &Operand,
    found: &mut Vec<Violation>,
) -> Option<NdBox> {
    let part = facts.touched(tile, write)?;
    if write.access.as_ref().is_some_and(|access| !is_gapless(access, &tile.part)) {
        found.push(Violation::WriteGaps { command: facts.named(id), part: part.clone() });
    }
    let into = facts.parts_of(facts.operand(tile, write), &tile.writes);
    if let Some(part) = uncovered(&part, &into).into_iter().next() {
        found.push(Violation::WriteNotCovered { command: facts.named(id), part });
    }
    Some(part)
}

/// The commands of a layer that write one box of a tensor, and what else the layer writes of it there.
struct Writers<'a, 'b> {
    facts: &'b Facts<'a>,
    content: Content,
    part: &'b NdBox,
    /// In queue order.
    commands: &'b [CommandId],
    /// All regions of the layer that meet this one; it is among them.
    meeting: Vec<&'b (NdBox, Vec<CommandId>)>,
    /// Whether each command writes the whole tensor, as one that has no access does.
    is_whole: bool,
}

impl<'a, 'b> Writers<'a, 'b> {
    fn new(
        facts: &'b Facts<'a>,
        content: Content,
        regions: &'b Regions,
        (part, commands): &'b (NdBox, Vec<CommandId>),
    ) -> Self {
        let write = facts.layer(facts.tile(commands[0])).write.as_ref();
        let is_whole = write.is_some_and(|write| write.access.is_none());
        Self { facts, content, part, commands, meeting: regions.find(part).collect(), is_whole }
    }

    /// The buffers of the tensor that a command writes.
    fn into(&self, id: CommandId) -> impl Iterator<Item = BufferId> {
        let writes = self.facts.tile(id).writes.iter().copied();
        writes.filter(|&buffer| self.facts.content(buffer) == self.content)
    }

    fn check_sums(&self, adds_to: &mut IdVec<CommandId, Vec<CommandId>>, found: &mut Vec<Violation>) {
        for &id in self.commands {
            if !self.is_whole {
                let sums = self.sums_before(id);
                self.check_reads_sums(id, &sums, found);
                adds_to[id] = sums.into_iter().map(|(before, _)| before).collect();
            }
            self.check_widths(id, found);
        }
    }

    /// Whose sums a command adds to, and where: those of the last command before it that wrote the element.
    fn sums_before(&self, id: CommandId) -> Vec<(CommandId, NdBox)> {
        let last_before =
            |commands: &[CommandId]| commands[..commands.partition_point(|&other| other < id)].last().copied();
        let earlier = self.meeting.iter().filter_map(|(part, commands)| Some((last_before(commands)?, part)));
        let mut earlier: Vec<_> = earlier.collect();
        earlier.sort_unstable_by_key(|&(before, _)| std::cmp::Reverse(before));
        let mut sums = Vec::new();
        let mut rest = vec![self.part.clone()];
        for (before, part) in earlier {
            sums.extend(rest.iter().filter_map(|piece| Some((before, meet(piece, part)?))));
            rest = rest.iter().flat_map(|piece| uncovered(piece, &[part])).collect();
        }
        sums
    }

    /// Rule 6.4.
    fn check_reads_sums(&self, id: CommandId, sums: &[(CommandId, NdBox)], found: &mut Vec<Violation>) {
        let reads = &self.facts.tile(id).reads;
        for (before, part) in sums {
            let passed_on = self.into(*before).filter(|buffer| reads.contains(buffer));
            let passed_on: Vec<_> = passed_on.map(|buffer| self.facts.part(buffer)).collect();
            if let Some(part) = uncovered(part, &passed_on).into_iter().next() {
                let (command, before) = (self.facts.named(id), self.facts.named(*before));
                found.push(Violation::PartialSumsNotRead { command, before, part });
            }
        }
    }

    /// Rule 6.5.
    fn check_widths(&self, id: CommandId, found: &mut Vec<Violation>) {
        let last = if self.is_whole { vec![self.part.clone()] } else { self.left_by_later(id) };
        let last: Vec<_> = last.iter().collect();
        let bits = self.facts.tensor(self.content).element_bits;
        for buffer in self.into(id) {
            let Some(part) = meet(self.part, self.facts.part(buffer)) else { continue };
            let is_last = last.iter().any(|last| meets(last, &part));
            let is_partial = !uncovered(&part, &last).is_empty();
            let wanted = [(is_last, Sums::Last, bits), (is_partial, Sums::Partial, bits.max(SUM_BITS))];
            let file = self.facts.schedule.buffers[buffer].element_bits;
            for (_, kind, bits) in wanted.into_iter().filter(|&(applies, _, bits)| applies && bits != file) {
                let (command, buffer) = (self.facts.named(id), self.facts.named_buffer(buffer));
                found.push(Violation::WrongSumWidth { command, buffer, kind, bits, file });
            }
        }
    }

    /// The part that nobody writes after a command.
    fn left_by_later(&self, id: CommandId) -> Vec<NdBox> {
        let later = self.meeting.iter().filter(|(_, commands)| commands.last() > Some(&id));
        uncovered(self.part, &later.map(|(part, _)| part).collect::<Vec<_>>())
    }

    /// What these commands complete of the tensor: what nobody writes after the last of them.
    fn completed(&self) -> Vec<(NdBox, Vec<CommandId>)> {
        let last = self.commands.len() - 1;
        let by = if self.is_whole { self.commands } else { &self.commands[last..] };
        self.left_by_later(self.commands[last]).into_iter().map(|part| (part, by.to_vec())).collect()
    }
}

/// When a buffer is whole: after its load, or when all its elements are completed, in it and not in another.
fn whole_after(facts: &Facts<'_>, completed: &BTreeMap<Content, Completed>, buffer: BufferId) -> Option<CommandId> {
    let fills: Vec<_> = facts.fills(buffer).collect();
    let first = *fills.first()?;
    if facts.is_transfer(first) {
        return Some(first);
    }
    let part = facts.part(buffer);
    let pieces: Vec<_> = completed.get(&facts.content(buffer))?.find(part).collect();
    let held = pieces.iter().filter_map(|(piece, _)| meet(piece, part)).map(|piece| volume(&piece)).sum::<u64>();
    let makers = pieces.iter().flat_map(|(_, makers)| makers);
    let all_here = makers.clone().all(|maker| fills.binary_search(maker).is_ok());
    if all_here && held == volume(part) { makers.max().copied() } else { None }
}
