#!/usr/bin/env bash
# `cargo`, as the documentation calls it. Nothing is built: the programs are there, in the profile of the tests, and
# are put where cargo would put them, or run. What cargo would refuse is refused, and whatever is not known here.
#
# Beside the directory of this script are `packages` (the directory, the name and the programs of each package, those
# built without `-p` marked by a `*`) and `built` (the programs).
set -euo pipefail

home=$(dirname "$(dirname "$(realpath "$0")")")
readonly home

refuse() {
    echo "cargo: $*" >&2
    exit 101
}

# Prints the programs of the packages that were asked for: -p, --path, or the default ones.
programs() {
    local mark directory name programs program wanted found
    for wanted in "${packages[@]-}"; do
        found=
        while read -r mark directory name programs; do
            case $wanted in
                "") [[ $mark == "*" ]] ;;
                */) [[ $wanted == "$directory/" ]] ;;
                *) [[ $wanted == "$name" ]] ;;
            esac || continue
            found=yes
            for program in $programs; do echo "$program"; done
        done <"$home/packages"
        [[ $found ]] || refuse "no package with programs: $wanted"
    done
}

# Puts the programs of the packages into a directory, as cargo does.
put() {
    local program
    mkdir -p "$1"
    for program in "${found[@]}"; do
        [[ ! $bin || $program == "$bin" ]] || continue
        ln -sf "$home/built/$program" "$1/"
    done
    [[ ! $bin || -e "$1/$bin" ]] || refuse "no such program: $bin"
}

command=${1:-}
shift || true
packages=() bin='' profile=debug
while (($#)); do
    case $1 in
        --release) profile=release ;;
        --locked | --quiet | -q) ;;
        -p | --package) packages+=("$2") && shift ;;
        --path) packages+=("${2%/}/") && shift ;;
        --bin) bin=$2 && shift ;;
        --) shift && break ;;
        -*) refuse "$1 is not known to the tests of the documentation" ;;
        *) break ;;
    esac
    shift
done

[[ -f Cargo.toml ]] || refuse "no Cargo.toml in $PWD"
found=$(programs)
mapfile -t found <<<"$found"
case $command in
    build)
        (($# == 0)) || refuse "build takes no $1"
        put "target/$profile"
        ;;
    install)
        [[ $# == 0 && ${packages[*]-} == */ ]] || refuse "nothing has been released: install a --path"
        put "$HOME/.cargo/bin"
        ;;
    run)
        put "target/$profile"
        [[ $bin || ${#found[@]} == 1 ]] || refuse "which one? ${found[*]}"
        exec "target/$profile/${bin:-${found[0]}}" "$@"
        ;;
    *) refuse "$command is not known to the tests of the documentation" ;;
esac
