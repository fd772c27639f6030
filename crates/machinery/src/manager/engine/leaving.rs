//! Stopping: what was queued is taken out, and the sources are let go of.

use std::collections::VecDeque;
use std::sync::Arc;

use super::*;

impl<T: Send + 'static, C: Clone + Send + 'static> Engine<T, C> {
    /// Moves all that was taken from its source already to `queued`. Sources stay where they are, or are dropped.
    pub(crate) fn take_queued(&mut self, shared: &Arc<Shared<T, C>>, drop_sources: bool) {
        self.collect(shared);
        // Also what nobody has been called for yet.
        self.collect_entries(shared);
        let mut kept = VecDeque::new();
        for entry in std::mem::take(&mut self.entries) {
            match entry {
                Entry::Values { name, count } => {
                    self.queued.extend(self.values.drain(..count).map(|(value, context)| Fed::Success {
                        sources: Sources::value(name.clone()),
                        value,
                        context,
                    }));
                }
                Entry::Arrived { link, given, context } => match result::of(&link, given, context) {
                    Ok(fed) => self.queued.push_back(fed),
                    Err((sub, context)) => kept.push_back(Entry::Arrived { link, given: Given::Source(sub), context }),
                },
                source @ Entry::Source { .. } => kept.push_back(source),
            }
        }
        for mut batch in std::mem::take(&mut self.batches) {
            for given in batch.items.by_ref() {
                batch.yielded += 1;
                match result::of(&batch.link, given, batch.context.clone()) {
                    Ok(fed) => self.queued.push_back(fed),
                    Err((sub, context)) => kept.push_back(Entry::Arrived {
                        link: Arc::clone(&batch.link),
                        given: Given::Source(sub),
                        context,
                    }),
                }
            }
            if let Some(exception) = batch.end {
                let sources = Sources::link(&batch.link);
                self.queued.push_back(Fed::IterationStop { sources, exception, context: batch.context });
            }
            shared.lane.yielded(shared, batch.yielded);
        }
        let keys: Vec<u32> = self.slots.iter().map(|(key, _)| key).collect();
        for key in keys {
            self.take_from_slot(shared, key, &mut kept);
        }
        for (body, link, context) in &mut self.leaving {
            if take_from(body, link, context, &mut self.queued, &mut kept) {
                *body = Box::pin(Over);
            }
        }
        if drop_sources {
            for entry in kept.drain(..) {
                match entry {
                    // It runs already: it is stopped and waited for like those that had their turn.
                    Entry::Arrived { link, given: Given::Source(sub), context } if sub.kind == QueueInput::Task => {
                        shared.running.count();
                        shared.running.start(shared, *sub, Some(Sources::link(&link)), context, None);
                    }
                    entry => drop(guarded(move || drop(entry))),
                }
            }
        }
        self.entries = kept;
        self.ready.retain(|&turn| turn != ENTRY && turn != BATCH);
        self.runs.clear();
        self.line_up_entries(self.entries.len());
        self.round = 0;
    }

    fn take_from_slot(&mut self, shared: &Arc<Shared<T, C>>, key: u32, kept: &mut VecDeque<Entry<T, C>>) {
        let Some(slot) = self.slots.get_mut(key) else { return };
        // Those that were set aside first: what they have taken was taken before.
        let (mut at, mut freed) = (0, 0);
        while let Some(Below::Begun { body, link, context, .. }) =
            slot.below.as_mut().and_then(|below| below.get_mut(at))
        {
            let ended = take_from(body, link, context, &mut self.queued, kept);
            if ended {
                drop(slot.below.as_mut().map(|below| below.remove(at)));
                freed += 1;
            } else {
                at += 1;
            }
        }
        if take_from(&mut slot.body, &slot.link, &slot.context, &mut self.queued, kept) {
            self.end(shared, key);
        }
        for _ in 0..freed {
            self.gave_back(shared);
        }
    }

    /// Drops every source; what was taken from them already is in `queued`.
    ///
    /// Those whose items are taken elsewhere are kept until that is over, if `wait` says so.
    pub(crate) fn drop_sources(&mut self, shared: &Arc<Shared<T, C>>, wait: bool) {
        self.ready.clear();
        self.runs.clear();
        self.round = 0;
        self.set_aside = 0;
        for waiting in std::mem::take(&mut self.waiting) {
            drop(guarded(move || drop(waiting)));
        }
        for slot in self.slots.drain_all() {
            let Slot { body, link, below, context, .. } = slot;
            self.leave(shared, wait, body, link, context);
            for below in below.into_iter().flat_map(|below| below.into_iter().rev()) {
                match below {
                    Below::Begun { body, link, context, .. } => self.leave(shared, wait, body, link, context),
                    Below::Fresh { sub, .. } => drop(guarded(move || drop(sub))),
                }
            }
        }
        if !wait {
            for (body, link, context) in std::mem::take(&mut self.leaving) {
                drop_body(shared, body, &link, &context);
            }
        }
        shared.running.drop_waiting(shared);
        shared.lane.drop_waiting(shared);
    }

    fn leave(&mut self, shared: &Arc<Shared<T, C>>, wait: bool, body: BoxBody<T>, link: Arc<Link>, context: C) {
        if wait && body.runs_elsewhere() {
            self.leaving.push((body, link, context));
        } else {
            drop_body(shared, body, &link, &context);
        }
    }
}

/// Moves what `body` has taken and not given on to `queued`; says whether it has ended.
fn take_from<T, C: Clone>(
    body: &mut BoxBody<T>,
    link: &Arc<Link>,
    context: &C,
    queued: &mut VecDeque<Fed<T, C>>,
    kept: &mut VecDeque<Entry<T, C>>,
) -> bool {
    loop {
        let Ok(Some(step)) = guarded(|| body.as_mut().taken()) else { return false };
        match step {
            Step::Item(given) | Step::Only(given) => match result::of(link, given, context.clone()) {
                Ok(fed) => queued.push_back(fed),
                Err((sub, context)) => {
                    kept.push_back(Entry::Arrived { link: Arc::clone(link), given: Given::Source(sub), context });
                }
            },
            Step::End(exception) => {
                let sources = Sources::link(link);
                queued.push_back(Fed::IterationStop { sources, exception, context: context.clone() });
                return true;
            }
        }
    }
}

/// Drops a source; what it still has to do is done in a task.
pub(super) fn drop_body<T, C>(shared: &Arc<Shared<T, C>>, mut body: BoxBody<T>, link: &Arc<Link>, context: &C)
where
    T: Send + 'static,
    C: Clone + Send + 'static,
{
    if let Ok(Some(closing)) = guarded(|| body.as_mut().close()) {
        running::close(shared, link, context, closing);
    }
    if let Err(panic) = guarded(move || drop(body)) {
        shared.report("source panicked when it was dropped", &Sources::link(link), Some(&panic));
    }
}
