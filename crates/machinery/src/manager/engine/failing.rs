//! Sources that fail for good, by themselves or with their context values.

use super::*;

impl<T: Send + 'static, C: Clone + Send + 'static> Engine<T, C> {
    /// Ends a source that has failed for good, which still owes its iteration stop.
    pub(super) fn fail(&mut self, shared: &Arc<Shared<T, C>>, source: &mut Owner<T, C>, error: &SharedError) {
        self.may_hold = true;
        drop_body(shared, source);
        source.fail(Arc::clone(error));
    }

    /// Ends a source that panicked.
    #[cold]
    pub(super) fn panicked(&mut self, shared: &Arc<Shared<T, C>>, link: LinkRef, exception: SharedError) -> Turn<T, C> {
        let Some(mut source) = opened::<T, C>(&link) else { return Turn::Nothing };
        if link.kind == QueueInput::Function {
            let (sources, context) = self.end(shared, link);
            return Turn::Yield(Fed::Failure { sources, exception, context });
        }
        self.fail(shared, &mut source, &exception);
        let (sources, context) = (source.sources(), cloned(source.context()));
        line_up::<T, C>(&mut self.ready, link);
        match context {
            Ok(context) => Turn::Yield(Fed::Failure { sources, exception, context }),
            // The iteration stop has the only context value that there is.
            Err(_) => {
                shared.report(CLONE_PANICKED, &sources, Some(&exception));
                Turn::Nothing
            }
        }
    }

    /// Ends a source that gave something for which its context value could not be cloned.
    #[cold]
    pub(super) fn lost(
        &mut self,
        shared: &Arc<Shared<T, C>>,
        link: LinkRef,
        given: Given<T>,
        panic: SharedError,
    ) -> Turn<T, C> {
        leave::given(shared, &link, given, None, CLONE_PANICKED);
        self.panicked(shared, link, panic)
    }
}
