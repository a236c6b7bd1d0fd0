# Runs in the container, as a service of its systemd. Each check is a line; the last says how many passed.

PATH=/programs:/usr/local/sbin:/usr/sbin:/usr/bin
checks=0

fail() {
    echo "FAILED: $*"
    systemctl status --no-pager --lines=50 batchd.service batchd.socket
    exit 1
}

# check WHAT COMMAND...: fails where the command does.
check() {
    local what=$1
    shift
    "$@" || fail "$what: $*"
    checks=$((checks + 1))
    echo "ok: $what"
}

is() { [ "$1" = "$2" ] || fail "'$1' instead of '$2'"; }
service() { systemctl show --property="$1" --value batchd.service; }
socket() { systemctl show --property="$1" --value batchd.socket; }

# within WHAT COMMAND...: waits until the command succeeds, at most 30 seconds.
within() {
    local what=$1 tries=300
    shift
    until "$@"; do
        tries=$((tries - 1))
        [ "$tries" -gt 0 ] || fail "waited for $what: $*"
        sleep 0.1
    done
    check "$what" true
}

is_restarted() { [ "$(service NRestarts)" = "$1" ] && [ "$(service ActiveState)" = active ]; }
is_state() { [ "$(service ActiveState)/$(socket ActiveState)" = "$1" ]; }
delivered() { cat /var/lib/batchd/delivered/*; }

systemctl start batchd.socket
check "the socket alone listens" is_state inactive/active
check "its place is the default" test -S /run/batchd/batchd.sock
check "it is closed to others" is "$(stat -c %a:%U:%G /run/batchd/batchd.sock)" 660:root:root

echo one | batchctl submit || fail "submit"
check "the first connection starts the daemon" is_state active/active
check "the manager is told how it goes" is "$(service StatusText)" "taking submissions: 1 queue, 0 batches waiting"
check "its user is its own" is "$(stat -c %U "/proc/$(service MainPID)")" batchd
check "its spool is closed to others" is "$(stat -c %a:%U /var/lib/batchd/spool)" 700:batchd

killed=$(service MainPID)
systemctl kill --signal=KILL batchd.service
echo two | batchctl submit --wait-for-daemon --timeout 60s || fail "submit"
within "it is started again after a crash" is_restarted 1
check "as another process" test "$(service MainPID)" != "$killed"
batchctl flush --wait || fail "flush"
check "what was acknowledged is delivered" is "$(delivered)" "$(printf 'one\ntwo')"

systemctl stop batchd.service
check "the socket outlives the daemon" is_state inactive/active
check "the stop was clean" is "$(service Result)" success
check "the name of the socket is still there" test -S /run/batchd/batchd.sock
echo three | batchctl submit || fail "submit"
check "the next connection starts it again" is_state active/active

systemctl stop batchd.socket
check "the daemon stops with the socket" is_state inactive/inactive
check "and the name goes" test ! -e /run/batchd/batchd.sock

systemctl start batchd.service
check "the service brings the socket" is_state active/active
batchctl flush --wait || fail "flush"
check "nothing is lost between the starts" is "$(delivered)" "$(printf 'one\ntwo\nthree')"
systemctl stop batchd.socket

mkdir /etc/batchd
echo 'wrong = true' >/etc/batchd/batchd.toml
systemctl start batchd.service && fail "started with a wrong configuration"
check "a wrong configuration is said by its exit code" is "$(service ExecMainStatus)" 78
check "and not tried again" is "$(service NRestarts)/$(service ActiveState)" 0/failed

connect() {
    batchctl status --timeout 200ms >/dev/null 2>&1
    is_state failed/failed
}
within "producers who go on connecting end the socket too" connect
rm /etc/batchd/batchd.toml
. /start-again.sh
check "it is put right by starting it" is_state active/active

. /let-others-submit.sh || fail "let-others-submit"
check "a group can be let in" is "$(stat -c %a:%G /run/batchd/batchd.sock)" 660:producers

. /deliver-elsewhere.sh || fail "deliver-elsewhere"
echo four | batchctl submit || fail "submit"
batchctl flush --wait || fail "flush"
check "batches go to a directory of a group" is "$(cat /srv/batches/*)" four
check "which may read them" is "$(stat -c %a:%G /srv/batches/*)" 640:batches

echo "all $checks checks passed"
