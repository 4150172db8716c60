//! Work on many files or documents: by as many threads as there are processors, where that is worth it. Nothing shows but the time.

use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Into so many parts a thread's share is cut, so that one who got short ones takes more of them.
const PARTS: usize = 16;

/// How many threads so many items are worth, where a thread is worth `few` of them. How many processors there are is asked where that
/// matters: it takes some twenty calls of the kernel.
pub fn threads(items: usize, few: usize) -> usize {
    match items / few.max(1) {
        0 | 1 => 1,
        worth => std::thread::available_parallelism().map_or(1, NonZero::get).min(worth),
    }
}

/// What `work` makes of each item, in the items' order. A thread is worth `few` of them.
pub fn many<T: Sync, R: Send>(items: &[T], few: usize, work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let threads = threads(items.len(), few);
    if threads < 2 {
        return items.iter().map(work).collect();
    }
    let parts: Vec<&[T]> = items.chunks((items.len() / (threads * PARTS)).max(1)).collect();
    let next = AtomicUsize::new(0);
    let take = || {
        let mut done = Vec::new();
        while let Some((at, part)) = Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|at| Some((at, parts.get(at)?))) {
            done.push((at, part.iter().map(&work).collect::<Vec<R>>()));
        }
        done
    };
    let mut all: Vec<(usize, Vec<R>)> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(take)).collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
    });
    all.sort_unstable_by_key(|(at, _)| *at);
    all.into_iter().flat_map(|(_, done)| done).collect()
}

/// What two works make, side by side where that is `worth` a thread.
pub fn both<A: Send, B>(worth: bool, one: impl FnOnce() -> A + Send, other: impl FnOnce() -> B) -> (A, B) {
    if !worth {
        return (one(), other());
    }
    std::thread::scope(|scope| {
        let one = scope.spawn(one);
        let other = other();
        (one.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)), other)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_of_many_is_in_their_order() {
        for count in [0, 1, 7, 8, 33, 1000] {
            let items: Vec<usize> = (0..count).collect();
            assert_eq!(many(&items, 4, |item| item * 2), items.iter().map(|item| item * 2).collect::<Vec<_>>());
        }
    }

    #[test]
    fn both_are_made_wherever_they_are() {
        assert_eq!([both(false, || 1, || 2), both(true, || 1, || 2)], [(1, 2); 2]);
    }

    #[test]
    #[should_panic(expected = "the seventh")]
    fn a_panic_among_many_is_the_caller_s() {
        many(&[0; 100].into_iter().enumerate().collect::<Vec<_>>(), 4, |(at, _)| assert!(*at != 7, "the seventh"));
    }
}
