#!/usr/bin/env bash
# Installs what the tests need, and runs all of them.
#
#   scripts/test.sh [ARGUMENT OF cargo test ...]
#
# What is needed and missing is installed from Debian's packages: a C compiler, MariaDB's and PostgreSQL's servers (the
# tests start their own, on a loopback port, with a data directory of their own), cron, shellcheck, jq, strace, nftables, and
# pip, which fetches DuckDB's extension (see extensions.sh; kept in ${XDG_CACHE_HOME:-~/.cache}/libduckdb) and the Python
# packages that read the tree beside our programs (kept in ${XDG_CACHE_HOME:-~/.cache}/pipeline-python). That is done while
# the tests are compiled.
# Root is asked for only when something is missing, through sudo. The tests that mount a file system, start cron or
# cut a network run only as root; without root, or when something cannot be installed, they are skipped and named.
#
# Exit status: 0 all tests passed; 3 those that could be run passed, the others are named; 1 something failed.
set -euo pipefail
if [[ ${1:-} == -h || ${1:-} == --help ]]; then sed -n '2,/^set /s/^# \{0,1\}//p' "$0"; exit; fi

cd "$(dirname "${BASH_SOURCE[0]}")/.."
export PATH=$PATH:/usr/sbin:/sbin
cache=${XDG_CACHE_HOME:-${HOME:?}/.cache}
extensions=${DUCKDB_EXTENSION_DIR:-$cache/libduckdb/1.5.5/extensions}
python=${PIPELINE_PYTHONPATH:-$cache/pipeline-python}
work=$(mktemp -d)
trap 'wait; rm -rf "$work"' EXIT
say() { echo "test: $*" >&2; }

# What tests/it/readers.rs has read the tree beside our programs, and what a JSON Schema is compared with.
python_packages() {
    local fresh made_of
    local packages=(duckdb==1.5.5 pandas==3.1.1 polars==2.1.0 pyarrow==26.0.1 pydantic==2.14.4)
    scripts/need.sh python3=python3 pip3=python3-pip || return 1
    made_of="${packages[*]}, $(python3 --version)"
    [[ $(cat "$python/made-of" 2>/dev/null) != "$made_of" ]] || return 0
    say "fetching ${packages[*]} (120 MB)"
    mkdir -p "$(dirname "$python")"
    fresh=$(mktemp -d "$python.XXXXXX")
    if ! pip3 install --quiet --disable-pip-version-check --root-user-action ignore --only-binary :all: \
        --target "$fresh" "${packages[@]}" >&2; then
        rm -rf "$fresh"
        say "they could not be fetched"
        return 1
    fi
    echo "$made_of" >"$fresh/made-of"
    rm -rf "$python"
    mv "$fresh" "$python"
}

# Makes sure of all that the tests need beside the compiler, and prints what is skipped without it.
prepare() {
    local what
    local -A needs=(
        ["shellcheck over the scripts"]="shellcheck=shellcheck"
        [MariaDB]="mariadbd=mariadb-server-core my_print_defaults=mariadb-client-core"
        ["late lines that are put back"]="jq=jq"
        ["power cuts"]="strace=strace"
        [cron]="cron=cron flock=util-linux"
        ["connections that are cut"]="ip=iproute2 nft=nftables"
        ["file systems that break"]="prlimit=util-linux mkfs.ext4=e2fsprogs mount=mount"
    )
    compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || needs[PostgreSQL]="postgres=postgresql initdb=postgresql"
    # All at once is fastest. When that fails, one by one, so that only what cannot be had is skipped.
    # shellcheck disable=SC2048,SC2086 # names are split at white space
    scripts/need.sh ${needs[*]} || for what in "${!needs[@]}"; do scripts/need.sh ${needs[$what]} || echo "$what"; done
    [[ -n ${DUCKDB_EXTENSION_DIR:-} ]] || scripts/extensions.sh "$extensions" || echo "PostgreSQL, through DuckDB's extension"
    [[ -n ${PIPELINE_PYTHONPATH:-} ]] || python_packages || echo "pyarrow, polars and DuckDB's Python as readers of the tree"
    [[ $(id -u) == 0 ]] || echo "what mounts a file system, starts cron or cuts a network, which needs root"
}

. scripts/env.sh
prepare >"$work/skipped" &
# Flags are split at white space.
# shellcheck disable=SC2086
tests() { cargo test --workspace $DUCKDB_CARGO_FLAGS "$@"; }
# Not the examples in the documentation: there are none, and looking for them takes half a minute.
[[ $# != 0 ]] || tests --tests --no-run
wait $!
mapfile -t skipped <"$work/skipped"
[[ ! -d $extensions ]] || export DUCKDB_EXTENSION_DIR=$extensions
[[ ! -d $python ]] || export PIPELINE_PYTHONPATH=$python

! command -v shellcheck >/dev/null || shellcheck -x scripts/*.sh .ci/run
# With everything there, a test that skips itself fails.
[[ ${#skipped[@]} != 0 ]] || export PIPELINE_REQUIRE_SERVERS=1
# Most tests wait for programs more than they compute.
export RUST_TEST_THREADS=${RUST_TEST_THREADS:-$(($(nproc) * 2))}
if [[ $# != 0 ]]; then
    tests "$@"
else
    # The test with cron only waits, for minutes of the clock: the others run meanwhile.
    tests --test it cron:: >"$work/cron" 2>&1 &
    tests --tests -- --skip cron::
    wait $! || { cat "$work/cron" >&2; exit 1; }
fi

[[ ${#skipped[@]} == 0 ]] || {
    printf 'test: skipped: %s\n' "${skipped[@]}" >&2
    exit 3
}
say "all tests passed, none skipped"
