//! What sync makes durable, and what a power cut may leave otherwise.

use super::*;

#[test]
fn unsynced_contents_may_vanish_and_synced_ones_never() {
    check(
        "create d/x; sync_dir d; write d/x 0 3 a",
        &["d/x=", "d/x=3.", "d/x=3a"],
    );
    check(
        "create d/x; sync_dir d; write d/x 0 3 a; sync d/x",
        &["d/x=3a"],
    );
    check(
        "create d/x; write d/x 0 3 a; sync_all; write d/x 0 3 b",
        &["d/x=3a", "d/x=3b"],
    );
}

#[test]
fn a_name_is_durable_by_its_directory_alone() {
    check("create d/x; write d/x 0 3 a; sync d/x", &["", "d/x=3a"]);
    check(
        "create d/x; write d/x 0 3 a; sync d/x; sync_dir e; sync_dir /",
        &["", "d/x=3a"],
    );
    check(
        "create d/x; write d/x 0 3 a; sync d/x; sync_dir d",
        &["d/x=3a"],
    );
}

#[test]
fn a_directory_sync_is_no_sync_of_contents() {
    check(
        "create d/x; write d/x 0 3 a; sync_dir d",
        &["d/x=", "d/x=3.", "d/x=3a"],
    );
}

#[test]
fn a_cut_is_pending_until_synced() {
    let start = "create d/x; write d/x 0 4 a; sync_all; ";
    check(&format!("{start} set_len d/x 1"), &["d/x=4a", "d/x=1a"]);
    check(&format!("{start} set_len d/x 6"), &["d/x=4a", "d/x=4a,2."]);
    check(&format!("{start} set_len d/x 1; sync d/x"), &["d/x=1a"]);
    // Cut, then written: lost, in part or whole, in any combination.
    check(
        &format!("{start} set_len d/x 1; write d/x 1 1 b"),
        &["d/x=4a", "d/x=1a", "d/x=1a,1b", "d/x=1a,1b,2a", "d/x=1a,1."],
    );
}

#[test]
fn a_link_and_an_unlink_are_pending_until_synced() {
    let start = "create d/x; write d/x 0 1 a; sync_all; ";
    check(
        &format!("{start} link d/x e/y"),
        &["d/x=1a", "d/x=1a e/y=1a"],
    );
    check(&format!("{start} unlink d/x"), &["d/x=1a", ""]);
    check(&format!("{start} unlink d/x; sync_dir d"), &[""]);
    // A link and an unlink in different directories have no order: both names may be gone.
    check(
        &format!("{start} link d/x e/y; unlink d/x"),
        &["d/x=1a", "d/x=1a e/y=1a", "e/y=1a", ""],
    );
}

#[test]
fn a_rename_in_one_directory_happens_or_not() {
    let start = "create d/x; write d/x 0 1 a; create d/y; write d/y 0 1 b; sync_all; ";
    check(
        &format!("{start} rename d/x d/z"),
        &["d/x=1a d/y=1b", "d/y=1b d/z=1a"],
    );
    check(
        &format!("{start} rename d/x d/y"),
        &["d/x=1a d/y=1b", "d/y=1a"],
    );
    check(&format!("{start} rename d/x d/y; sync_dir d"), &["d/y=1a"]);
    check(
        &format!("{start} rename d/x d/z; rename d/z d/w"),
        &["d/x=1a d/y=1b", "d/y=1b d/z=1a", "d/w=1a d/y=1b"],
    );
}

#[test]
fn a_rename_across_directories_may_leave_both_names_and_never_none() {
    let start = "create d/x; write d/x 0 1 a; sync_all; rename d/x e/y; ";
    check(start, &["d/x=1a", "d/x=1a e/y=1a", "e/y=1a"]);
    check(&format!("{start} sync_dir e"), &["d/x=1a e/y=1a", "e/y=1a"]);
    check(&format!("{start} sync_dir d"), &["e/y=1a"]);
    check(&format!("{start} sync_dir e; sync_dir d"), &["e/y=1a"]);

    let both = run(start)
        .crash_states(&Limits::default())
        .find(|image| image.files().len() == 2);
    let both = both.expect("a state with both names").to_disk();
    run_on(&both, "write d/x 0 1 b");
    assert_eq!(
        render(&both.live_image()),
        "d/x=1b e/y=1b",
        "one inode under two names"
    );
    // As POSIX has it, a rename onto another name of the same file does nothing at all.
    run_on(&both, "rename d/x e/y");
    assert_eq!(render(&both.live_image()), "d/x=1b e/y=1b");
}

#[test]
fn a_rename_across_directories_replaces_atomically() {
    check(
        "create d/x; write d/x 0 1 a; create e/y; write e/y 0 1 b; sync_all; rename d/x e/y",
        &["d/x=1a e/y=1b", "d/x=1a e/y=1a", "e/y=1a"],
    );
}

#[test]
fn the_old_name_outlives_a_destination_directory_that_is_not_durable() {
    let start = "create d/x; sync_all; mkdir n; rename d/x n/x; ";
    check(start, &["d/x=", "d/x= n/x=", "n/x="]);
    // Syncing the new directory does not make its own name durable.
    check(
        &format!("{start} sync_dir n"),
        &["d/x=", "d/x= n/x=", "n/x="],
    );
    // Syncing the source needs all that the new name hangs from.
    check(&format!("{start} sync_dir d"), &["n/x="]);
}

#[test]
fn syncing_keeps_the_order_of_operations_on_one_name() {
    // The unlink of the old `e/y` belongs to the same name as the arrival of the new one.
    let start = "create d/x; write d/x 0 1 a; create e/y; sync_all; unlink e/y; rename d/x e/y; ";
    check(&format!("{start} sync_dir d"), &["e/y=1a"]);
    check("create d/x; unlink d/x; create d/x; sync_dir d", &["d/x="]);
}

#[test]
fn a_directory_is_an_entry_of_its_parent() {
    let disk = run("mkdir n; create n/x; sync_dir n");
    let dirs: BTreeSet<_> = disk
        .crash_states(&Limits::default())
        .map(|image| image.dirs().join(" "))
        .collect();
    assert_eq!(dirs, BTreeSet::from(["d e".to_owned(), "d e n".to_owned()]));
    assert_eq!(
        crash_set(&disk),
        BTreeSet::from([String::new(), "n/x=".to_owned()])
    );
    run_on(&disk, "sync_dir /");
    assert_eq!(render(&disk.durable_image()), "n/x=");
    disk.mkdir_durable("/n/deep/er").expect("free");
    assert_eq!(
        disk.durable_image().dirs(),
        ["d", "e", "n", "n/deep", "n/deep/er"]
    );
}

#[test]
fn a_handle_outlives_the_name() {
    let disk = run("create d/x; write d/x 0 1 a; create d/y; sync_all");
    let (x, y) = (open(&disk, "d/x"), open(&disk, "d/y"));
    run_on(&disk, "rename d/x d/y");
    x.write_all_at(b"b", 0).expect("open");
    y.write_all_at(b"cc", 0).expect("open");
    assert_eq!(render(&disk.live_image()), "d/y=1b");
    assert_eq!(y.len().expect("open"), 2);
    assert_eq!(disk.bytes_used(), 3);
    drop(y);
    assert_eq!(disk.bytes_used(), 1);
}

#[test]
fn calls_fail_as_those_of_a_file_system() {
    let disk = run("create d/x; create d/y");
    for (line, kind) in [
        ("create d/x", io::ErrorKind::AlreadyExists),
        ("create n/x", io::ErrorKind::NotFound),
        ("create d/x/z", io::ErrorKind::NotADirectory),
        ("link d/x d/y", io::ErrorKind::AlreadyExists),
        ("link d/z d/w", io::ErrorKind::NotFound),
        ("unlink d/z", io::ErrorKind::NotFound),
        ("unlink d", io::ErrorKind::IsADirectory),
        ("rename d/z d/w", io::ErrorKind::NotFound),
        ("rename d/x e", io::ErrorKind::IsADirectory),
        ("mkdir d/x", io::ErrorKind::AlreadyExists),
        ("mkdir n/n", io::ErrorKind::NotFound),
        ("sync_dir d/x", io::ErrorKind::NotADirectory),
        ("sync_dir n", io::ErrorKind::NotFound),
        ("sync ../x", io::ErrorKind::InvalidInput),
        ("set_len d/x 99999999999", io::ErrorKind::FileTooLarge),
    ] {
        assert_eq!(
            step(&disk, line).map_err(|error| error.kind()),
            Err(kind),
            "{line}"
        );
    }
    run_on(&disk, "mkdir d");
    let read_only = disk.open_read(Path::new("d/x")).expect("exists");
    check_errno(read_only.write_all_at(b"a", 0), 9);
    let mut names: Vec<_> = disk.read_dir(Path::new("/d")).expect("exists");
    names.sort();
    assert_eq!(
        names.iter().map(|entry| &*entry.name).collect::<Vec<_>>(),
        ["x", "y"]
    );
    assert!(names.iter().all(|entry| !entry.is_dir));
}

#[test]
fn a_lock_is_exclusive_until_its_handle_is_dropped() {
    let disk = disk();
    let path = Path::new("d/LOCK");
    let held = disk.try_lock(path).expect("free");
    let kind = |disk: &SimDisk| disk.try_lock(path).err().map(|error| error.kind());
    assert_eq!(kind(&disk), Some(io::ErrorKind::WouldBlock));
    disk.sync_all();
    assert_eq!(
        kind(&disk.live_image().to_disk()),
        None,
        "images have no locks"
    );
    drop(held);
    assert_eq!(kind(&disk), None);
}

#[test]
fn a_directory_is_renamed_with_all_it_holds() {
    let disk = run("mkdir d/x; create d/x/f; rename d/x e/y");
    let image = disk.live_image();
    assert!(image.exists("e/y/f") && !image.exists("d/x"), "{image}");
}
