#!/usr/bin/env bash
# Makes sure that commands and files are there, and installs the Debian packages that hold the missing ones.
#
#   scripts/need.sh COMMAND=PACKAGE ... /FILE=PACKAGE ...
#
# Root is asked for only when something is missing, through sudo. Exits 1, with the command to type, when it cannot
# be installed.
set -euo pipefail
if [[ $# == 0 || $1 == -h || $1 == --help ]]; then sed -n '2,/^set /s/^# \{0,1\}//p' "$0"; exit; fi

# Servers live in /usr/sbin, which is not on every user's path.
PATH=$PATH:/usr/sbin:/sbin
missing=() packages=()
for pair in "$@"; do
    name=${pair%%=*}
    if [[ $name == /* && -e $name ]] || command -v "$name" >/dev/null; then continue; fi
    missing+=("$name")
    packages+=("${pair#*=}")
done
[[ ${#packages[@]} != 0 ]] || exit 0

root=()
[[ $(id -u) == 0 ]] || root=(sudo)
install=("${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}")
fail() {
    echo "need: ${missing[*]} missing: $1; as root: apt-get install --no-install-recommends ${packages[*]}" >&2
    exit 1
}
command -v apt-get >/dev/null || fail "this is no Debian, install what corresponds to these packages"
[[ ${#root[@]} == 0 ]] || command -v sudo >/dev/null || fail "installing needs root"
echo "need: ${missing[*]} missing: ${install[*]}" >&2
# The lists of packages are old or empty on many machines; then they are fetched, and it is tried again.
"${install[@]}" >/dev/null 2>&1 || { "${root[@]}" apt-get update -qq >&2 && "${install[@]}" >/dev/null; } || fail "could not be installed"
