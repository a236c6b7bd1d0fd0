//! Callbacks that are replaced for one server, and the call of a callback.

use super::callbacks::{Batcher, CallbackResult, Closed, View};
use super::codec::BoxError;
use super::options::Config;
use super::panics::{catch, words};

type Init<B> = dyn FnMut(&mut B, &Config) -> CallbackResult<<B as Batcher>::Batch> + Send;
type AddItem<B> =
    dyn FnMut(&mut B, &mut <B as Batcher>::Batch, &<B as Batcher>::Item) -> CallbackResult + Send;
type OfClosed<B> = dyn FnMut(&mut B, &Closed<<B as Batcher>::Batch>) -> CallbackResult + Send;
type PreFlush<B> = dyn FnMut(&mut B, &mut Closed<<B as Batcher>::Batch>) -> CallbackResult + Send;
type Terminate<B> = dyn FnMut(&mut B, Option<&mut <B as Batcher>::Batch>) -> CallbackResult + Send;
type ItemBytes<B> = dyn FnMut(&B, &<B as Batcher>::Item) -> u64 + Send;
type ShouldFlush<B> = dyn FnMut(&mut B, &View<'_, B>) -> bool + Send;

/// Callbacks in place of those of the type.
pub(super) struct Overrides<B: Batcher> {
    pub(super) init: Option<Box<Init<B>>>,
    pub(super) add_item: Option<Box<AddItem<B>>>,
    pub(super) pre_flush: Option<Box<PreFlush<B>>>,
    pub(super) flush: Option<Box<OfClosed<B>>>,
    pub(super) post_flush: Option<Box<OfClosed<B>>>,
    pub(super) terminate: Option<Box<Terminate<B>>>,
    pub(super) should_flush: Option<Box<ShouldFlush<B>>>,
    pub(super) item_bytes: Option<Box<ItemBytes<B>>>,
}

impl<B: Batcher> Default for Overrides<B> {
    fn default() -> Self {
        Self {
            init: None,
            add_item: None,
            pre_flush: None,
            flush: None,
            post_flush: None,
            terminate: None,
            should_flush: None,
            item_bytes: None,
        }
    }
}

impl<B: Batcher> Overrides<B> {
    /// The names of those that are replaced.
    pub(super) fn names(&self) -> Vec<&'static str> {
        [
            ("init", self.init.is_some()),
            ("add_item", self.add_item.is_some()),
            ("pre_flush", self.pre_flush.is_some()),
            ("flush", self.flush.is_some()),
            ("post_flush", self.post_flush.is_some()),
            ("terminate", self.terminate.is_some()),
            ("should_flush", self.should_flush.is_some()),
            ("item_bytes", self.item_bytes.is_some()),
        ]
        .into_iter()
        .filter_map(|(name, is_replaced)| is_replaced.then_some(name))
        .collect()
    }
}

/// Why a callback did not succeed.
#[derive(Debug)]
pub(super) enum CallError {
    Failed(BoxError),
    Panicked(String),
}

impl CallError {
    /// What is said of it. An error of the program's own may panic even at that.
    pub(super) fn said(&self) -> String {
        match self {
            Self::Failed(error) => words(error),
            Self::Panicked(what) => format!("panicked: {what}"),
        }
    }
}

/// A batcher with the callbacks that are replaced.
pub(super) struct Callbacks<'a, B: Batcher> {
    batcher: B,
    overrides: &'a mut Overrides<B>,
}

impl<'a, B: Batcher> Callbacks<'a, B> {
    pub(super) fn new(batcher: B, overrides: &'a mut Overrides<B>) -> Self {
        Self { batcher, overrides }
    }

    pub(super) fn overridden(&self) -> Vec<&'static str> {
        self.overrides.names()
    }

    pub(super) fn init(&mut self, config: &Config) -> Result<B::Batch, CallError> {
        let Self { batcher, overrides } = self;
        call(|| match &mut overrides.init {
            Some(init) => init(batcher, config),
            None => batcher.init(config),
        })
    }

    pub(super) fn add_item(
        &mut self,
        batch: &mut B::Batch,
        item: &B::Item,
    ) -> Result<(), CallError> {
        let Self { batcher, overrides } = self;
        call(|| match &mut overrides.add_item {
            Some(add_item) => add_item(batcher, batch, item),
            None => batcher.add_item(batch, item),
        })
    }

    pub(super) fn pre_flush(&mut self, batch: &mut Closed<B::Batch>) -> Result<(), CallError> {
        let Self { batcher, overrides } = self;
        call(|| match &mut overrides.pre_flush {
            Some(pre_flush) => pre_flush(batcher, batch),
            None => batcher.pre_flush(batch),
        })
    }

    pub(super) fn flush(&mut self, batch: &Closed<B::Batch>) -> Result<(), CallError> {
        let Self { batcher, overrides } = self;
        call(|| match &mut overrides.flush {
            Some(flush) => flush(batcher, batch),
            None => batcher.flush(batch),
        })
    }

    pub(super) fn post_flush(&mut self, batch: &Closed<B::Batch>) -> Result<(), CallError> {
        let Self { batcher, overrides } = self;
        call(|| match &mut overrides.post_flush {
            Some(post_flush) => post_flush(batcher, batch),
            None => batcher.post_flush(batch),
        })
    }

    pub(super) fn terminate(&mut self, batch: Option<&mut B::Batch>) -> Result<(), CallError> {
        let Self { batcher, overrides } = self;
        call(|| match &mut overrides.terminate {
            Some(terminate) => terminate(batcher, batch),
            None => batcher.terminate(batch),
        })
    }

    /// # Errors
    /// What it panicked with.
    pub(super) fn should_flush(&mut self, state: &View<'_, B>) -> Result<bool, String> {
        let Self { batcher, overrides } = self;
        catch(|| match &mut overrides.should_flush {
            Some(should_flush) => should_flush(batcher, state),
            None => batcher.should_flush(state),
        })
    }

    /// # Errors
    /// What it panicked with.
    pub(super) fn item_bytes(&mut self, item: &B::Item) -> Result<u64, String> {
        let Self { batcher, overrides } = self;
        catch(|| match &mut overrides.item_bytes {
            Some(item_bytes) => item_bytes(batcher, item),
            None => batcher.item_bytes(item),
        })
    }
}

fn call<T>(callback: impl FnOnce() -> CallbackResult<T>) -> Result<T, CallError> {
    match catch(callback) {
        Ok(result) => result.map_err(CallError::Failed),
        Err(what) => Err(CallError::Panicked(what)),
    }
}
