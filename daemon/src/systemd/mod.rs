//! What has to do with systemd, or with whatever else starts the daemon in the same way: the sockets that it
//! passes on, and what it is told. Where nobody passes or asks anything, nothing in here does anything.

mod inherited;
mod notify;

pub(crate) use inherited::take_inherited;
pub(crate) use notify::{Manager, NOTIFY_VARIABLE};

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use batchd_protocol::exit;

    use crate::config::Surroundings;
    use crate::config::model::SHUTDOWN_TIMEOUT;

    const SERVICE: &str = include_str!("../../../systemd/batchd.service");
    const SOCKET: &str = include_str!("../../../systemd/batchd.socket");

    /// What a unit sets a key to.
    #[track_caller]
    fn value<'a>(unit: &'a str, key: &str) -> &'a str {
        let mut values = unit
            .lines()
            .filter_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        let value = values.next().expect(key);
        assert_eq!(values.next(), None, "{key} is set twice");
        value
    }

    /// Programs find the socket without being told only where both agree.
    #[test]
    fn the_socket_is_where_it_is_by_default() {
        let service = Surroundings {
            uid: 990,
            state_directory: Some("/var/lib/batchd".into()),
            ..Surroundings::default()
        };
        let path = value(SOCKET, "ListenStream");
        assert_eq!(service.socket(), Some(PathBuf::from(path)));
        assert_eq!(value(SERVICE, "StateDirectory"), "batchd");
        assert_eq!(value(SOCKET, "SocketMode"), "0660");
    }

    #[test]
    fn a_stop_has_the_time_that_it_takes() {
        let seconds: u64 = value(SERVICE, "TimeoutStopSec").parse().expect("seconds");
        assert!(seconds >= 2 * SHUTDOWN_TIMEOUT.as_secs());
    }

    #[test]
    fn what_needs_a_person_is_not_tried_again() {
        let codes: Vec<_> = value(SERVICE, "RestartPreventExitStatus")
            .split(' ')
            .map(|code| code.parse::<u8>().expect("an exit code"))
            .collect();
        assert_eq!(codes, [exit::USAGE, exit::NOPERM, exit::CONFIG]);
    }

    /// A disk that fails for long is tried for as long: repeats never come so often that systemd gives up.
    #[test]
    fn repeats_after_a_failure_never_end() {
        let number = |key| value(SERVICE, key).parse::<u64>().expect("a number");
        let repeats = number("StartLimitIntervalSec") / number("RestartSec") + 1;
        assert!(repeats < number("StartLimitBurst"));
    }
}
