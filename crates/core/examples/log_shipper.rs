//! A log shipper: one call of an API for each batch of lines, instead of one for each line. The lines are in files
//! until the API has taken them.
//!
//! ```text
//! cargo run -p batchd-core --example log_shipper
//! cargo run -p batchd-core --example log_shipper -- /var/log/dpkg.log
//! ```
//!
//! The API is a thread of the example, which is out of order when it is called first.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]
#![expect(clippy::disallowed_methods, reason = "an example is a program")]

use std::env;
use std::error::Error;
use std::fs;
use std::io::{self, BufRead as _, BufReader, BufWriter, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::Duration;

use batchd_core::batcher::{AddFailure, BatchFile, CallbackResult, Codec, FileBatcher, Options};

const SAMPLE: &str = include_str!("../../../samples/access.log");
/// A call has so many lines,
const MAX_ITEMS: u32 = 125;
/// unless the first of them becomes so old.
const MAX_AGE: Duration = Duration::from_secs(10);
/// So long is waited for the API.
const PATIENCE: Duration = Duration::from_secs(10);

fn main() -> Result<(), Box<dyn Error>> {
    let log = match env::args_os().nth(1) {
        Some(path) => fs::read_to_string(path)?,
        None => SAMPLE.to_owned(),
    };
    let (tell, calls) = channel();
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let api = listener.local_addr()?;
    thread::spawn(move || serve(&listener, &tell));

    let dir = tempfile::tempdir()?;
    let options = Options::new().max_items(MAX_ITEMS).max_age(MAX_AGE);
    let post = move |batch: &BatchFile<'_, String>| post(api, batch);
    let batches = dir.path().join("batches");
    let shipper = FileBatcher::with(batches, Codec::text(), post);
    let shipper = shipper.options(options).start()?;
    let (refuse, refused) = channel();
    for line in log.lines() {
        shipper.add_item_telling(line.to_owned(), &refuse)?;
    }
    // What is left at the end is a batch as well.
    shipper.flush()?;

    let (mut taken, mut count) = (String::new(), 0);
    while taken.lines().count() < log.lines().count() {
        let Call { lines, status } = calls.recv_timeout(PATIENCE)?;
        count += 1;
        let answered = format!("call {count}: {:3} lines, {status}", lines.lines().count());
        if status == OK {
            taken.push_str(&lines);
            println!("{answered}");
        } else {
            println!("{answered}: the batch is kept, and tried again");
        }
    }
    shipper.stop()?;
    for failure in refused.try_iter() {
        // A flush that failed was tried again.
        if let AddFailure::NotAdded(refused) = failure {
            return Err(refused.into());
        }
    }
    let lines = log.lines().count();
    println!("{count} calls for {lines} lines, instead of {lines}");
    let is_same = log.lines().eq(taken.lines());
    let order = if is_same { "in order" } else { "otherwise" };
    println!("the API has taken every line once, {order}");
    Ok(())
}

/// Sends a batch. Any answer but "200 OK" is a failure.
fn post(api: SocketAddr, batch: &BatchFile<'_, String>) -> CallbackResult {
    let stream = TcpStream::connect_timeout(&api, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut out = BufWriter::new(&stream);
    let (id, items) = (batch.batch().id(), batch.batch().items());
    // Each line ends with a newline.
    let bytes = batch.batch().bytes() + items;
    write!(out, "POST /logs HTTP/1.1\r\nHost: {api}\r\n")?;
    // The same at every attempt, so that an API that remembers it takes the batch once.
    write!(out, "Idempotency-Key: {id}\r\n")?;
    write!(out, "Content-Length: {bytes}\r\nConnection: close\r\n\r\n")?;
    for line in batch.read()? {
        writeln!(out, "{}", line?)?;
    }
    out.flush()?;
    let mut answer = String::new();
    (&stream).read_to_string(&mut answer)?;
    let status = answer.lines().next().unwrap_or_default();
    match status.strip_prefix("HTTP/1.1 ") {
        Some(OK) => Ok(()),
        _ => Err(format!("the API says {status:?}").into()),
    }
}

const OK: &str = "200 OK";
const OUT_OF_ORDER: &str = "503 Service Unavailable";

/// A call of the API, and what it answered.
struct Call {
    lines: String,
    status: &'static str,
}

/// The API: takes lines, but not at the first call.
fn serve(listener: &TcpListener, calls: &Sender<Call>) -> io::Result<()> {
    for status in [OUT_OF_ORDER].into_iter().chain(std::iter::repeat(OK)) {
        let (stream, _) = listener.accept()?;
        let lines = read_request(&stream)?;
        // Nobody listens any more when the example ends.
        calls.send(Call { lines, status }).ok();
        let head = "Content-Length: 0\r\nConnection: close";
        let answer = format!("HTTP/1.1 {status}\r\n{head}\r\n\r\n");
        (&stream).write_all(answer.as_bytes())?;
    }
    Ok(())
}

fn read_request(stream: &TcpStream) -> io::Result<String> {
    let mut reader = BufReader::new(stream);
    let (mut bytes, mut line) = (0, String::new());
    while line != "\r\n" {
        line.clear();
        if reader.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if let Some(length) = line.strip_prefix("Content-Length: ") {
            bytes = length.trim_end().parse().map_err(io::Error::other)?;
        }
    }
    let mut body = String::new();
    reader.take(bytes).read_to_string(&mut body)?;
    Ok(body)
}
