//! The word count: a batcher whose batches are maps of counts, kept on a spool until they are in files of results.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use batchd_core::batcher::{
    BatchServer, Batcher, CallbackResult, Closed, Codec, Config, Options, Setting,
};

use crate::Result;

/// How often there is each word.
pub(crate) type Counts = BTreeMap<String, u64>;

/// Counts the words of lines, and writes the counts of each batch to a file of its own.
struct WordCounter {
    results: PathBuf,
}

impl Batcher for WordCounter {
    type Item = String;
    type Batch = Counts;

    fn options(&self) -> Options {
        Options::new().max_age(Setting::Off)
    }

    fn init(&mut self, _: &Config) -> CallbackResult<Counts> {
        Ok(Counts::new())
    }

    fn add_item(&mut self, counts: &mut Counts, line: &String) -> CallbackResult {
        count(counts, line);
        Ok(())
    }

    /// Done again for the same batch, which happens where a kill came before it was on record, it changes nothing:
    /// the file is named after the batch, and is there whole or not at all.
    fn flush(&mut self, batch: &Closed<Counts>) -> CallbackResult {
        let mut text = format!("{}\n", batch.items());
        for (word, count) in batch.batch() {
            text += &format!("{word} {count}\n");
        }
        let first = batch.part().map_or(0, |part| part.first);
        let path = self.results.join(format!("{}-{first}", batch.id()));
        let unfinished = path.with_extension("tmp");
        let mut file = File::create(&unfinished)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&unfinished, path)?;
        Ok(File::open(&self.results)?.sync_all()?)
    }
}

/// Counts the words of a line.
pub(crate) fn count(counts: &mut Counts, line: &str) {
    let words = line.split(|c: char| !c.is_ascii_alphabetic());
    for word in words.filter(|word| !word.is_empty()) {
        *counts.entry(word.to_owned()).or_default() += 1;
    }
}

/// Counts the words of what comes on standard input, behind the lines that were taken before.
pub(crate) fn count_input(dir: &Path, max_items: u32) -> Result {
    // Before the spool, which syncs the directory that both are in.
    let results = dir.join("results");
    fs::create_dir_all(&results)?;
    let counter = {
        let results = results.clone();
        BatchServer::of(move || WordCounter {
            results: results.clone(),
        })
    };
    let counter = counter.options(Options::new().max_items(max_items));
    let counter = counter.durable(dir.join("spool"), Codec::text()).start()?;
    // Behind this, all that was ever taken is in the results, whether or not anybody was told of it.
    counter.sync_flush()?;
    let (mut taken, _) = merged(&results)?;
    println!("{taken}");
    for line in io::stdin().lines().skip(taken) {
        counter.sync_add_item(line?)?;
        taken += 1;
        println!("{taken}");
    }
    counter.sync_flush()?;
    counter.stop()?;
    for line in listed(&merged(&results)?.1) {
        println!("{line}");
    }
    Ok(())
}

/// How many lines the results are of, and their counts together.
fn merged(results: &Path) -> Result<(usize, Counts)> {
    let (mut lines, mut counts) = (0, Counts::new());
    for entry in fs::read_dir(results)? {
        let path = entry?.path();
        if path.extension().is_some() {
            // It was not finished.
            continue;
        }
        let text = fs::read_to_string(path)?;
        let (items, words) = text.split_once('\n').ok_or("a result is empty")?;
        lines += items.parse::<usize>()?;
        for (word, count) in words.lines().filter_map(|line| line.split_once(' ')) {
            *counts.entry(word.to_owned()).or_default() += count.parse::<u64>()?;
        }
    }
    Ok((lines, counts))
}

/// As lines, the most frequent first.
pub(crate) fn listed(counts: &Counts) -> Vec<String> {
    let mut words: Vec<_> = counts.iter().collect();
    words.sort_by_key(|(_, count)| Reverse(**count));
    let line = |(word, count)| format!("{count:5} {word}");
    words.into_iter().map(line).collect()
}
