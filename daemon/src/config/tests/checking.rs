//! Where a configuration is looked for, what there is without one, and `check-config`.

use std::path::Path;

use insta::assert_snapshot;

use super::{parse_as, root};
use crate::config::model::SinkConfig;
use crate::config::problem::ConfigErrors;
use crate::config::{Config, Surroundings, check_config, variables};

#[test]
fn a_user_without_a_home() {
    let nobody = Surroundings::new(1000, |_| None);
    assert_snapshot!(Config::built_in(&nobody).unwrap_err(), @"
    built-in configuration: where to put the spool is not known: set spool.path, or the variable XDG_STATE_HOME or HOME
    built-in configuration: where to put the socket is not known: set path in [[listen]], or the variable XDG_RUNTIME_DIR or HOME
    built-in configuration: where to put delivered batches is not known: set queues.default.sink, or the variable XDG_STATE_HOME or HOME
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
    assert_snapshot!(errors, @"/b.toml: cannot read the configuration: permission denied: user 1000 must be able to read it");
}

#[test]
fn a_home_too_deep_for_a_socket() {
    let home = format!("/{}", "x".repeat(100));
    let deep = user(&home);
    assert_snapshot!(Config::built_in(&deep).unwrap_err(), @"built-in configuration: listen.path: path of 133 bytes is too long for a socket: at most 103");
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
    assert_eq!(
        err.replace(dir.path().to_str().unwrap(), "DIR"),
        "DIR/b.toml: cannot read the configuration: No such file or directory (os error 2): give an existing file to \
         --config, or leave it out for the built-in configuration\n"
    );

    std::fs::write(&file, "a = 1\nb = 2").unwrap();
    let (code, out, err) = checked(Some(&file), &root());
    assert_eq!((code, out.as_str(), err.lines().count()), (78, "", 2));
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
