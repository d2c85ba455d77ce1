//! Rules 8.1 and 8.2: commands that touch the same bytes of the scratchpad are ordered, under any timing.
//!
//! Buffers are looked at by their first use, in an order in which the commands can start. A map of the scratchpad says
//! who had each byte last: a place, that is one buffer, or several that are written over each other in place. Whoever
//! comes next must come after all uses of all of the place, or join it in place. Those before the place need no other
//! look: *surely before* is transitive, so who comes after the place comes after them.

use super::clock::Clock;
use super::facts::{Facts, Use};
use super::index::BoxIndex;
use super::violation::Violation;
use crate::schedule::{BufferId, CommandId, IdVec, NdBox, Tile};

pub(super) fn check(facts: &Facts<'_>, started: &[CommandId], found: &mut Vec<Violation>) {
    let mut rank: IdVec<CommandId, usize> = started.iter().map(|_| 0).collect();
    for (at, &id) in started.iter().enumerate() {
        rank[id] = at;
    }
    let mut stays: IdVec<BufferId, Option<Stay>> = IdVec::new();
    for buffer in facts.schedule.buffers.ids() {
        let mut uses = facts.uses[buffer].clone();
        uses.sort_by_key(|a_use| rank[a_use.command]);
        check_buffer(facts, buffer, &uses, found);
        stays.push(Stay::of(facts, uses));
    }
    let mut by_first_use: Vec<_> = stays
        .iter_with_ids()
        .filter_map(|(buffer, stay)| Some((rank[stay.as_ref()?.uses[0].command], buffer)))
        .collect();
    by_first_use.sort_unstable();
    let mut scratchpad = Scratchpad { facts, stays, places: Vec::new(), held: Vec::new() };
    for (_, buffer) in by_first_use {
        scratchpad.settle(buffer, found);
    }
}

/// Rule 8.1: two uses of a buffer, one of which writes it, are ordered. `uses` are in an order in which they can start.
fn check_buffer(facts: &Facts<'_>, buffer: BufferId, uses: &[Use], found: &mut Vec<Violation>) {
    let (mut read, mut wrote) = (Clock::NOTHING, Clock::NOTHING);
    for (at, later) in uses.iter().enumerate() {
        let itself = facts.order.itself(later.command);
        let asked = if later.writes { read.join(wrote) } else { wrote };
        if !facts.order.before(later.command).join(itself).covers(asked) {
            let clashes = |earlier: &&Use| {
                (earlier.writes || later.writes)
                    && earlier.command != later.command
                    && !facts.order.is_sure(earlier.command, later.command)
            };
            let earlier = uses[..at].iter().find(clashes).expect("one of them is not covered");
            let (first, second) = (facts.named(earlier.command), facts.named(later.command));
            found.push(Violation::BufferRace { buffer: facts.named_buffer(buffer), first, second });
        }
        let earlier = if later.writes { &mut wrote } else { &mut read };
        *earlier = earlier.join(itself);
    }
}

/// All uses of a buffer.
struct Stay {
    /// In an order in which they can start.
    uses: Vec<Use>,
    /// What is surely done before each of them.
    known: Clock,
    /// What has to be done for all of them to be.
    over: Clock,
}

impl Stay {
    fn of(facts: &Facts<'_>, uses: Vec<Use>) -> Option<Self> {
        let commands = || uses.iter().map(|a_use| a_use.command);
        let known = commands().map(|id| facts.order.before(id)).reduce(Clock::meet)?;
        let over = commands().map(|id| facts.order.itself(id)).fold(Clock::NOTHING, Clock::join);
        Some(Self { uses, known, over })
    }
}

/// Who has bytes, from the first use of the first buffer to the last use of all.
struct Place {
    /// One, or several in place.
    buffers: Vec<BufferId>,
    /// What has to be done for all their uses to be.
    over: Clock,
    /// What has to be done for all uses of those who had the bytes before to be.
    before: Clock,
}

/// Who has had a range of bytes last.
struct Held {
    begin: u64,
    end: u64,
    /// A position in `Scratchpad::places`.
    place: usize,
}

struct Scratchpad<'a, 'b> {
    facts: &'b Facts<'a>,
    stays: IdVec<BufferId, Option<Stay>>,
    places: Vec<Place>,
    /// By address, disjoint.
    held: Vec<Held>,
}

impl Scratchpad<'_, '_> {
    fn stay(&self, buffer: BufferId) -> &Stay {
        self.stays[buffer].as_ref().expect("only buffers with uses are settled")
    }

    /// Rule 8.2: gives a buffer its bytes, after those who have had them or in place.
    fn settle(&mut self, buffer: BufferId, found: &mut Vec<Violation>) {
        let (known, over) = (self.stay(buffer).known, self.stay(buffer).over);
        let mut before = Clock::NOTHING;
        let mut joined = None;
        for place in self.holders(buffer) {
            let over = self.places[place].over;
            if known.covers(over) {
                before = before.join(over);
            } else {
                match self.race(&self.places[place], buffer) {
                    None => joined = Some(place),
                    // The bytes are the later one's all the same: no place grows by what is wrong.
                    Some(race) => found.push(race),
                }
            }
        }
        let place = joined.unwrap_or_else(|| {
            self.places.push(Place { buffers: Vec::new(), over: Clock::NOTHING, before });
            self.places.len() - 1
        });
        self.places[place].buffers.push(buffer);
        self.places[place].over = self.places[place].over.join(over);
        self.take(buffer, place);
    }

    /// A buffer's first byte, and the byte after its last.
    fn ends(&self, buffer: BufferId) -> (u64, u64) {
        let buffer = &self.facts.schedule.buffers[buffer];
        (buffer.address, buffer.address.saturating_add(buffer.bytes.get()))
    }

    /// The range of `held` that shares bytes with a buffer.
    fn shared(&self, buffer: BufferId) -> std::ops::Range<usize> {
        let (begin, end) = self.ends(buffer);
        let first = self.held.partition_point(|held| held.end <= begin);
        first..self.held.partition_point(|held| held.begin < end)
    }

    /// The places that have had a byte of a buffer last.
    fn holders(&self, buffer: BufferId) -> Vec<usize> {
        let mut places: Vec<_> = self.held[self.shared(buffer)].iter().map(|held| held.place).collect();
        places.sort_unstable();
        places.dedup();
        places
    }

    /// Notes that a buffer's bytes are a place's now.
    fn take(&mut self, buffer: BufferId, place: usize) {
        let (begin, end) = self.ends(buffer);
        let shared = self.shared(buffer);
        let held = &self.held[shared.clone()];
        let left = held.first().map(|held| Held { begin: held.begin, end: begin, place: held.place });
        let right = held.last().map(|held| Held { begin: end, end: held.end, place: held.place });
        let new = left.into_iter().chain([Held { begin, end, place }]).chain(right);
        self.held.splice(shared, new.filter(|held| held.begin < held.end));
    }

    /// Why a buffer that does not come after a place cannot join it.
    fn race(&self, place: &Place, buffer: BufferId) -> Option<Violation> {
        let known = self.stay(buffer).known;
        let open = |other: &&BufferId| !known.covers(self.stay(**other).over);
        let clash = || place.buffers.iter().filter(open).find_map(|&other| Some((other, self.clash(other, buffer)?)));
        // Who joins a place must come after those before it on its own account: no other command of the place need.
        let skipped = || {
            let others =
                self.places.iter().flat_map(|place| &place.buffers).filter(|other| !place.buffers.contains(other));
            let mut shared = others.filter(|&&other| self.share_bytes(other, buffer)).filter(open);
            shared.find_map(|&other| Some((other, self.unordered(other, buffer)?)))
        };
        let (other, (first, second)) = clash().or_else(|| if known.covers(place.before) { None } else { skipped() })?;
        Some(Violation::SramRace {
            first_buffer: self.facts.named_buffer(other),
            second_buffer: self.facts.named_buffer(buffer),
            first: self.facts.named(first),
            second: self.facts.named(second),
        })
    }

    fn share_bytes(&self, a: BufferId, b: BufferId) -> bool {
        let ((a_begin, a_end), (b_begin, b_end)) = (self.ends(a), self.ends(b));
        a_begin < b_end && b_begin < a_end
    }

    /// A use of each of two buffers such that the one is not surely done before the other.
    fn unordered(&self, earlier: BufferId, later: BufferId) -> Option<(CommandId, CommandId)> {
        let is_sure = |first, second| self.facts.order.is_sure(first, second);
        self.stay(later).uses.iter().find_map(|later| {
            let open = self.stay(earlier).uses.iter().rev().find(|earlier| !is_sure(earlier.command, later.command))?;
            Some((open.command, later.command))
        })
    }

    /// Two commands that use bytes of two buffers wrongly, the first through `earlier`, the second through `later`,
    /// which is first used before the last use of `earlier`; `None` where all is in place.
    fn clash(&self, earlier: BufferId, later: BufferId) -> Option<(CommandId, CommandId)> {
        let facts = self.facts;
        let over = self.stay(earlier).over;
        let tiles_know = |later: &Use| {
            facts.order.before(later.command).covers(over.of_transfers()) && !facts.is_transfer(later.command)
        };
        let open = || self.stay(later).uses.iter().filter(|later| !facts.order.before(later.command).covers(over));
        if !self.is_same_place(earlier, later) || !open().all(tiles_know) {
            return self.unordered(earlier, later);
        }
        let tiles = self.stay(earlier).uses.iter().filter(|a_use| !facts.is_transfer(a_use.command));
        let touched =
            tiles.flat_map(|a_use| parts(facts, a_use.command, earlier).into_iter().map(|part| (part, *a_use)));
        let touched = BoxIndex::new(touched.collect());
        open().find_map(|second| {
            let parts = parts(facts, second.command, later);
            let mut first = parts.iter().flat_map(|part| touched.find(part)).map(|(_, first)| first);
            let clashes = |first: &&Use| {
                let is_over_itself = first.command == second.command && !first.writes;
                (first.writes || second.writes)
                    && !facts.order.is_sure(first.command, second.command)
                    && !(is_over_itself && is_in_place(facts, facts.tile(first.command), earlier))
            };
            first.find(clashes).map(|first| (first.command, second.command))
        })
    }

    /// Whether the same element lies at the same address.
    fn is_same_place(&self, a: BufferId, b: BufferId) -> bool {
        let (a, b) = (&self.facts.schedule.buffers[a], &self.facts.schedule.buffers[b]);
        (a.address, a.element_bits, &a.part) == (b.address, b.element_bits, &b.part)
    }
}

/// Whether a tile reads what a buffer holds through the access through which it writes: each element before it is
/// written over.
fn is_in_place(facts: &Facts<'_>, tile: &Tile, buffer: BufferId) -> bool {
    let layer = facts.layer(tile);
    let mut reads = layer.reads.iter().filter(|read| facts.operand(tile, read) == facts.content(buffer)).peekable();
    let write = layer.write.as_ref().and_then(|write| write.access.as_ref());
    reads.peek().is_some() && write.is_some() && reads.all(|read| read.access.as_ref() == write)
}

/// The parts of a buffer's tensor that a tile touches: all of the buffer where elements share bytes.
fn parts(facts: &Facts<'_>, id: CommandId, buffer: BufferId) -> Vec<NdBox> {
    if !facts.schedule.buffers[buffer].element_bits.is_multiple_of(8) {
        return vec![facts.part(buffer).clone()];
    }
    let (tile, content) = (facts.tile(id), facts.content(buffer));
    let layer = facts.layer(tile);
    let operands = layer.operands().filter(|operand| facts.operand(tile, operand) == content);
    operands.filter_map(|operand| facts.touched(tile, operand)).collect()
}
