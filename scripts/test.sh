#!/usr/bin/env bash
# Installs what the tests need, and runs all of them.
#
#   scripts/test.sh [ARGUMENT OF cargo test ...]
#
# What is needed and missing is installed from Debian's packages: a C compiler, MariaDB's server (the programs alone: the
# tests start their own, on a loopback port, with a data directory of their own), cron, shellcheck, strace, and pip, which
# fetches DuckDB's MySQL extension (signed by DuckDB, checksum verified, kept in ${XDG_CACHE_HOME:-~/.cache}/libduckdb)
# and the Python packages that read the tree beside our programs (kept in ${XDG_CACHE_HOME:-~/.cache}/pipeline-python).
# Root is asked for only when something is missing, through sudo. The tests that mount a file system or start cron run
# only as root; without root, or when something cannot be installed, they are left out and named.
#
# Exit status: 0 all tests passed; 3 those that could be run passed, the others are named; 1 something failed.
set -euo pipefail
if [[ ${1:-} == -h || ${1:-} == --help ]]; then sed -n '2,/^set /s/^# \{0,1\}//p' "$0"; exit; fi

cd "$(dirname "${BASH_SOURCE[0]}")/.."
export PATH=$PATH:/usr/sbin:/sbin
left_out=()
say() { echo "test: $*" >&2; }

mysql_extension() {
    local package=duckdb-extension-mysql-scanner==1.5.5
    local wheel_sha256=91ea3d182de797113133c132bf267ba6c22dc716a2018cb6753470303baefbe8
    local extension_sha256=e2d3328b5370ae703f2c287c314a87979de513ef270d4dd565071c03057d2601
    local folder=${XDG_CACHE_HOME:-${HOME:?}/.cache}/libduckdb/1.5.5/extensions
    local file=$folder/mysql_scanner.duckdb_extension work
    if ! echo "$extension_sha256  $file" | sha256sum --check --status 2>/dev/null; then
        say "fetching $package (15 MB)"
        scripts/need.sh python3=python3 pip3=python3-pip || return 1
        mkdir -p "$folder"
        work=$(mktemp -d "$folder/.fetch.XXXXXX")
        if ! pip3 download --quiet --no-deps --only-binary :all: --dest "$work" "$package" >&2 ||
            ! echo "$wheel_sha256  $(echo "$work"/*.whl)" | sha256sum --check --status ||
            ! python3 -m zipfile -e "$work"/*.whl "$work" ||
            ! mv "$work"/*/extensions/v1.5.5/mysql_scanner.duckdb_extension "$file"; then
            rm -rf "$work"
            say "$package could not be fetched, or does not have the expected checksum"
            return 1
        fi
        rm -rf "$work"
    fi
    say "DuckDB's MySQL extension is $file"
    export DUCKDB_EXTENSION_DIR=$folder
}

# What tests/readers.rs has read the tree beside our programs.
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
scripts/need.sh prlimit=util-linux mkfs.ext4=e2fsprogs mount=mount || left_out+=("file systems that break")
[[ -n ${DUCKDB_EXTENSION_DIR:-} ]] || mysql_extension || left_out+=("MariaDB through DuckDB's MySQL extension")
[[ -n ${PIPELINE_PYTHONPATH:-} ]] || python_packages || left_out+=("pyarrow, polars and DuckDB's Python as readers of the tree")
[[ $(id -u) == 0 ]] || left_out+=("what mounts a file system or starts cron, which needs root")

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
