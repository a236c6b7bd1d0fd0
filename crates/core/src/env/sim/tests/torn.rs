//! Torn writes, stale bytes, and the walk over all states.

use super::*;

#[test]
fn a_write_is_torn_at_the_sectors_of_the_file() {
    // The write covers half of sector 0, all of sector 1 and a byte of sector 2.
    check(
        "create d/x; write d/x 0 256 a; sync_all; write d/x 256 769 b",
        &[
            "d/x=256a",
            "d/x=256a,769b",
            "d/x=256a,256b",         // sector 0, cut
            "d/x=256a,256b,513.",    // sector 0, length kept
            "d/x=256a,768b",         // sectors 0 and 1, cut
            "d/x=256a,768b,1.",      // sectors 0 and 1, length kept
            "d/x=256a,769.",         // the length alone
            "d/x=256a,256.,513b",    // all but sector 0
            "d/x=256a,768.,1b",      // sector 2 alone
            "d/x=256a,256b,512.,1b", // all but sector 1
        ],
    );
}

#[test]
fn a_torn_overwrite_shows_what_was_there() {
    check(
        "create d/x; write d/x 0 1024 a; sync_all; write d/x 0 1024 b",
        &["d/x=1024a", "d/x=1024b", "d/x=512b,512a", "d/x=512a,512b"],
    );
}

#[test]
fn a_missing_sector_may_show_bytes_of_a_freed_file() {
    let start = "create d/old; write d/old 0 1500 s; sync_all; unlink d/old; sync_dir d;
        create d/x; sync_all; write d/x 0 1024 b";
    check(
        start,
        &[
            "d/x=",
            "d/x=512b",
            "d/x=512b,512.",
            "d/x=512b,512s",
            "d/x=1024.",
            "d/x=1024s",
            "d/x=512.,512b",
            "d/x=512s,512b",
            "d/x=1024b",
        ],
    );
    // Freed blocks are still there after a restart.
    let again = run("create d/old; write d/old 0 3 s; sync_all; unlink d/old; sync_dir d")
        .durable_image()
        .to_disk();
    run_on(&again, "create d/x; sync_all; write d/x 0 5 b");
    assert!(
        crash_set(&again).contains("d/x=3s,2."),
        "{:?}",
        crash_set(&again)
    );
}

#[test]
fn a_file_extended_again_may_show_the_end_cut_off_it() {
    check(
        "create d/x; write d/x 0 600 s; sync_all; set_len d/x 10; sync_all; write d/x 10 90 b",
        &["d/x=10s", "d/x=10s,90.", "d/x=100s", "d/x=10s,90b"],
    );
    // What was durable before never turns stale.
    check(
        "create d/y; write d/y 0 9 s; create d/x; write d/x 0 9 a; sync_all; unlink d/y; sync_all;
        write d/x 3 3 b",
        &["d/x=9a", "d/x=3a,3b,3a"],
    );
}

#[test]
fn preallocation_keeps_its_length() {
    check(
        "create d/x; write d/x 0 9 a; set_len d/x 2048; sync_all; write d/x 512 1024 b",
        &[
            "d/x=9a,2039.",
            "d/x=9a,503.,1024b,512.",
            "d/x=9a,503.,512b,1024.",
            "d/x=9a,1015.,512b,512.",
        ],
    );
}

#[test]
fn every_subset_is_walked_where_they_are_few() {
    let script = (0..8)
        .map(|n| format!("create d/{n}"))
        .collect::<Vec<_>>()
        .join(";");
    let mut states = run(&script).crash_states(&Limits::default());
    assert_eq!(states.by_ref().count(), 256);
    assert_eq!(
        states.counts(),
        CrashCounts {
            total: 256,
            distinct: 256,
            left_out: 0
        }
    );
}

#[test]
fn many_operations_are_walked_by_prefixes_single_ones_and_chance() {
    let script = (10..30)
        .map(|n| format!("create d/{n}"))
        .collect::<Vec<_>>()
        .join(";");
    let disk = run(&script);
    let limits = Limits {
        random_states: 10,
        ..Limits::default()
    };
    let mut states = disk.crash_states(&limits);
    let found: Vec<Image> = states.by_ref().collect();
    assert_eq!(states.counts().total, 21 + 20 + 20 + 10);
    assert!(found.len() > 21 + 18 + 18, "{}", found.len());
    for count in 0..=20 {
        assert!(
            found.iter().any(|image| image.files().len() == count),
            "{count} files"
        );
    }
    let fingerprints =
        |states: CrashStates| -> Vec<u64> { states.map(|image| image.fingerprint()).collect() };
    assert_eq!(
        fingerprints(disk.crash_states(&limits)),
        found.iter().map(Image::fingerprint).collect::<Vec<_>>(),
        "the same seed walks the same states"
    );
    let other_seed = Limits {
        seed: 1,
        ..limits.clone()
    };
    assert_ne!(
        fingerprints(disk.crash_states(&limits)),
        fingerprints(disk.crash_states(&other_seed))
    );
}

#[test]
fn the_walk_is_bounded_and_says_so() {
    let disk = run("create d/x; sync_all; write d/x 0 4096 a; write d/x 4096 4096 b");
    let limits = Limits {
        states_max: 20,
        ..Limits::default()
    };
    let mut states = disk.crash_states(&limits);
    let found: BTreeSet<String> = states.by_ref().map(|image| render(&image)).collect();
    assert_eq!(states.counts().total, 20);
    assert!(states.counts().left_out > 100);
    assert!(found.contains("d/x=4096a,4096b") && found.contains("d/x="));

    let whole = Limits {
        cuts_per_write: 0,
        ..Limits::default()
    };
    assert_eq!(disk.crash_states(&whole).count(), 4);
    let large = run("create d/x; sync_all; write d/x 0 1048576 a");
    let mut states = large.crash_states(&Limits::default());
    assert!(states.by_ref().count() > 20);
    assert!(states.counts().total < 120, "{:?}", states.counts());
}

#[test]
fn an_image_tells_how_it_came_about() {
    let disk = run("create d/x; write d/x 0 513 a; rename d/x e/x");
    assert_eq!(
        disk.pending_log(),
        "create d/x\nwrite d/x 0+513\nrename to e/x\nrename from d/x\n"
    );
    assert_eq!(disk.live_image().origin(), "no crash\n");
    let origins: Vec<String> = disk
        .crash_states(&Limits::default())
        .map(|image| image.origin())
        .collect();
    let torn = "kept create d/x\ntorn write d/x 0+513: first 1 sectors, else zeros\n\
        lost rename to e/x\nlost rename from d/x\n";
    assert!(origins.iter().any(|origin| origin == torn), "{origins:#?}");
}

#[test]
fn an_image_can_be_damaged_and_started_from() -> io::Result<()> {
    let mut image = run("create d/x; write d/x 0 3 a; link d/x d/y; sync_all").durable_image();
    let before = image.clone();
    image.write("/d/x", "hello")?;
    assert_eq!(image.read("d/y")?, b"hello");
    image.rename("d/y", "e/z")?;
    image.mkdir("n")?;
    image.write("n/new", "1")?;
    image.remove("d/x")?;
    assert_eq!(image.to_string(), "d/\ne/\ne/z 5\nn/\nn/new 1\n");
    assert_ne!(image, before);
    assert_eq!(render(&before), "d/x=3a d/y=3a");
    assert!(image.exists("n/new") && !image.exists("d/x"));
    check_errno(image.read("d"), 21);
    check_errno(image.rename("d/x", "d/y"), 2);

    let disk = image.to_disk();
    assert_eq!(
        (disk.pending_count(), disk.op_count(), disk.bytes_used()),
        (0, 0, 6)
    );
    run_on(&disk, "create e/a; unlink n/new; sync_all");
    assert_eq!(
        disk.durable_image().to_string(),
        "d/\ne/\ne/a 0\ne/z 5\nn/\n"
    );
    image.remove("n")?;
    assert_eq!(image.to_disk().bytes_used(), 5);
    Ok(())
}
