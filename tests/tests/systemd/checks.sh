# Runs in the container, as a service of its systemd. Each check is a line; the last says how many passed.

PATH=/cargo/bin:/usr/local/sbin:/usr/sbin:/usr/bin
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

# page NAME: runs the commands of that name in docs/systemd.md, once.
page() {
    local commands
    commands=$(cat "/page/$1.sh") && rm "/page/$1.sh"
    bash -euo pipefail -c "$commands" || fail "the commands \"$1\" of the page"
}

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

cd /checkout || fail "the checkout"
page install
check "what was installed runs" is_state active/active
check "and does at every boot" is "$(systemctl is-enabled batchd.service batchd.socket | sort -u)" enabled
page look >/look
check "what is told of it is there" test "$(grep -c 'taking submissions: 1 queue, 0 batches waiting' /look)" = 1
check "and its log" grep -q 'INFO ready' /look
page stop
check "it stops with the socket" is_state inactive/inactive
check "and the name goes" test ! -e /run/batchd/batchd.sock

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
page start-again
check "it is put right by starting it" is_state active/active

page let-others-submit
check "a group can be let in" is "$(stat -c %a:%G /run/batchd/batchd.sock)" 660:producers

page deliver-elsewhere
echo four | batchctl submit || fail "submit"
batchctl flush --wait || fail "flush"
check "batches go to a directory of a group" is "$(cat /srv/batches/*)" four
check "which may read them" is "$(stat -c %a:%G /srv/batches/*)" 640:batches

rm /etc/batchd/batchd.toml
set -m # a process group for what runs behind
page by-hand &
answers() { batchctl status --socket /tmp/batchd.sock >/dev/null 2>&1; }
within "by hand it answers on the socket it is passed" answers
kill %1
is_gone() { ! kill -0 -- "-$!" 2>/dev/null; }
within "and stops" is_gone # with it left behind, systemd would not notice the end of this service

check "all commands of the page were run" is "$(ls /page)" ""

echo "all $checks checks passed"
