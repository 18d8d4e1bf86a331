#!/usr/bin/env bash
# Searches for inputs that make the decoder, the framing or the validator of tcp-ingest break a promise: fuzzing that is guided
# by what an input reaches in the code.
#
#   scripts/fuzz.sh [SECONDS [TARGET ...]]     (45 seconds for each of: decoder framing batch)
#
# A target is a program of tests/fuzz; it says what it checks. Each begins with the inputs in tests/fuzz/seeds and with
# those that earlier runs found worth keeping in ${XDG_CACHE_HOME:-~/.cache}/pipeline-fuzz. Builds in a folder of its own
# in $CARGO_TARGET_DIR (default: beside them). Needs Rust, stable, and a C++ compiler, which is installed when it is
# missing (see need.sh).
#
# Exit status: 0 nothing was found; 1 an input was found, or something else failed: what and where is said, and how to
# try the input again.
set -euo pipefail
if [[ ${1:-} == -h || ${1:-} == --help ]]; then sed -n '2,/^set /s/^# \{0,1\}//p' "$0"; exit; fi

seconds=${1:-45}
[[ $seconds =~ ^[1-9][0-9]*$ ]] || { echo "fuzz: $seconds is no number of seconds, see --help" >&2; exit 2; }
targets=("${@:2}")
[[ ${#targets[@]} != 0 ]] || targets=(decoder framing batch)

cd "$(dirname "${BASH_SOURCE[0]}")/.."
for target in "${targets[@]}"; do
    [[ -f tests/fuzz/targets/$target.rs && -d tests/fuzz/seeds/$target ]] || { echo "fuzz: there is no target $target, see --help" >&2; exit 2; }
done
command -v cargo >/dev/null || { echo "fuzz: there is no cargo: install Rust, see https://rustup.rs" >&2; exit 1; }
scripts/need.sh cc=gcc c++=g++ ld=binutils /usr/include/stdio.h=libc6-dev

cache=${XDG_CACHE_HOME:-${HOME:?}/.cache}/pipeline-fuzz
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$cache/target}/fuzz
# What is built for the machine itself (build scripts, macros) must not be instrumented: so the platform is named.
platform=$(rustc -vV | sed -n 's/^host: //p')
# Counters on every edge of the code, and a table of where they are. Without the tracing of comparisons, which halves the
# speed: what the input is compared with, the targets know themselves.
export RUSTFLAGS="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table"
cargo build --quiet --package pipeline-fuzz --features libfuzzer --profile fuzz --target "$platform"
programs=$(realpath "$CARGO_TARGET_DIR/$platform/fuzz")

# What this run writes is its own, so that several may run at once.
mkdir -p "$cache/found"
work=$(mktemp -d "$cache/.run.XXXXXX")
trap 'rm -rf "$work"' EXIT
for target in "${targets[@]}"; do
    # Lines enough to learn and forget, no more: short inputs are tried more often.
    case $target in decoder) longest=800 ;; framing) longest=512 ;; *) longest=1536 ;; esac
    program=$programs/$target kept=$cache/corpus/$target log=$work/$target.log
    mkdir -p "$kept" "$work/$target" "$work/best"
    # An input that takes 20 seconds is an endless loop; slow machines have stalls, of which nothing is kept.
    if ! "$program" "$work/$target" "$kept" "tests/fuzz/seeds/$target" -max_total_time="$seconds" -max_len=$longest \
        -timeout=20 -report_slow_units=20 -artifact_prefix="$cache/found/$target-" >"$log" 2>&1; then
        grep -a -A 4 -e 'panicked at' -e 'ERROR: libFuzzer: [to]' "$log" | cut -c 1-2000 >&2 || tail -n 20 "$log" >&2
        input=$(sed -n 's/.*Test unit written to //p' "$log" | tail -n 1)
        [[ -z $input ]] ||
            printf 'fuzz: %s fails with the input %s\nfuzz: to try it again: %q %q\n' "$target" "$input" "$program" "$input" >&2
        echo "fuzz: $target failed" >&2
        exit 1
    fi
    sed -n "s/^#\([0-9]*\)\tDONE *cov: \([0-9]*\) .* exec\/s: \([0-9]*\).*/fuzz: $target: nothing found in \1 inputs, \3 a second; \2 edges of the code reached/p" "$log"

    # Of all that reached something new only the shortest are kept, else the next run begins with thousands.
    "$program" -merge=1 "$work/best" "$kept" "$work/$target" -max_len=$longest -artifact_prefix="$cache/found/$target-" >"$log" 2>&1 ||
        { tail -n 20 "$log" >&2; exit 1; }
    # Where another run does the same just now, one of the two is enough.
    if ! { mv -T "$kept" "$work/$target.old" && mv -T "$work/best" "$kept"; }; then rm -rf "$work/best"; fi
done
