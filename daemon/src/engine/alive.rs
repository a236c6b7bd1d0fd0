//! A panic in what the daemon cannot do without ends it: nobody else would notice, and it would go on as if all were
//! well.

use super::Engine;

/// Held by a thread or task for as long as it lives; tells where it ends by a panic.
pub(crate) struct Alive<E: Fn(String)> {
    what: &'static str,
    end: E,
}

impl<E: Fn(String)> Drop for Alive<E> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            (self.end)(format!("a panic in {}", self.what));
        }
    }
}

impl Engine {
    /// The daemon ends where the thread or task that holds this panics.
    pub(crate) fn cannot_do_without(&self, what: &'static str) -> Alive<impl Fn(String)> {
        let end = |why| self.end(why);
        Alive { what, end }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    #[test]
    fn it_tells_of_a_panic_and_of_nothing_else() {
        let told = RefCell::new(Vec::new());
        let alive = || Alive {
            what: "the test",
            end: |why| told.borrow_mut().push(why),
        };
        drop(alive());
        assert!(told.borrow().is_empty());
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            let _alive = alive();
            panic!("on purpose");
        }));
        assert!(panicked.is_err());
        assert_eq!(*told.borrow(), ["a panic in the test"]);
    }
}
