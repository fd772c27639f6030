//! Which of the types of contexts may be sent, shared and moved: a table that the compiler checks.

use std::fmt::{Debug, Display};
use std::hash::Hash;
use std::panic::{RefUnwindSafe, UnwindSafe};

use machinery::ctx::{
    CallbackFinished, CallbackId, Canceller, Close, Completion, CompletionKind, Done, Drained, Removal, Run,
};
use machinery::queue::QueueStream;
use machinery::sync_queue::SyncIter;
use machinery::tick::{Pauser, TickerHandle};
use machinery::{
    Ctx, CtxGuard, CtxOptions, Event, Name, NoRuntime, Promise, Queue, QueueFeeder, SyncQueue, Task, TaskError,
    TaskHolder, Tasks, Ticker,
};

macro_rules! table {
    ($($type:ty: $($bound:path)|+;)*) => {
        $({
            const fn holds<T: $($bound +)+>() {}
            holds::<$type>();
        })*
    };
}

#[test]
fn everything_can_be_sent_shared_and_moved() {
    table! {
        Ctx: Send | Sync | Unpin | Clone | Debug | Display | Eq | Hash;
        CtxGuard: Send | Sync | Unpin | Debug | Display;
        Canceller: Send | Sync | Unpin | Clone | Debug;
        CtxOptions: Send | Sync | Unpin | Clone | Debug | Default;
        Completion: Send | Sync | Unpin | Clone | Debug | Display | std::error::Error;
        CompletionKind: Send | Sync | Unpin | Copy | Debug | Display | Eq | Hash;
        CallbackId: Send | Sync | Unpin | Copy | Debug | Eq | Hash;
        Removal: Send | Sync | Unpin | Copy | Debug | Eq | Hash;
        Done: Send | Sync | Unpin | Debug;
        Drained: Send | Sync | Unpin | Debug;
        Close: Send | Sync | Unpin | Debug;
        CallbackFinished: Send | Sync | Unpin | Debug;
        Run<std::future::Ready<()>>: Send | Sync | Unpin | Debug;
        Name: Send | Sync | Unpin | Clone | Debug | Display | Eq | Hash;
        NoRuntime: Send | Sync | Unpin | Clone | Debug | Display | std::error::Error;
    }
}

#[test]
fn contexts_may_be_used_after_a_panic_was_caught() {
    table! {
        Ctx: UnwindSafe | RefUnwindSafe;
        CtxGuard: UnwindSafe | RefUnwindSafe;
        Canceller: UnwindSafe | RefUnwindSafe;
        Done: UnwindSafe | RefUnwindSafe;
        Drained: UnwindSafe | RefUnwindSafe;
        Completion: UnwindSafe | RefUnwindSafe;
    }
}

#[test]
fn what_hangs_on_contexts_may_be_used_after_a_panic_was_caught() {
    type Item = std::cell::Cell<u8>;
    table! {
        Event: UnwindSafe | RefUnwindSafe;
        Promise<u8>: UnwindSafe | RefUnwindSafe;
        Task<Item>: UnwindSafe | RefUnwindSafe;
        TaskError: UnwindSafe | RefUnwindSafe;
        Tasks: UnwindSafe | RefUnwindSafe;
        TaskHolder: UnwindSafe | RefUnwindSafe;
        Queue<Item>: UnwindSafe | RefUnwindSafe;
        QueueStream<Item>: UnwindSafe | RefUnwindSafe;
        SyncQueue<Item>: UnwindSafe | RefUnwindSafe;
        SyncIter<Item>: UnwindSafe | RefUnwindSafe;
        Ticker: UnwindSafe | RefUnwindSafe;
        TickerHandle: UnwindSafe | RefUnwindSafe;
        Pauser: UnwindSafe | RefUnwindSafe;
        QueueFeeder<Item>: UnwindSafe | RefUnwindSafe;
    }
}

#[test]
fn a_handle_is_one_word_and_an_empty_place_for_it_no_more() {
    assert_eq!(size_of::<Ctx>(), size_of::<usize>());
    assert_eq!(size_of::<Option<Ctx>>(), size_of::<usize>());
}
