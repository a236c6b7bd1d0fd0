//! What comes from elsewhere than the input: signals, and the end of what cannot go on.

use std::sync::Arc;

use tokio::sync::mpsc::UnboundedReceiver;

use super::intake::Stop;
use crate::engine::{Engine, drain};
use crate::signals::Told;

/// What it is.
#[derive(Debug)]
pub(super) enum Event {
    /// A signal.
    Told(Told),
    /// The spool cannot be relied on any more.
    Broken(String),
}

/// Where it comes in.
pub(super) struct Control {
    pub(super) engine: Arc<Engine>,
    pub(super) events: UnboundedReceiver<Event>,
}

impl Control {
    /// Does what signals ask for, until one asks for the end. Can be given up without loss.
    pub(super) async fn until_stopped(&mut self) -> Stop {
        loop {
            match self.events.recv().await {
                Some(event) => {
                    if let Err(stop) = self.obey(event) {
                        return stop;
                    }
                }
                // The other ends live as long as the process.
                None => std::future::pending().await,
            }
        }
    }

    /// Does what signals have asked for.
    ///
    /// # Errors
    /// That it is to stop.
    pub(super) fn look(&mut self) -> Result<(), Stop> {
        while let Ok(event) = self.events.try_recv() {
            self.obey(event)?;
        }
        Ok(())
    }

    fn obey(&self, event: Event) -> Result<(), Stop> {
        match event {
            Event::Told(Told::FlushAll) => {
                drain::flush_all(&self.engine);
                Ok(())
            }
            Event::Told(Told::Stop(signal)) => Err(Stop::Signal(signal)),
            Event::Broken(what) => Err(Stop::Broken(what)),
        }
    }
}
