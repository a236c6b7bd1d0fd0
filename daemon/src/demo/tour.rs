//! The steps, in their order.

use std::ffi::OsString;
use std::io::Write;
use std::{fs, io};

use anyhow::Context as _;
use batchd_client::blocking::Client;
use batchd_client::{Error as ClientError, ErrorCode};

use super::compare::compare;
use super::ended::Ended;
use super::guide::{Guide, batch_table, file_table, line_table, shell_word};
use super::listing;
use super::place::BATCH_ITEMS;
use super::poll::LONG;
use super::producer::{Cut, Producer};
use super::sample::{self, SAMPLE};
use super::scene::Scene;

/// Stands for the second half, in the ids of its submissions.
const SECOND_HALF: &str = "second-half";
/// How the daemon is found.
const SOCKET: &str = "export BATCHD_SOCKET=\"$PWD/batchd.sock\"";
/// How the daemon is run.
const RUN: &str = "batchd --config batchd.toml 2>>log &";

/// Takes the tour, and says to `out` what happens.
///
/// # Errors
/// [`Ended`], where it does not reach its end.
pub(super) fn tour(scene: &Scene, out: &mut dyn Write) -> Result<(), Ended> {
    let lines = sample::lines();
    let (first, second) = lines.split_at(lines.len() / 2);
    let guide = &mut Guide::new(out);
    guide.open(&format!(
        "batchd keeps what programs give it on disk, until the target has it. Here it does so with {} lines\n\
         of a web server's log, and is killed half-way. The lines with $ are what one would type for it.",
        lines.len()
    ))?;
    start(scene, guide)?;
    submit(first, scene, guide)?;
    look(scene, guide)?;
    let mut producer = Producer::new(scene.client_for(SECOND_HALF)?)?;
    let cut = kill(&mut producer, second, scene, guide)?;
    look_at_files(scene, guide)?;
    let sent = lines.get(..first.len() + cut.given).unwrap_or(&lines);
    recover(sent, first.len() + cut.acknowledged, scene, guide)?;
    repeat(producer, second, cut, scene, guide)?;
    deliver(scene, guide)?;
    compare_all(lines.len(), scene, guide)?;
    stop(scene, guide)
}

fn start(scene: &Scene, guide: &mut Guide<'_>) -> Result<(), Ended> {
    let enter = format!("cd {}", shell_word(scene.place().root()));
    guide.step(
        "Start a daemon, in a directory of its own",
        &[&enter, SOCKET, RUN],
    )?;
    scene.start_daemon()?;
    guide.tell(&format!(
        "It makes batches of {BATCH_ITEMS} items, one file each, and is to deliver them to target/delivered.\n\
         But target is not there, like a disk that is not mounted. Until it is, batches wait."
    ))
}

fn submit(lines: &[&[u8]], scene: &Scene, guide: &mut Guide<'_>) -> Result<(), Ended> {
    let half = lines.len();
    let by_hand = format!("head -n {half} access.log | batchctl submit --wait-for-daemon");
    guide.step("Submit the first half", &[&by_hand])?;
    Producer::new(scene.client()?)?.submit(lines)?;
    guide.tell(&format!(
        "{half} items, one a line, are acknowledged as synced: on a disk, they now survive a power cut."
    ))
}

fn look(scene: &Scene, guide: &mut Guide<'_>) -> Result<(), Ended> {
    guide.step("See what the daemon holds", &["batchctl ls"])?;
    let batches = listing::settled(&mut scene.client()?)?;
    guide.tell(&batch_table(&batches))?;
    guide.tell("The full ones are ready for the target, the open one takes more. (Some columns are left out.)")
}

fn kill(
    producer: &mut Producer,
    lines: &[&[u8]],
    scene: &Scene,
    guide: &mut Guide<'_>,
) -> Result<Cut, Ended> {
    guide.step(
        "Submit the second half, and kill the daemon meanwhile",
        &[&format!("{} &", submit_second(lines)), "kill -9 %batchd"],
    )?;
    let cut = producer.submit_until_killed(lines, scene)?;
    guide.tell(&format!(
        "{} items went out. {} were acknowledged; the other {} may have been kept or not: nobody can say.",
        cut.given,
        cut.acknowledged,
        cut.unanswered()
    ))?;
    Ok(cut)
}

fn look_at_files(scene: &Scene, guide: &mut Guide<'_>) -> Result<(), Ended> {
    guide.step(
        "See what lies on disk, while no daemon runs",
        &["batchctl ls --spool spool"],
    )?;
    let files = listing::on_disk(&scene.place().spool())?;
    guide.tell(&file_table(&files))?;
    guide.tell("Each file is a batch. They are all that a start needs.")
}

/// `sent` is all that the daemon can have.
fn recover(
    sent: &[&[u8]],
    acknowledged: usize,
    scene: &Scene,
    guide: &mut Guide<'_>,
) -> Result<(), Ended> {
    guide.step("Start it again", &[RUN])?;
    scene.start_daemon()?;
    // Not the producer, which would first send again what was not answered.
    let mut client = scene.client()?;
    let batches = listing::settled(&mut client)?;
    let items = listing::items(&mut client, &batches)?;
    let items: Vec<&[u8]> = items.iter().map(Vec::as_slice).collect();
    // At least what was acknowledged, and all of it as it was sent.
    let expected = sent.get(..items.len().max(acknowledged)).unwrap_or(sent);
    expect_same(expected, &items, guide)?;
    guide.tell(&format!(
        "It recovered {} items. All {acknowledged} that it had acknowledged are among them, byte for byte.",
        items.len()
    ))
}

fn repeat(
    mut producer: Producer,
    lines: &[&[u8]],
    cut: Cut,
    scene: &Scene,
    guide: &mut Guide<'_>,
) -> Result<(), Ended> {
    guide.step("Send again what was not answered", &[&submit_second(lines)])?;
    let rest = lines.get(cut.given..).unwrap_or_default();
    producer.submit_each(rest)?;
    let again = Producer::new(scene.client_for(SECOND_HALF)?)?.submit_each(lines)?;
    if again.repeats != lines.len() as u64 {
        guide.tell(&format!(
            "Of {} that were sent once more, the daemon knew only {}.",
            lines.len(),
            again.repeats
        ))?;
        return Err(Ended::Differs);
    }
    guide.tell(&format!(
        "The client connected again by itself, sent the {} under the ids that they had before, and then\n\
         the last {}. After that all {} were sent once more: the daemon knew {}, and added none.",
        cut.unanswered(),
        rest.len(),
        lines.len(),
        again.repeats
    ))
}

fn deliver(scene: &Scene, guide: &mut Guide<'_>) -> Result<(), Ended> {
    guide.step(
        "Let the target be there, and deliver",
        &[
            "mkdir target",
            "batchctl flush --wait",
            "wc -l target/delivered/*",
        ],
    )?;
    scene.make_target()?;
    flush(&mut scene.client()?)?;
    let files = delivered(scene)?;
    let rows: Vec<(String, usize)> = files
        .iter()
        .map(|(name, bytes)| {
            let path = format!("target/delivered/{}", name.display());
            (path, lines_of(bytes).len())
        })
        .collect();
    guide.tell(&line_table(&rows))?;
    guide.tell("The numbers ascend; those that are missing were never a batch.")
}

fn compare_all(lines: usize, scene: &Scene, guide: &mut Guide<'_>) -> Result<(), Ended> {
    guide.step(
        "Compare what was delivered with what was sent",
        &["cat target/delivered/* | cmp - access.log"],
    )?;
    let delivered: Vec<u8> = delivered(scene)?
        .into_iter()
        .flat_map(|(_, bytes)| bytes)
        .collect();
    expect_same(&lines_of(SAMPLE), &lines_of(&delivered), guide)?;
    guide.tell(&format!(
        "All {lines} lines were delivered, once each, in order, byte for byte."
    ))
}

fn stop(scene: &Scene, guide: &mut Guide<'_>) -> Result<(), Ended> {
    guide.step("Stop", &["kill %batchd"])?;
    scene.stop_daemon()?;
    if !scene.is_kept() {
        scene.remove()?;
        return guide.tell(
            "The daemon stopped cleanly. The directory is removed; 'batchd demo --keep' leaves it.",
        );
    }
    let root = scene.place().root();
    guide.tell(&format!(
        "The daemon stopped cleanly. {} is kept. To look around, and to remove it\n\
         ('rm -r spool target' instead, and all of the above can be typed):",
        root.display()
    ))?;
    guide.commands(&[
        &format!("cd {}", shell_word(root)),
        SOCKET,
        "batchctl ls --spool spool",
        RUN,
        "batchctl history",
        "kill %batchd",
        &format!("rm -r {}", shell_word(root)),
    ])
}

fn submit_second(lines: &[&[u8]]) -> String {
    let half = lines.len();
    format!("tail -n {half} access.log | batchctl submit --id {SECOND_HALF}")
}

/// Has everything delivered.
fn flush(client: &mut Client) -> Result<(), ClientError> {
    match client.flush(None, Some(LONG)) {
        // An attempt that began before the target was there may end only now. The next one finds it.
        Err(ClientError::Refused {
            code: ErrorCode::DeliveryFailed,
            ..
        }) => client.flush(None, Some(LONG)),
        flushed => flushed,
    }
    .map(drop)
}

/// The delivered files and what is in them, in the order of delivery, which is that of their names.
fn delivered(scene: &Scene) -> anyhow::Result<Vec<(OsString, Vec<u8>)>> {
    let dir = scene.place().delivered();
    let read = || -> io::Result<Vec<(OsString, Vec<u8>)>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&dir)? {
            let entry = entry?;
            // As a glob sees them.
            if !entry.file_name().as_encoded_bytes().starts_with(b".") {
                files.push((entry.file_name(), fs::read(entry.path())?));
            }
        }
        files.sort();
        Ok(files)
    };
    read().with_context(|| format!("read {}", dir.display()))
}

/// Lines with their ends, so that a last one without an end differs.
fn lines_of(text: &[u8]) -> Vec<&[u8]> {
    text.split_inclusive(|byte| *byte == b'\n').collect()
}

fn expect_same(sent: &[&[u8]], got: &[&[u8]], guide: &mut Guide<'_>) -> Result<(), Ended> {
    match compare(sent, got) {
        Ok(()) => Ok(()),
        Err(difference) => {
            guide.tell(&difference.to_string())?;
            Err(Ended::Differs)
        }
    }
}
