//! What waits in a queue, in its order: values in chunks, and instructions beside them.

use std::collections::VecDeque;
use std::fmt;

/// A function that runs when its turn comes.
pub(crate) type Instruction = Box<dyn FnOnce() + Send>;

/// What goes into a queue.
pub(crate) enum Entry<T> {
    Item(T),
    Instruction(Instruction),
}

/// Values and instructions in one order.
///
/// Instructions are rare, so they do not share a slot with the values: each knows the number of the value in
/// front of which it stands, and a value costs its own size only.
pub(crate) struct Backlog<T> {
    items: Chunks<T>,
    /// In order; `.0` is the number of the item that comes next after the instruction.
    instructions: VecDeque<(u64, Instruction)>,
    /// The number of the first item; wraps.
    first: u64,
}

impl<T> Backlog<T> {
    pub(crate) const fn new() -> Self {
        Self { items: Chunks::new(), instructions: VecDeque::new(), first: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.items.len() + self.instructions.len()
    }

    /// Whether what is in it has a drop that may do anything.
    pub(crate) fn drops_of_users(&self) -> bool {
        (std::mem::needs_drop::<T>() && !self.is_empty()) || !self.instructions.is_empty()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.items.len() == 0 && self.instructions.is_empty()
    }

    #[inline]
    pub(crate) fn push_back(&mut self, entry: Entry<T>) {
        match entry {
            Entry::Item(item) => self.items.push_back(item),
            Entry::Instruction(instruction) => {
                let at = self.first.wrapping_add(self.items.len() as u64);
                self.instructions.push_back((at, instruction));
            }
        }
    }

    pub(crate) fn push_front(&mut self, entry: Entry<T>) {
        match entry {
            Entry::Item(item) => {
                self.items.push_front(item);
                self.first = self.first.wrapping_sub(1);
            }
            Entry::Instruction(instruction) => self.instructions.push_front((self.first, instruction)),
        }
    }

    /// Takes what is at the front, if that is an item.
    // Items and instructions are taken by two functions: what comes back then fits into registers.
    #[inline]
    pub(crate) fn pop_item(&mut self) -> Option<T> {
        if self.is_instruction_next() {
            return None;
        }
        let item = self.items.pop_front()?;
        self.first = self.first.wrapping_add(1);
        Some(item)
    }

    /// Takes what is at the front, if that is an instruction.
    pub(crate) fn pop_instruction(&mut self) -> Option<Instruction> {
        if !self.is_instruction_next() {
            return None;
        }
        self.instructions.pop_front().map(|(_, instruction)| instruction)
    }

    #[inline]
    fn is_instruction_next(&self) -> bool {
        self.instructions.front().is_some_and(|(at, _)| *at == self.first)
    }
}

impl<T> fmt::Debug for Backlog<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backlog").field("len", &self.len()).finish_non_exhaustive()
    }
}

/// A double-ended queue that grows by chunks, so that a long one is never copied.
struct Chunks<T> {
    front: VecDeque<T>,
    middle: VecDeque<VecDeque<T>>,
    back: VecDeque<T>,
    len: usize,
}

impl<T> Chunks<T> {
    /// About 16 KiB, which the allocator serves without asking the system for pages of its own.
    const CHUNK: usize = {
        let size = if size_of::<T>() == 0 { 1 } else { size_of::<T>() };
        let fit = (16 << 10) / size;
        if fit < 16 {
            16
        } else if fit > 1024 {
            1024
        } else {
            fit
        }
    };

    const fn new() -> Self {
        Self { front: VecDeque::new(), middle: VecDeque::new(), back: VecDeque::new(), len: 0 }
    }

    fn len(&self) -> usize {
        self.len
    }

    #[inline]
    fn push_back(&mut self, item: T) {
        if self.back.len() >= Self::CHUNK {
            self.begin_chunk();
        }
        self.back.push_back(item);
        self.len += 1;
    }

    #[cold]
    #[inline(never)]
    fn begin_chunk(&mut self) {
        let full = std::mem::replace(&mut self.back, VecDeque::with_capacity(Self::CHUNK));
        self.middle.push_back(full);
    }

    fn push_front(&mut self, item: T) {
        if self.front.len() >= Self::CHUNK {
            let full = std::mem::replace(&mut self.front, VecDeque::with_capacity(Self::CHUNK));
            self.middle.push_front(full);
        }
        self.front.push_front(item);
        self.len += 1;
    }

    #[inline]
    fn pop_front(&mut self) -> Option<T> {
        let item = match self.front.pop_front() {
            Some(item) => item,
            None if self.middle.is_empty() => self.back.pop_front()?,
            None => self.next_chunk()?,
        };
        self.len -= 1;
        Some(item)
    }

    #[cold]
    fn next_chunk(&mut self) -> Option<T> {
        self.front = self.middle.pop_front()?;
        if self.middle.is_empty() && self.middle.capacity() > 64 {
            // A burst is over: its index goes back to the allocator.
            self.middle = VecDeque::new();
        }
        self.front.pop_front()
    }
}
