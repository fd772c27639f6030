//! What can be given to a wait.

use crate::protocols::WaitByCallback;

/// The members of a [`wait_for_first`](crate::wait_for_first) or [`wait_for_all`](crate::wait_for_all): tuples of up to
/// twelve, arrays, slices and vectors of things that are [`WaitByCallback`].
///
/// # Examples
///
/// ```
/// use machinery::{Event, Promise};
/// use machinery::protocols::WaitByCallback;
/// use machinery::wait::WaitMembers;
///
/// fn how_many(members: impl WaitMembers) -> usize {
///     members.count()
/// }
///
/// let (event, promise) = (Event::new(), Promise::<u32>::new("answer"));
/// assert_eq!(how_many((&event, &promise)), 2);
/// assert_eq!(how_many([&event as &dyn WaitByCallback, &promise]), 2);
/// assert_eq!(how_many(vec![event]), 1);
/// assert_eq!(how_many(()), 0);
/// ```
pub trait WaitMembers {
    /// How many there are. The number never changes.
    fn count(&self) -> usize;

    /// The member at `index`, which is below [`count`](Self::count).
    ///
    /// # Panics
    ///
    /// If `index` is not below the count.
    fn member(&self, index: usize) -> &dyn WaitByCallback;
}

impl<W: WaitByCallback> WaitMembers for &[W] {
    fn count(&self) -> usize {
        self.len()
    }

    fn member(&self, index: usize) -> &dyn WaitByCallback {
        &self[index]
    }
}

impl<W: WaitByCallback, const N: usize> WaitMembers for [W; N] {
    fn count(&self) -> usize {
        N
    }

    fn member(&self, index: usize) -> &dyn WaitByCallback {
        &self[index]
    }
}

impl<W: WaitByCallback, const N: usize> WaitMembers for &[W; N] {
    fn count(&self) -> usize {
        N
    }

    fn member(&self, index: usize) -> &dyn WaitByCallback {
        &self[index]
    }
}

impl<W: WaitByCallback> WaitMembers for Vec<W> {
    fn count(&self) -> usize {
        self.len()
    }

    fn member(&self, index: usize) -> &dyn WaitByCallback {
        &self[index]
    }
}

impl<W: WaitByCallback> WaitMembers for &Vec<W> {
    fn count(&self) -> usize {
        self.len()
    }

    fn member(&self, index: usize) -> &dyn WaitByCallback {
        &self[index]
    }
}

macro_rules! tuples {
    ($($count:literal: $($name:ident $index:tt),*;)*) => {$(
        impl<$($name: WaitByCallback),*> WaitMembers for ($($name,)*) {
            fn count(&self) -> usize {
                $count
            }

            fn member(&self, index: usize) -> &dyn WaitByCallback {
                match index {
                    $($index => &self.$index,)*
                    _ => panic!("a tuple of {} has no member {index}", $count),
                }
            }
        }
    )*};
}

tuples! {
    0: ;
    1: A 0;
    2: A 0, B 1;
    3: A 0, B 1, C 2;
    4: A 0, B 1, C 2, D 3;
    5: A 0, B 1, C 2, D 3, E 4;
    6: A 0, B 1, C 2, D 3, E 4, F 5;
    7: A 0, B 1, C 2, D 3, E 4, F 5, G 6;
    8: A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7;
    9: A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8;
    10: A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9;
    11: A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9, K 10;
    12: A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9, K 10, L 11;
}
