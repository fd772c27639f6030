//! Blocking sources that are not asked for more until what they have yielded has begun.

use std::collections::HashMap;

use super::Job;

pub(super) struct Held<T, C>(HashMap<u64, Hold<T, C>>);

struct Hold<T, C> {
    /// How much of what it has yielded has not begun.
    count: usize,
    /// The source, once a worker has brought it.
    job: Option<Job<T, C>>,
}

impl<T, C> Held<T, C> {
    pub(super) fn new() -> Self {
        Self(HashMap::new())
    }

    /// How many sources are held, those included that have ended meanwhile.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Holds the source with this number until it is released as often.
    pub(super) fn hold(&mut self, id: u64) {
        self.0.entry(id).or_insert(Hold { count: 0, job: None }).count += 1;
    }

    /// Gives the source back if it is free now.
    pub(super) fn release(&mut self, id: u64) -> Option<Job<T, C>> {
        let hold = self.0.get_mut(&id)?;
        hold.count -= 1;
        if hold.count > 0 { None } else { self.0.remove(&id)?.job }
    }

    pub(super) fn holds(&self, id: u64) -> bool {
        self.0.contains_key(&id)
    }

    /// Keeps a source if it is held, or gives it back.
    pub(super) fn keep(&mut self, job: Job<T, C>) -> Option<Job<T, C>> {
        match self.0.get_mut(&job.link.id) {
            Some(hold) => {
                hold.job = Some(job);
                None
            }
            None => Some(job),
        }
    }

    pub(super) fn take_all(&mut self) -> impl Iterator<Item = Job<T, C>> {
        self.0.values_mut().filter_map(|hold| hold.job.take())
    }
}
