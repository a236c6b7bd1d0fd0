//! Properties over random sequences of calls.

use super::*;
use crate::env::sim::clock::SplitMix;
use crate::env::sim::content::Content;

#[test]
fn a_fingerprint_follows_every_change() {
    let mut random = SplitMix(1);
    for _ in 0..200 {
        let mut content = Content::default();
        for _ in 0..8 {
            if random.coin() {
                let byte = u8::from(random.coin());
                let (offset, count) = (random.below(40), random.below(40));
                content.write(offset, &vec![byte; count]);
            } else {
                content.set_len(random.below(80));
            }
            let anew = Content::new(content.bytes().to_vec());
            assert_eq!(content.fingerprint(), anew.fingerprint(), "{content:?}");
        }
    }
    let print = |bytes: &[u8]| Content::new(bytes.to_vec()).fingerprint();
    assert_ne!(print(b""), print(b"\0"));
    assert_ne!(print(b"ab"), print(b"ba"));
    assert_ne!(print(b"12345678abcdefgh"), print(b"abcdefgh12345678"));
}

/// Whatever is renamed and synced, in whatever order: every file is somewhere in every state.
#[test]
fn renames_never_lose_a_file() {
    for seed in 0..300 {
        let mut random = SplitMix(seed);
        let disk =
            run("mkdir n; create d/1; create d/2; write d/1 0 1 1; write d/2 0 1 2; sync_all");
        let mut places = ["d/1".to_owned(), "d/2".to_owned()];
        run_on(
            &disk,
            if random.coin() {
                "mkdir n/m"
            } else {
                "mkdir m"
            },
        );
        let last = if disk.live_image().exists("m") {
            "m"
        } else {
            "n/m"
        };
        let dirs = ["d", "e", "n", last];
        let dir = |random: &mut SplitMix| dirs.get(random.below(4)).copied().unwrap_or("d");
        for _ in 0..6 {
            if random.below(3) == 0 {
                run_on(&disk, &format!("sync_dir {}", dir(&mut random)));
            } else if let Some(place) = places.get_mut(random.below(2)) {
                let to = format!("{}/{}", dir(&mut random), random.below(5));
                if !disk.live_image().exists(&to) {
                    run_on(&disk, &format!("rename {place} {to}"));
                    *place = to;
                }
            }
        }
        for image in disk.crash_states(&Limits {
            exhaustive_ops: 10,
            ..Limits::default()
        }) {
            let state = render(&image);
            let all = state.contains("=11") && state.contains("=12");
            assert!(
                all,
                "seed {seed}: {state}\n{}{}",
                disk.op_log(),
                image.origin()
            );
        }
    }
}

/// A random state is one that the whole walk meets, as long as no write is torn at random.
#[test]
fn a_crash_by_chance_is_in_the_walk() {
    let disk = run("create d/x; write d/x 0 9 a; rename d/x e/y; create d/x; unlink e/y");
    let walked = crash_set(&disk);
    let mut met = BTreeSet::new();
    for seed in 0..200 {
        let state = render(&disk.crash(seed));
        assert!(walked.contains(&state), "{state}");
        met.insert(state);
    }
    assert_eq!(met, walked);
}

/// With everything synced, there is one state, and it is the live one.
#[test]
fn what_is_synced_is_there() {
    for seed in 0..300 {
        let mut random = SplitMix(seed);
        let disk = disk();
        for _ in 0..12 {
            let name = |random: &mut SplitMix| {
                format!(
                    "{}/{}",
                    if random.coin() { "d" } else { "e" },
                    random.below(3)
                )
            };
            let (one, two) = (name(&mut random), name(&mut random));
            let line = match random.below(8) {
                0 | 1 => format!("create {one}"),
                2 => format!("write {one} {} 700 a", random.below(900)),
                3 => format!("set_len {one} {}", random.below(900)),
                4 => format!("link {one} {two}"),
                5 => format!("unlink {one}"),
                6 => format!("rename {one} {two}"),
                _ if random.coin() => format!("sync_dir {}", if random.coin() { "d" } else { "e" }),
                _ => format!("sync {one}"),
            };
            // Many of these fail, as they should.
            step(&disk, &line).unwrap_or_default();
        }
        for path in disk.live_image().files() {
            run_on(&disk, &format!("sync {path}"));
        }
        run_on(&disk, "sync_dir d; sync_dir e");
        assert_eq!(
            disk.pending_count(),
            0,
            "seed {seed}: {}",
            disk.pending_log()
        );
        assert_eq!(
            disk.durable_image(),
            disk.live_image(),
            "seed {seed}: {}",
            disk.op_log()
        );
    }
}
