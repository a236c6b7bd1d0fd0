//! Where a configuration is looked for, what there is without one, and `check-config`.

use std::path::Path;

use insta::assert_snapshot;

use super::{parse_as, root};
use crate::config::model::SinkConfig;
use crate::config::problem::ConfigErrors;
use crate::config::{Config, Surroundings, check_config, variables};

/// What is said of it: the mistakes, and what to do.
fn told(errors: &ConfigErrors) -> String {
    format!("{errors}\nhint: {}", errors.hint().unwrap_or_default())
}

#[test]
fn a_user_without_a_home() {
    let nobody = Surroundings::new(1000, |_| None);
    assert_snapshot!(told(&Config::built_in(&nobody).unwrap_err()), @"
    built-in configuration: where to put the spool is not known: set spool.path, or the variable XDG_STATE_HOME or HOME
    built-in configuration: where to put the socket is not known: set path in [[listen]], or the variable XDG_RUNTIME_DIR or HOME
    built-in configuration: where to put delivered batches is not known: set queues.default.sink, or the variable XDG_STATE_HOME or HOME
    hint: 'HOME=DIR batchd' puts all of it below a directory; or name the places in a file, with --config FILE
    ");
    let text = "[spool]\npath = '/s'\n[[listen]]\npath = '/l'\n[queues.default]\nsink = 'off'";
    assert!(parse_as(text.as_bytes(), &nobody).is_ok());
}

/// Somebody with this home.
fn user(home: &str) -> Surroundings {
    Surroundings::new(1000, variables(&[("HOME", home)]))
}

#[test]
fn a_file_of_somebody_else() {
    let errors = ConfigErrors::Unreadable {
        path: "/b.toml".into(),
        uid: 1000,
        source: std::io::ErrorKind::PermissionDenied.into(),
    };
    assert_snapshot!(told(&errors), @"
    cannot read the configuration /b.toml: permission denied
    hint: user 1000 must be able to read it: 'ls -l /b.toml' shows who may
    ");
    let errors = ConfigErrors::Unreadable {
        path: "/a b.toml".into(),
        uid: 1000,
        source: std::io::ErrorKind::PermissionDenied.into(),
    };
    assert_snapshot!(told(&errors), @"
    cannot read the configuration /a b.toml: permission denied
    hint: user 1000 must be able to read it: 'ls -l '/a b.toml'' shows who may
    ");
}

#[test]
fn a_home_too_deep_for_a_socket() {
    let home = format!("/{}", "x".repeat(100));
    let deep = user(&home);
    assert_snapshot!(told(&Config::built_in(&deep).unwrap_err()), @"
    built-in configuration: listen.path: path of 133 bytes is too long for a socket: at most 103; choose a shorter one
    hint: name another place in a file, with --config FILE; 'batchd check-config --config /dev/null' prints the one that is built in, to begin with
    ");
}

#[test]
fn a_queue_of_the_built_in_configuration_has_a_place_to_go() {
    let config = Config::built_in(&root()).unwrap();
    let Some(SinkConfig::File(file)) = &config.template.sink else {
        panic!("no sink")
    };
    assert_eq!(file.path, Path::new("/var/lib/batchd/delivered"));
    assert_eq!(file.check(), Ok(()));
}

/// What `check-config` prints on both outputs, and its exit code.
fn checked(file: Option<&Path>, surroundings: &Surroundings) -> (u8, String, String) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let code = check_config(file, surroundings, &mut out, &mut err);
    (
        code,
        String::from_utf8(out).unwrap(),
        String::from_utf8(err).unwrap(),
    )
}

#[test]
fn check_config_finds_the_file_or_takes_what_is_built_in() {
    let home = tempfile::tempdir().unwrap();
    let user = user(home.path().to_str().unwrap());
    let (code, out, err) = checked(None, &user);
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(out.starts_with("# built-in\n\n[spool]\n"), "{out}");

    let file = home.path().join(".config/batchd/batchd.toml");
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(&file, "[engine]\ningest_threads = 3").unwrap();
    let (code, out, err) = checked(None, &user);
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(out.starts_with(&format!("# {}\n", file.display())), "{out}");
    assert!(out.contains("ingest_threads = 3"), "{out}");
}

#[test]
fn check_config_says_all_that_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("b.toml");
    let (code, out, err) = checked(Some(&file), &root());
    assert_eq!((code, out.as_str()), (78, ""));
    let masked = |text: &str| text.replace(dir.path().to_str().unwrap(), "DIR");
    assert_snapshot!(masked(&err), @"
    cannot read the configuration DIR/b.toml: No such file or directory (os error 2)
    hint: give a file that is there to --config; 'batchd check-config --config /dev/null' prints the one that is built in, to begin with
    ");

    std::fs::write(&file, "a = 1\nb = 2").unwrap();
    let (code, out, err) = checked(Some(&file), &root());
    assert_eq!((code, out.as_str()), (78, ""));
    assert_snapshot!(masked(&err), @"
    DIR/b.toml:1:1: unknown key `a` at the top of the file: expected one of `spool`, `listen`, `limits`, `engine`, `queues`
    DIR/b.toml:2:1: unknown key `b` at the top of the file: expected one of `spool`, `listen`, `limits`, `engine`, `queues`
    hint: mend these 2 mistakes, and look again with 'batchd check-config --config DIR/b.toml'
    ");
    std::fs::write(&file, "a = 1").unwrap();
    let (_, _, err) = checked(Some(&file), &root());
    assert_snapshot!(masked(&err), @"
    DIR/b.toml:1:1: unknown key `a` at the top of the file: expected one of `spool`, `listen`, `limits`, `engine`, `queues`
    hint: mend this mistake, and look again with 'batchd check-config --config DIR/b.toml'
    ");
    let (_, _, err) = checked(Some(dir.path()), &root());
    assert_snapshot!(masked(&err), @"
    cannot read the configuration DIR: Is a directory (os error 21)
    hint: give the file in it to --config
    ");
}

/// As the hints say.
#[test]
fn an_empty_file_is_the_configuration_that_is_built_in() {
    let empty = Config::load(Path::new("/dev/null"), &root()).unwrap();
    assert_eq!(empty, Config::built_in(&root()).unwrap());
}

#[test]
fn check_config_may_be_cut_short_by_its_reader() {
    struct Closed(std::io::ErrorKind);
    impl std::io::Write for Closed {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(self.0.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let check = |kind| check_config(None, &root(), &mut Closed(kind), &mut Vec::new());
    assert_eq!(check(std::io::ErrorKind::BrokenPipe), 0);
    assert_eq!(check(std::io::ErrorKind::StorageFull), 74);
}
