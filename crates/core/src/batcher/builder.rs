//! How a server is put together.

use std::path::PathBuf;

use super::callbacks::{Batcher, CallbackResult, Closed, View};
use super::codec::Codec;
use super::dir::DirLimits;
use super::error::{StartError, Trouble};
use super::options::{Config, Options};
use super::overrides::Overrides;
use super::server::BatchServer;
use crate::env::{Env, os};

/// Who is told of trouble.
pub(super) type OnTrouble = dyn FnMut(Trouble) + Send;

/// What a server is made of, for every start of it.
pub(super) struct Recipe<B: Batcher> {
    pub(super) make: Box<dyn FnMut() -> B + Send>,
    pub(super) overrides: Overrides<B>,
    pub(super) options: Options,
    pub(super) on_trouble: Option<Box<OnTrouble>>,
    pub(super) env: Env,
    pub(super) dir: Option<Dir<B::Item>>,
}

/// Where a server keeps its batches.
pub(super) struct Dir<T> {
    pub(super) path: PathBuf,
    pub(super) limits: DirLimits,
    pub(super) codec: Codec<T>,
}

/// A server that is not started yet. Callbacks given here take the place of the type's; each gets the batcher as its
/// first argument, so that it can call the one that it replaces.
#[must_use = "it is started by `start`"]
pub struct Builder<B: Batcher> {
    pub(super) recipe: Recipe<B>,
}

impl<B: Batcher> std::fmt::Debug for Builder<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Builder")
    }
}

impl<B> Builder<B>
where
    B: Batcher + 'static,
    B::Item: Send + 'static,
{
    /// A server of what `make` makes: on its thread, at every start.
    pub(super) fn new(make: impl FnMut() -> B + Send + 'static) -> Self {
        Self {
            recipe: Recipe {
                make: Box::new(make),
                overrides: Overrides::default(),
                options: Options::new(),
                on_trouble: None,
                env: os::env(),
                dir: None,
            },
        }
    }

    /// Options that lie over those of the type.
    pub fn options(mut self, options: Options) -> Self {
        self.recipe.options = options;
        self
    }

    /// Keeps batches in a directory, a spool of their own: an item that is taken is durable, and what was not flushed
    /// is there again at the next start, after whatever end. One server at a time has the directory; it is made where
    /// it is missing, mode 0700.
    ///
    /// What was taken is delivered then, by this process or by one after it; again only where the record of it was lost, to
    /// a crash, to [`abort`](BatchServer::abort), or for want of room at a stop, and then under the same
    /// [id](Closed::id).
    pub fn durable(mut self, path: impl Into<PathBuf>, codec: Codec<B::Item>) -> Self {
        let limits = self
            .recipe
            .dir
            .map_or_else(DirLimits::default, |dir| dir.limits);
        self.recipe.dir = Some(Dir {
            path: os::absolute(path.into()),
            limits,
            codec,
        });
        self
    }

    /// Bounds on what the directory may hold, where there is one.
    pub fn limits(mut self, limits: DirLimits) -> Self {
        if let Some(dir) = &mut self.recipe.dir {
            dir.limits = limits;
        }
        self
    }

    /// Called on the server's thread with what goes wrong, whether or not somebody waits for an answer as well. It is
    /// logged besides.
    pub fn on_trouble(mut self, on_trouble: impl FnMut(Trouble) + Send + 'static) -> Self {
        self.recipe.on_trouble = Some(Box::new(on_trouble));
        self
    }

    /// Other surroundings than the machine's.
    pub fn env(mut self, env: Env) -> Self {
        self.recipe.env = env;
        self
    }

    /// In place of [`Batcher::init`].
    pub fn on_init(
        mut self,
        init: impl FnMut(&mut B, &Config) -> CallbackResult<B::Batch> + Send + 'static,
    ) -> Self {
        self.recipe.overrides.init = Some(Box::new(init));
        self
    }

    /// In place of [`Batcher::add_item`].
    pub fn on_add_item(
        mut self,
        add_item: impl FnMut(&mut B, &mut B::Batch, &B::Item) -> CallbackResult + Send + 'static,
    ) -> Self {
        self.recipe.overrides.add_item = Some(Box::new(add_item));
        self
    }

    /// In place of [`Batcher::pre_flush`].
    pub fn on_pre_flush(
        mut self,
        pre_flush: impl FnMut(&mut B, &mut Closed<B::Batch>) -> CallbackResult + Send + 'static,
    ) -> Self {
        self.recipe.overrides.pre_flush = Some(Box::new(pre_flush));
        self
    }

    /// In place of [`Batcher::flush`].
    pub fn on_flush(
        mut self,
        flush: impl FnMut(&mut B, &Closed<B::Batch>) -> CallbackResult + Send + 'static,
    ) -> Self {
        self.recipe.overrides.flush = Some(Box::new(flush));
        self
    }

    /// In place of [`Batcher::post_flush`].
    pub fn on_post_flush(
        mut self,
        post_flush: impl FnMut(&mut B, &Closed<B::Batch>) -> CallbackResult + Send + 'static,
    ) -> Self {
        self.recipe.overrides.post_flush = Some(Box::new(post_flush));
        self
    }

    /// In place of [`Batcher::terminate`].
    pub fn on_terminate(
        mut self,
        terminate: impl FnMut(&mut B, Option<&mut B::Batch>) -> CallbackResult + Send + 'static,
    ) -> Self {
        self.recipe.overrides.terminate = Some(Box::new(terminate));
        self
    }

    /// In place of [`Batcher::should_flush`].
    pub fn on_should_flush(
        mut self,
        should_flush: impl FnMut(&mut B, &View<'_, B>) -> bool + Send + 'static,
    ) -> Self {
        self.recipe.overrides.should_flush = Some(Box::new(should_flush));
        self
    }

    /// In place of [`Batcher::item_bytes`].
    pub fn on_item_bytes(
        mut self,
        item_bytes: impl FnMut(&B, &B::Item) -> u64 + Send + 'static,
    ) -> Self {
        self.recipe.overrides.item_bytes = Some(Box::new(item_bytes));
        self
    }

    /// Starts it. Where it is durable, what is in its directory is recovered on return, and delivered from now on.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn start(self) -> Result<BatchServer<B>, StartError> {
        let server = BatchServer::of_recipe(self.recipe);
        server.start()?;
        Ok(server)
    }
}
