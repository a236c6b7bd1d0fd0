//! Keeps requests that speak of the spool behind the submissions that came before them on the same connection.

use std::collections::VecDeque;

/// The undecided submissions of a connection, and the requests that wait for them.
#[derive(Debug)]
pub(super) struct Order<R> {
    next: u64,
    undecided: u64,
    held: VecDeque<Held<R>>,
}

#[derive(Debug)]
struct Held<R> {
    /// Submissions from this number on came later.
    before: u64,
    /// Earlier ones that are undecided.
    undecided: u64,
    request: R,
}

impl<R> Default for Order<R> {
    fn default() -> Self {
        Self {
            next: 0,
            undecided: 0,
            held: VecDeque::new(),
        }
    }
}

impl<R> Order<R> {
    /// A number for the next submission.
    pub(super) fn number(&mut self) -> u64 {
        self.next += 1;
        self.next - 1
    }

    /// Whether a submission is undecided.
    pub(super) fn is_waiting(&self) -> bool {
        self.undecided > 0
    }

    /// The submission that was numbered last will be decided later.
    pub(super) fn wait(&mut self) {
        self.undecided += 1;
    }

    /// A request that speaks of what came before it: given back where that is decided, held otherwise.
    pub(super) fn hold(&mut self, request: R) -> Option<R> {
        if self.undecided == 0 && self.held.is_empty() {
            return Some(request);
        }
        self.held.push_back(Held {
            before: self.next,
            undecided: self.undecided,
            request,
        });
        None
    }

    /// A submission was decided. Gives the requests that waited for it last, in order.
    pub(super) fn decide(&mut self, number: u64) -> Vec<R> {
        self.undecided = self.undecided.saturating_sub(1);
        for held in &mut self.held {
            if number < held.before {
                held.undecided = held.undecided.saturating_sub(1);
            }
        }
        let mut free = Vec::new();
        while self.held.front().is_some_and(|held| held.undecided == 0) {
            free.extend(self.held.pop_front().map(|held| held.request));
        }
        free
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_waits_for_what_came_before_it_and_for_nothing_else() {
        let mut order = Order::default();
        assert_eq!(order.hold("at once"), Some("at once"));
        let submissions: Vec<u64> = (0..3)
            .map(|_| {
                let number = order.number();
                order.wait();
                number
            })
            .collect();
        assert_eq!(order.hold("a"), None);
        let later = order.number();
        order.wait();
        assert_eq!(order.hold("b"), None);
        assert_eq!(order.decide(later), Vec::<&str>::new());
        assert_eq!(order.decide(submissions[2]), Vec::<&str>::new());
        assert_eq!(order.decide(submissions[0]), Vec::<&str>::new());
        assert_eq!(order.decide(submissions[1]), ["a", "b"]);
        assert_eq!(order.hold("c"), Some("c"));
    }
}
