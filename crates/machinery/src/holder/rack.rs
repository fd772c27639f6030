//! Where the tasks of a holder stand: a slab in pieces.
//!
//! The pieces are small enough for the allocator to keep, so that a burst of a million tasks costs no fresh pages, and
//! nothing is moved when it grows. What only few tasks need stands beside, and is there for those pieces only in which
//! one of them does.

use super::entry::{Entry, More};

/// How many tasks a piece has room for, as a power of two.
const BITS: u32 = 10;
const ROOM: usize = 1 << BITS;

/// No free place.
const NONE: u32 = u32::MAX;

pub(super) struct Rack {
    pieces: Vec<Piece>,
    used: usize,
    /// The place that was freed last; each free place names the one before.
    free: u32,
    /// The first place that was never used.
    fresh: u32,
}

#[derive(Default)]
struct Piece {
    places: Vec<Place>,
    more: Vec<More>,
}

enum Place {
    Used(Entry),
    Free(u32),
}

fn split(key: u32) -> (usize, usize) {
    ((key >> BITS) as usize, key as usize & (ROOM - 1))
}

impl Rack {
    pub(super) const fn new() -> Self {
        Self { pieces: Vec::new(), used: 0, free: NONE, fresh: 0 }
    }

    /// Panics when almost 2^32 tasks stand here at once.
    #[inline]
    pub(super) fn insert(&mut self, entry: Entry) -> u32 {
        self.used += 1;
        let key = self.free;
        if key != NONE {
            let (piece, at) = split(key);
            let place = &mut self.pieces[piece].places[at];
            if let Place::Free(before) = *place {
                self.free = before;
            }
            *place = Place::Used(entry);
            return key;
        }
        let key = self.fresh;
        assert!(key != NONE, "fewer than 2^32 tasks");
        self.fresh += 1;
        let (piece, _) = split(key);
        if piece == self.pieces.len() {
            self.grow();
        }
        self.pieces[piece].places.push(Place::Used(entry));
        key
    }

    #[cold]
    fn grow(&mut self) {
        // A small holder stays small; a large one gets whole pieces.
        let room = if self.pieces.is_empty() { 0 } else { ROOM };
        self.pieces.push(Piece { places: Vec::with_capacity(room), more: Vec::new() });
    }

    #[inline]
    pub(super) fn get_mut(&mut self, key: u32) -> Option<&mut Entry> {
        let (piece, at) = split(key);
        match self.pieces.get_mut(piece)?.places.get_mut(at)? {
            Place::Used(entry) => Some(entry),
            Place::Free(_) => None,
        }
    }

    /// What stands beside an entry, if anything was ever put there.
    pub(super) fn more(&mut self, key: u32) -> Option<&mut More> {
        let (piece, at) = split(key);
        self.pieces.get_mut(piece)?.more.get_mut(at)
    }

    pub(super) fn make_more(&mut self, key: u32) -> &mut More {
        let (number, at) = split(key);
        let piece = &mut self.pieces[number];
        if piece.more.len() <= at {
            if number > 0 {
                piece.more.reserve_exact(ROOM - piece.more.len());
            }
            piece.more.resize_with(at + 1, More::default);
        }
        &mut piece.more[at]
    }

    /// Drops the entry where it stands.
    #[inline]
    pub(super) fn free(&mut self, key: u32) {
        drop(self.put_free(key));
    }

    /// Takes the entry out.
    pub(super) fn remove(&mut self, key: u32) -> Option<Entry> {
        match self.put_free(key) {
            Some(Place::Used(entry)) => Some(entry),
            _ => None,
        }
    }

    #[inline]
    fn put_free(&mut self, key: u32) -> Option<Place> {
        let (piece, at) = split(key);
        let place = self.pieces.get_mut(piece)?.places.get_mut(at)?;
        if let Place::Free(_) = place {
            return None;
        }
        let used = std::mem::replace(place, Place::Free(self.free));
        self.free = key;
        self.used -= 1;
        if self.used == 0 && self.pieces.len() > 1 {
            self.give_back();
        }
        Some(used)
    }

    /// The high-water mark of a burst is given back once the burst is over.
    #[cold]
    fn give_back(&mut self) {
        self.pieces.truncate(1);
        for piece in &mut self.pieces {
            piece.places.clear();
            piece.more.clear();
        }
        self.free = NONE;
        self.fresh = 0;
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.pieces.iter().flat_map(|piece| &piece.places).filter_map(|place| match place {
            Place::Used(entry) => Some(entry),
            Place::Free(_) => None,
        })
    }

    pub(super) fn iter_more(&self) -> impl Iterator<Item = &More> {
        self.pieces.iter().flat_map(|piece| &piece.more)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;
    use crate::holder::entry::tests::entry;

    #[test]
    fn a_place_is_half_a_cache_line() {
        assert_eq!(size_of::<Place>(), 32);
        assert_eq!(size_of::<More>(), 32);
    }

    #[test]
    fn a_burst_gives_its_room_back() {
        let mut rack = Rack::new();
        let keys: Vec<u32> = (0..5_000).map(|n| rack.insert(entry(n))).collect();
        assert_eq!(rack.pieces.len(), 5);
        rack.make_more(4_999);
        for key in keys {
            rack.free(key);
        }
        assert_eq!(rack.pieces.len(), 1);
        assert_eq!(rack.insert(entry(7)), 0);
    }

    proptest! {
        #[test]
        fn a_rack_holds_what_a_map_holds(
            steps in prop::collection::vec((any::<bool>(), any::<prop::sample::Index>()), 0..3_000),
        ) {
            let mut rack = Rack::new();
            let mut model = HashMap::new();
            for (step, (add, which)) in steps.into_iter().enumerate() {
                if add || model.is_empty() {
                    let key = rack.insert(entry(step));
                    prop_assert!(model.insert(key, step.to_string()).is_none(), "a key that is in use");
                } else {
                    let mut keys: Vec<u32> = model.keys().copied().collect();
                    keys.sort_unstable();
                    let key = *which.get(&keys);
                    let name = model.remove(&key);
                    prop_assert_eq!(rack.remove(key).map(|entry| entry.name.to_string()), name);
                    prop_assert!(rack.get_mut(key).is_none());
                }
                prop_assert_eq!(rack.iter().count(), model.len());
            }
            for (key, name) in model {
                prop_assert_eq!(&rack.get_mut(key).unwrap().name, &name);
            }
        }
    }
}
