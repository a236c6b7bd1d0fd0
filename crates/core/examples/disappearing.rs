//! Batches that disappear when their lifespan is over: in memory, then on a spool, which another start finds again.
//!
//! ```text
//! cargo run -p batchd-core --example disappearing
//! ```

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::error::Error;
use std::thread;
use std::time::Duration;

use batchd_core::batcher::{Codec, Shelf};
use batchd_core::frame::BatchId;

const LIFESPAN: Duration = Duration::from_secs(2);
const AN_HOUR: Duration = Duration::from_secs(3600);

fn main() -> Result<(), Box<dyn Error>> {
    println!("in memory");
    let shelf = Shelf::in_memory();
    create_and_wait(&shelf)?;
    drop(shelf);

    println!("on a spool");
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("shelf");
    let shelf = Shelf::on_spool(&path, Codec::text())?;
    let id = shelf.create(items(), AN_HOUR)?;
    create_and_wait(&shelf)?;
    drop(shelf);

    println!("opened again");
    let shelf = Shelf::on_spool(&path, Codec::text())?;
    show(&shelf, id)
}

fn create_and_wait(shelf: &Shelf<String>) -> Result<(), Box<dyn Error>> {
    // A batch that expires in two seconds.
    let id = shelf.create(items(), LIFESPAN)?;
    show(shelf, id)?;
    wait_until_expired(shelf, id)?;
    show(shelf, id)
}

fn show(shelf: &Shelf<String>, id: BatchId) -> Result<(), Box<dyn Error>> {
    match shelf.get(id)? {
        Some(items) => println!("  batch items: {}", items.join(", ")),
        None => println!("  batch items: expired"),
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "an example runs in real time")]
fn wait_until_expired(shelf: &Shelf<String>, id: BatchId) -> Result<(), Box<dyn Error>> {
    let pause = Duration::from_millis(10);
    for _ in 0..1000 {
        if shelf.get(id)?.is_none() {
            return Ok(());
        }
        thread::sleep(pause);
    }
    Err("it does not expire".into())
}

fn items() -> [String; 2] {
    ["item1", "item2"].map(str::to_owned)
}
