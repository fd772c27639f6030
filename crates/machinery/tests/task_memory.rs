//! What tasks leave behind, counted in bytes.
#![expect(unsafe_code, reason = "an allocator that counts")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicIsize, Ordering};

use machinery::{Ctx, TaskHolder, async_as_background};

struct Counting;

static BYTES: AtomicIsize = AtomicIsize::new(0);

// SAFETY: it hands everything to the system's allocator, unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        BYTES.fetch_add(layout.size().cast_signed(), Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        BYTES.fetch_sub(layout.size().cast_signed(), Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn bytes() -> isize {
    BYTES.load(Ordering::Relaxed)
}

/// One test, as others beside it would be counted too. Reliability 26.
#[test]
fn scenario_26_memory_stays_flat_while_a_million_tasks_come_and_go() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let root = Ctx::beginning("root");
        let tasks = TaskHolder::new(&root);
        let mut after_the_first = 0;
        for round in 0..100 {
            for n in 0..5_000 {
                tasks.add(format!("quick {n}"), async {});
                tasks.add_with("told", |ctx| async move {
                    tokio::task::yield_now().await;
                    drop(ctx);
                });
            }
            while tasks.pending() > 0 {
                tokio::task::yield_now().await;
            }
            match round {
                0 => after_the_first = bytes(),
                _ => assert!(
                    bytes() <= after_the_first + 4096,
                    "{} bytes more after round {round}",
                    bytes() - after_the_first
                ),
            }
        }
        tasks.finish().await;

        for round in 0..20 {
            for _ in 0..1_000 {
                drop(async_as_background(&root, "quick", async {}));
                async_as_background(&root, "awaited", async {}).await.unwrap();
            }
            match round {
                0 => after_the_first = bytes(),
                _ => assert!(
                    bytes() <= after_the_first + 4096,
                    "{} bytes more after round {round}",
                    bytes() - after_the_first
                ),
            }
        }
    });
}
