#!/usr/bin/env bash
# Installs what the tests need, and runs all of them.
#
#   scripts/test.sh [ARGUMENT OF cargo test ...]
#
# What is needed and missing is installed from Debian's packages: a C compiler, MariaDB's and PostgreSQL's servers (the
# tests start their own, on a loopback port, with a data directory of their own), cron, shellcheck, strace, nftables, and
# pip, which fetches DuckDB's extensions (see extensions.sh; kept in ${XDG_CACHE_HOME:-~/.cache}/libduckdb) and the Python
# packages that read the tree beside our programs (kept in ${XDG_CACHE_HOME:-~/.cache}/pipeline-python).
# Root is asked for only when something is missing, through sudo. The tests that mount a file system, start cron or
# cut a network run only as root; without root, or when something cannot be installed, they are left out and named.
#
# Exit status: 0 all tests passed; 3 those that could be run passed, the others are named; 1 something failed.
set -euo pipefail
if [[ ${1:-} == -h || ${1:-} == --help ]]; then sed -n '2,/^set /s/^# \{0,1\}//p' "$0"; exit; fi

cd "$(dirname "${BASH_SOURCE[0]}")/.."
export PATH=$PATH:/usr/sbin:/sbin
left_out=()
say() { echo "test: $*" >&2; }

extensions() {
    local folder=${XDG_CACHE_HOME:-${HOME:?}/.cache}/libduckdb/1.5.5/extensions
    scripts/extensions.sh "$folder" || return 1
    say "DuckDB's extensions are in $folder"
    export DUCKDB_EXTENSION_DIR=$folder
}

# What tests/it/readers.rs has read the tree beside our programs.
python_packages() {
    local folder=${XDG_CACHE_HOME:-${HOME:?}/.cache}/pipeline-python work made_of
    local packages=(duckdb==1.5.5 pandas==3.1.1 polars==2.1.0 pyarrow==26.0.1)
    scripts/need.sh python3=python3 pip3=python3-pip || return 1
    made_of="${packages[*]}, $(python3 --version)"
    if [[ $(cat "$folder/made-of" 2>/dev/null) != "$made_of" ]]; then
        say "fetching ${packages[*]} (120 MB)"
        mkdir -p "$(dirname "$folder")"
        work=$(mktemp -d "$folder.XXXXXX")
        if ! pip3 install --quiet --disable-pip-version-check --root-user-action ignore --only-binary :all: \
            --target "$work" "${packages[@]}" >&2; then
            rm -rf "$work"
            say "they could not be fetched"
            return 1
        fi
        echo "$made_of" >"$work/made-of"
        rm -rf "$folder"
        mv "$work" "$folder"
    fi
    export PIPELINE_PYTHONPATH=$folder
}

. scripts/env.sh
scripts/need.sh shellcheck=shellcheck || left_out+=("shellcheck over the scripts")
scripts/need.sh mariadbd=mariadb-server-core my_print_defaults=mariadb-client-core || left_out+=("MariaDB")
scripts/need.sh strace=strace || left_out+=("power cuts")
scripts/need.sh cron=cron flock=util-linux || left_out+=("cron")
scripts/need.sh ip=iproute2 nft=nftables || left_out+=("connections that are cut")
scripts/need.sh prlimit=util-linux mkfs.ext4=e2fsprogs mount=mount || left_out+=("file systems that break")
postgres_programs() { compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null; }
postgres_programs || scripts/need.sh postgres=postgresql initdb=postgresql || postgres_programs || left_out+=("PostgreSQL")
[[ -n ${DUCKDB_EXTENSION_DIR:-} ]] || extensions || left_out+=("PostgreSQL and SQLite, through DuckDB's extensions")
[[ -n ${PIPELINE_PYTHONPATH:-} ]] || python_packages || left_out+=("pyarrow, polars and DuckDB's Python as readers of the tree")
[[ $(id -u) == 0 ]] || left_out+=("what mounts a file system, starts cron or cuts a network, which needs root")

! command -v shellcheck >/dev/null || shellcheck -x scripts/*.sh .ci/run
# With everything there, a test that leaves itself out fails.
[[ ${#left_out[@]} != 0 ]] || export PIPELINE_REQUIRE_SERVERS=1
# shellcheck disable=SC2086 # flags are split at white space
cargo test --workspace $DUCKDB_CARGO_FLAGS "$@"

[[ ${#left_out[@]} == 0 ]] || {
    printf 'test: left out: %s\n' "${left_out[@]}" >&2
    exit 3
}
say "all tests passed, none left out"
