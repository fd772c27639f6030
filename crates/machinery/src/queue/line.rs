//! The producers that stand in line for room.

use std::collections::BTreeMap;
use std::task::Waker;

/// A line of producers, each with the item that it wants to append.
///
/// A producer is called when there is room for it, and puts its item into the queue itself when it is polled: until
/// then the item is its own, so that a producer that is dropped has appended nothing. A room that is called for is
/// not given to anybody who comes later, so the line is first come, first served. The item lies here rather than in
/// the producer's future so that a consumer that finds the queue empty can take it: a called producer that is never
/// polled again holds up neither the consumer nor those behind it.
#[derive(Debug)]
pub(crate) struct Line<T> {
    next: u64,
    /// Those who wait to be called, by their place.
    waiting: BTreeMap<u64, (T, Waker)>,
    /// Those who were called and have not come yet.
    called: BTreeMap<u64, T>,
}

/// What a producer finds at its place.
pub(crate) enum Place<T> {
    /// It is its turn; it has left the line with its item.
    Called(T),
    /// Its item was taken by a consumer.
    Served,
    /// It waits on. Its waker was replaced by the new one.
    Waiting,
}

impl<T> Line<T> {
    pub(crate) const fn new() -> Self {
        Self { next: 0, waiting: BTreeMap::new(), called: BTreeMap::new() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.called.is_empty()
    }

    /// Whether somebody who comes now may have one of `room` places without pushing in.
    pub(crate) fn lets_in(&self, room: usize) -> bool {
        self.waiting.is_empty() && self.called.len() < room
    }

    /// Joins the end of the line.
    pub(crate) fn join(&mut self, item: T, waker: Waker) -> u64 {
        let place = self.next;
        self.next += 1;
        self.waiting.insert(place, (item, waker));
        place
    }

    /// Calls the next one, if there is room that nobody was called for.
    pub(crate) fn call(&mut self, room: usize) -> Option<Waker> {
        if self.called.len() >= room {
            return None;
        }
        let (place, (item, waker)) = self.waiting.pop_first()?;
        self.called.insert(place, item);
        Some(waker)
    }

    /// Calls everybody, whether there is room or not.
    pub(crate) fn call_all(&mut self) -> Vec<Waker> {
        let waiting = std::mem::take(&mut self.waiting);
        waiting
            .into_iter()
            .map(|(place, (item, waker))| {
                self.called.insert(place, item);
                waker
            })
            .collect()
    }

    /// The producer at `place` comes. `waker` is taken only if it waits on.
    pub(crate) fn come(&mut self, place: u64, waker: &mut Option<Waker>) -> Place<T> {
        if let Some(item) = self.called.remove(&place) {
            return Place::Called(item);
        }
        match self.waiting.get_mut(&place) {
            Some((_, slot)) => {
                if let Some(new) = waker.take() {
                    *waker = Some(std::mem::replace(slot, new));
                }
                Place::Waiting
            }
            None => Place::Served,
        }
    }

    /// Puts a producer that was called in vain back to its old place.
    pub(crate) fn wait_on(&mut self, place: u64, item: T, waker: Waker) {
        self.waiting.insert(place, (item, waker));
    }

    /// The producer at `place` goes away, with its item and its waker unless the item was taken.
    pub(crate) fn leave(&mut self, place: u64) -> Option<(T, Option<Waker>)> {
        if let Some(item) = self.called.remove(&place) {
            return Some((item, None));
        }
        self.waiting.remove(&place).map(|(item, waker)| (item, Some(waker)))
    }

    /// Takes the item of the first one, who is to be woken.
    pub(crate) fn serve_first(&mut self) -> Option<(T, Option<Waker>)> {
        let first = match (self.called.first_key_value(), self.waiting.first_key_value()) {
            (Some((called, _)), Some((waiting, _))) => *called.min(waiting),
            (Some((place, _)), None) => *place,
            (None, Some((place, _))) => *place,
            (None, None) => return None,
        };
        self.leave(first)
    }
}
