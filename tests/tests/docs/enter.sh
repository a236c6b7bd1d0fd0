# The first process of a session's namespaces (`session.rs`) but for `timeout`: `enter.sh SANDBOX`. Puts the directory
# of that session in the place of those that its commands may write to, and runs the script of the page in this shell.
set -euo pipefail

# A directory named here is seen even where the path to it leads through one that is covered below.
mount --bind "$1" /mnt
for directory in home root run srv tmp var; do
    mount --bind "/mnt/$directory" "/$directory"
done
# Whoever has batchd on this machine has it for other things.
[[ ! -d /etc/batchd ]] || mount --bind /mnt/nothing /etc/batchd
# The rest of the machine: what goes there is a mistake.
mount -o remount,bind,ro /

# From here on what is printed is the output of the block at that line.
block_begins() { exec >"/mnt/output/$1" 2>&1; }
block_ends() { : >"/mnt/output/$1.complete"; }
trap 'echo "line $LINENO: exit code $?"' ERR

cd "$HOME/batchd"
. /mnt/page
