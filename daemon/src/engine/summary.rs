//! The state of the daemon in one line.

use super::Engine;

impl Engine {
    /// The queues and what waits in them, for people.
    pub(crate) fn summary(&self) -> String {
        let (mut queues, mut ready, mut dead) = (0, 0, 0);
        for queue in self.queues() {
            let state = queue.commit.lock();
            queues += 1;
            ready += state.ready_sum().0;
            dead += state.dead_sum().0;
        }
        summarise(queues, ready, dead)
    }
}

fn summarise(queues: usize, ready: usize, dead: usize) -> String {
    let count = |count: usize, one: &str, many: &str| {
        format!("{count} {}", if count == 1 { one } else { many })
    };
    let mut line = format!(
        "taking submissions: {}, {} waiting",
        count(queues, "queue", "queues"),
        count(ready, "batch", "batches")
    );
    if dead > 0 {
        line += &format!(", {dead} dead");
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary() {
        assert_eq!(
            summarise(1, 0, 0),
            "taking submissions: 1 queue, 0 batches waiting"
        );
        assert_eq!(
            summarise(2, 1, 3),
            "taking submissions: 2 queues, 1 batch waiting, 3 dead"
        );
    }
}
