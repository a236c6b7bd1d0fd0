#!/bin/sh
# Builds batchd, gives it a log file to keep, kills it, starts it again, and compares what it delivers with what it
# was given:
#
#     sh docs/first-run.sh
#
# Everything happens in a temporary directory, which is removed in the end. Exits with 0 if every byte matched.
set -eu

cd "$(dirname "$0")/.."
input=samples/access.log

say() {
    printf '\n==> %s\n' "$*"
}

fail() {
    printf '\nfailed: %s\n' "$*" >&2
    if [ -s "$dir/log" ]; then
        printf 'the log of the daemon ends with:\n' >&2
        tail -n 20 "$dir/log" >&2
    fi
    exit 1
}

finish() {
    if [ -n "$daemon" ]; then
        kill -KILL "$daemon" 2>/dev/null || true
        wait "$daemon" 2>/dev/null || true
    fi
    rm -rf "$dir"
}

# Starts the daemon, and waits until it answers: at most 10 seconds.
start() {
    "$bin/batchd" --config "$dir/batchd.toml" 2>>"$dir/log" &
    daemon=$!
    tries=100
    until "$bin/batchctl" status >/dev/null 2>&1; do
        kill -0 "$daemon" 2>/dev/null || fail "batchd ended"
        tries=$((tries - 1))
        [ "$tries" -gt 0 ] || fail "batchd does not answer"
        sleep 0.1
    done
}

dir=$(mktemp -d)
daemon=
trap finish EXIT
trap 'exit 1' HUP INT TERM

say "building batchd and batchctl"
cargo build --release -p batchd -p batchctl
bin=${CARGO_TARGET_DIR:-target}/release

# Only the places are not those of the built-in configuration.
cat >"$dir/batchd.toml" <<END
[spool]
path = "$dir/spool"
[[listen]]
path = "$dir/batchd.sock"
[queues.default.sink]
type = "file"
path = "$dir/delivered"
END
BATCHD_SOCKET=$dir/batchd.sock
export BATCHD_SOCKET

say "starting batchd"
start

say "submitting $input: it returns when every line is synced"
"$bin/batchctl" submit --verbose "$input"

say "what the daemon has"
"$bin/batchctl" status
echo
"$bin/batchctl" ls

say "kill -9, and a new start"
kill -KILL "$daemon"
wait "$daemon" 2>/dev/null || true
start
"$bin/batchctl" ls

say "flushing: it returns when the files are there"
"$bin/batchctl" flush --wait
ls "$dir/delivered"

say "comparing what was delivered with what was sent"
# Names sort in the order of delivery.
cat "$dir"/delivered/*.txt >"$dir/received"
cmp "$input" "$dir/received" || fail "what was delivered is not what was sent"

say "stopping batchd"
kill -TERM "$daemon"
wait "$daemon" || fail "batchd did not stop cleanly"
daemon=

lines=$(wc -l <"$input")
say "all $((lines)) lines were delivered, byte for byte"
