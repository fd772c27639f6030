//! Stopping: what was queued is taken out, and the sources are let go of.

use std::collections::VecDeque;
use std::sync::Arc;

use super::super::shared::DROP_PANICKED;
use super::super::streamer::UNREAD;
use super::*;

impl<T: Send + 'static, C: Clone + Send + 'static> Engine<T, C> {
    /// Moves all that was taken from its source already to `queued`. Sources stay where they are, or are dropped.
    pub(crate) fn take_queued(&mut self, shared: &Arc<Shared<T, C>>, drop_sources: bool) {
        self.collect(shared);
        // Also what nobody has been called for yet.
        self.collect_entries(shared);
        let mut kept = VecDeque::new();
        let mut fresh = 0;
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
                Entry::Sources { count } => {
                    fresh += count;
                    kept.push_back(Entry::Sources { count });
                }
                source @ Entry::Elsewhere { .. } => kept.push_back(source),
            }
        }
        for mut batch in std::mem::take(&mut self.batches) {
            for (given, context) in batch.items.by_ref() {
                batch.yielded += 1;
                match result::of(&batch.link, given, context) {
                    Ok(fed) => self.queued.push_back(fed),
                    Err((sub, context)) => {
                        kept.push_back(Entry::Arrived { link: batch.link.clone(), given: Given::Source(sub), context })
                    }
                }
            }
            if let Some((exception, context)) = batch.end {
                let sources = Sources::link(&batch.link);
                self.queued.push_back(Fed::IterationStop { sources, exception, context });
            }
            shared.lane.yielded(shared, batch.yielded);
        }
        if self.may_hold {
            let keys: Vec<u32> = self.slots.iter().map(|(key, _)| key).collect();
            for key in keys {
                self.take_from_place(shared, key, &mut kept);
            }
            self.may_hold = !self.slots.is_empty();
        }
        for mut source in std::mem::take(&mut self.leaving) {
            if let Some(end) = take_from(shared, &mut source, &mut self.queued, &mut kept) {
                self.queued.push_back(ended(shared, source, end));
            } else {
                self.leaving.push(source);
            }
        }
        if drop_sources {
            for entry in kept.drain(..) {
                leave_entry(shared, entry);
            }
            for source in self.fresh.drain(..) {
                leave_source(shared, source);
            }
        }
        self.entries = kept;
        debug_assert!(fresh == self.fresh.len() || drop_sources);
        self.ready.retain(Option::is_some);
        self.runs.clear();
        self.line_up_entries(self.entries.iter().map(Entry::turns).sum());
        self.round = 0;
    }

    fn take_from_place(&mut self, shared: &Arc<Shared<T, C>>, key: u32, kept: &mut VecDeque<Entry<T, C>>) {
        let Some(source) = self.slots.get_mut(key) else { return };
        // Those that were set aside first: what they have taken was taken before.
        let mut freed = 0;
        if source.has_below() {
            let mut at = 0;
            while let Some(below) = source.below().get_mut(at) {
                if let Below::Begun(begun) = below
                    && let Some(end) = take_from(shared, begun, &mut self.queued, kept)
                {
                    if let Below::Begun(begun) = source.below().remove(at) {
                        self.queued.push_back(ended(shared, begun, end));
                    }
                    freed += 1;
                } else {
                    at += 1;
                }
            }
        }
        if let Some(exception) = take_from(shared, source, &mut self.queued, kept) {
            let link = source.give();
            let (sources, context) = self.end(shared, link);
            self.queued.push_back(Fed::IterationStop { sources, exception, context });
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
        self.holding = 0;
        for waiting in std::mem::take(&mut self.waiting) {
            leave_fresh(shared, waiting.fresh);
        }
        for mut source in self.slots.drain_all() {
            let below = if source.has_below() { std::mem::take(source.below()) } else { Vec::new() };
            self.leave(shared, wait, source);
            for below in below.into_iter().rev() {
                match below {
                    Below::Begun(source) => self.leave(shared, wait, source),
                    Below::Fresh(fresh) => leave_fresh(shared, fresh),
                }
            }
        }
        self.may_hold = false;
        if !wait {
            for source in std::mem::take(&mut self.leaving) {
                leave_source(shared, source);
            }
        }
        shared.running.drop_waiting(shared);
        shared.lane.drop_waiting(shared);
    }

    fn leave(&mut self, shared: &Arc<Shared<T, C>>, wait: bool, mut source: Owner<T, C>) {
        if wait && source.runs_elsewhere() {
            self.leaving.push(source);
        } else {
            leave_source(shared, source);
        }
    }
}

/// Moves what a source has taken and not given on to `queued`; says what it has ended with, if it has.
fn take_from<T, C>(
    shared: &Arc<Shared<T, C>>,
    source: &mut Owner<T, C>,
    queued: &mut VecDeque<Fed<T, C>>,
    kept: &mut VecDeque<Entry<T, C>>,
) -> Option<Option<SharedError>>
where
    T: Send + 'static,
    C: Clone + Send + 'static,
{
    loop {
        let given = match guarded(|| source.taken()) {
            Ok(Some(Step::Item(given) | Step::Only(given))) => given,
            Ok(Some(Step::End(exception))) => return Some(exception),
            Ok(None) | Err(_) => return None,
        };
        let link = source.give();
        match cloned(source.context()) {
            Ok(context) => match result::of(&link, given, context) {
                Ok(fed) => queued.push_back(fed),
                Err((sub, context)) => kept.push_back(Entry::Arrived { link, given: Given::Source(sub), context }),
            },
            Err(exception) => {
                leave::given(shared, &link, given, None, CLONE_PANICKED);
                drop_body(shared, source);
                match cloned(source.context()) {
                    Ok(context) => {
                        let (sources, exception) = (Sources::of(link), Arc::clone(&exception));
                        queued.push_back(Fed::Failure { sources, exception, context });
                    }
                    Err(_) => shared.report(CLONE_PANICKED, &Sources::of(link), Some(&exception)),
                }
                return Some(Some(exception));
            }
        }
    }
}

/// Makes a source that has ended its iteration stop.
fn ended<T, C>(shared: &Arc<Shared<T, C>>, mut source: Owner<T, C>, exception: Option<SharedError>) -> Fed<T, C>
where
    T: Send + 'static,
    C: Clone + Send + 'static,
{
    drop_body(shared, &mut source);
    let link = source.give();
    let (sources, context) = source.finish(link);
    Fed::IterationStop { sources, exception, context }
}

/// Lets go of something that has not had its turn: a source in it may have begun before it came here.
pub(crate) fn leave_entry<T, C>(shared: &Arc<Shared<T, C>>, entry: Entry<T, C>)
where
    T: Send + 'static,
    C: Clone + Send + 'static,
{
    match entry {
        Entry::Elsewhere { sub, context } => leave::sub(shared, *sub, None, Some(context)),
        Entry::Arrived { link, given, context } => leave::given(shared, &link, given, Some(context), UNREAD),
        Entry::Values { .. } | Entry::Sources { .. } => {}
    }
}

pub(crate) fn leave_source<T, C>(shared: &Arc<Shared<T, C>>, mut source: Owner<T, C>)
where
    T: Send + 'static,
    C: Clone + Send + 'static,
{
    drop_body(shared, &mut source);
    if std::mem::needs_drop::<C>() {
        let link = source.give();
        shared.dispose(link.name.as_ref(), source);
    }
}

fn leave_fresh<T, C>(shared: &Arc<Shared<T, C>>, fresh: Fresh<T, C>)
where
    T: Send + 'static,
    C: Clone + Send + 'static,
{
    match fresh {
        Fresh::InTurn(source) => leave_source(shared, source),
        Fresh::InOwnTask { sub, parent, context } => leave::sub(shared, sub, parent, Some(context)),
    }
}

/// Drops a source; what it still has to do is done in a task.
pub(super) fn drop_body<T, C>(shared: &Arc<Shared<T, C>>, source: &mut Owner<T, C>)
where
    T: Send + 'static,
    C: Clone + Send + 'static,
{
    if let Ok(Some(closing)) = guarded(|| source.close()) {
        running::close(shared, &source.give(), cloned(source.context()).ok(), closing);
    }
    if let Err(panic) = guarded(|| source.drop_body()) {
        shared.report(DROP_PANICKED, &source.sources(), Some(&panic));
    }
}
