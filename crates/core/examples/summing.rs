//! Batches that add up: a batcher of one's own, options of a start that lie over those of the type, and a callback
//! that is replaced for one server.
//!
//! ```text
//! cargo run -p batchd-core --example summing
//! ```

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::error::Error;

use batchd_core::batcher::{
    BatchServer, Batcher, Builder, CallbackResult, Closed, Config, Options,
};

/// The first example of BatchPlease.
struct Summer;

struct Sum {
    sum: i64,
}

impl Batcher for Summer {
    type Item = i64;
    type Batch = Sum;

    fn options(&self) -> Options {
        Options::new().max_items(3)
    }

    fn init(&mut self, _: &Config) -> CallbackResult<Sum> {
        Ok(Sum { sum: 0 })
    }

    fn add_item(&mut self, batch: &mut Sum, item: &i64) -> CallbackResult {
        batch.sum += item;
        Ok(())
    }

    fn flush(&mut self, batch: &Closed<Sum>) -> CallbackResult {
        println!("  This batch added up to {}", batch.sum);
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    println!("batches of 3, as the type says");
    add_up(BatchServer::of(|| Summer))?;

    println!("batches of 4, as this start says; what is left at the end is flushed then");
    let options = Options::new().max_items(4);
    add_up(BatchServer::of(|| Summer).options(options))?;

    println!("a flush of its own, and else as the type says");
    let flush = |_: &mut Summer, batch: &Closed<Sum>| {
        println!("  {} items make {}", batch.items(), batch.sum);
        Ok(())
    };
    add_up(BatchServer::of(|| Summer).on_flush(flush))
}

fn add_up(summer: Builder<Summer>) -> Result<(), Box<dyn Error>> {
    let server = summer.start()?;
    for item in 1..=6 {
        server.add_item(item)?;
    }
    Ok(server.stop()?)
}
