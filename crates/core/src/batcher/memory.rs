//! Items in memory.

use std::sync::{Arc, Mutex, PoisonError};

use super::builder::Builder;
use super::callbacks::{Batcher, CallbackResult, Closed};
use super::options::Config;

type Process<T> = dyn FnMut(&Closed<Vec<T>>) -> CallbackResult + Send;

/// A batcher that keeps its items in memory, in order, and gives each batch to a function.
///
/// Its items have no bytes, so that `max_bytes` is no bound, unless [`on_item_bytes`](Builder::on_item_bytes) says how
/// many. After `MemoryBatcher` of BatchPlease. [`durable`](Builder::durable) keeps the items on a spool besides.
pub struct MemoryBatcher<T> {
    process: Arc<Mutex<Process<T>>>,
}

impl<T> std::fmt::Debug for MemoryBatcher<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MemoryBatcher")
    }
}

impl<T: Clone + Send + 'static> MemoryBatcher<T> {
    /// A server that gives each batch to `process`.
    pub fn of(
        process: impl FnMut(&Closed<Vec<T>>) -> CallbackResult + Send + 'static,
    ) -> Builder<Self> {
        let process: Arc<Mutex<Process<T>>> = Arc::new(Mutex::new(process));
        Builder::new(move || Self {
            process: Arc::clone(&process),
        })
    }
}

impl<T: Clone> Batcher for MemoryBatcher<T> {
    type Item = T;
    type Batch = Vec<T>;

    fn init(&mut self, _: &Config) -> CallbackResult<Vec<T>> {
        Ok(Vec::new())
    }

    fn add_item(&mut self, batch: &mut Vec<T>, item: &T) -> CallbackResult {
        batch.push(item.clone());
        Ok(())
    }

    fn flush(&mut self, batch: &Closed<Vec<T>>) -> CallbackResult {
        let mut process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        process(batch)
    }
}
