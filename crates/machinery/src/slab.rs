//! A slab: values at stable keys, with freed keys used again.
//!
//! Removal touches nothing but the value's own slot, so that dropping members in a random order costs one cache
//! miss each.

#[derive(Debug)]
pub(crate) struct Slab<T> {
    slots: Vec<Option<T>>,
    free: Vec<u32>,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Slab<T> {
    pub(crate) const fn new() -> Self {
        Self { slots: Vec::new(), free: Vec::new() }
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The key that the next value gets. Panics when there is none left.
    pub(crate) fn next_key(&self) -> u32 {
        self.free.last().copied().unwrap_or_else(|| u32::try_from(self.slots.len()).expect("fewer than 2^32 members"))
    }

    /// Panics when more than `u32::MAX` values live at once.
    pub(crate) fn insert(&mut self, value: T) -> u32 {
        if let Some(key) = self.free.pop() {
            self.slots[key as usize] = Some(value);
            key
        } else {
            let key = self.next_key();
            self.slots.push(Some(value));
            key
        }
    }

    pub(crate) fn remove(&mut self, key: u32) -> Option<T> {
        let value = self.slots.get_mut(key as usize)?.take()?;
        self.free.push(key);
        self.give_back();
        Some(value)
    }

    fn give_back(&mut self) {
        if self.free.len() == self.slots.len() && self.slots.len() > 32 {
            // The high-water mark of a burst is given back once the burst is over.
            *self = Self::new();
        }
    }

    pub(crate) fn get_mut(&mut self, key: u32) -> Option<&mut T> {
        self.slots.get_mut(key as usize)?.as_mut()
    }

    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = (u32, &T)> {
        self.slots.iter().enumerate().filter_map(|(key, slot)| Some((u32::try_from(key).ok()?, slot.as_ref()?)))
    }

    /// All values, in the order of their keys.
    pub(crate) fn into_values(self) -> impl DoubleEndedIterator<Item = T> {
        self.slots.into_iter().flatten()
    }

    /// Takes all values, in the order of their keys.
    pub(crate) fn drain_all(&mut self) -> impl DoubleEndedIterator<Item = T> + use<T> {
        let slots = std::mem::take(&mut self.slots);
        self.free = Vec::new();
        slots.into_iter().flatten()
    }
}

/// A slab that mostly has one value, which costs no memory beside its own.
#[derive(Debug)]
pub(crate) struct SmallSlab<T> {
    /// At the key zero; the others are one more than their key in the slab.
    first: Option<T>,
    more: Option<Box<Slab<T>>>,
}

impl<T> Default for SmallSlab<T> {
    fn default() -> Self {
        Self { first: None, more: None }
    }
}

impl<T> SmallSlab<T> {
    pub(crate) fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.more.as_ref().map_or(0, |more| more.len())
    }

    /// Panics when almost `u32::MAX` values live at once.
    pub(crate) fn insert(&mut self, value: T) -> u32 {
        if self.first.is_none() {
            self.first = Some(value);
            return 0;
        }
        self.more.get_or_insert_default().insert(value) + 1
    }

    pub(crate) fn remove(&mut self, key: u32) -> Option<T> {
        match key.checked_sub(1) {
            None => self.first.take(),
            Some(key) => self.more.as_mut()?.remove(key),
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.first.iter().chain(self.more.iter().flat_map(|more| more.iter().map(|(_, value)| value)))
    }
}
