#!/usr/bin/env bash
# Makes sure that programs hold no fault points: places where a test can make a program die or fail by setting FAULT in
# its environment (crates/layout/src/fault.rs). What users run must not obey such variables.
#
#   scripts/check-programs.sh FOLDER
#
# Looks into the five programs in FOLDER for the names of the fault points and of the variables.
# Exit status: 0 there are none; 1 some were found, and are named, or a program is missing.
set -euo pipefail
if [[ $# != 1 || $1 == -h || $1 == --help ]]; then sed -n '2,/^set /s/^# \{0,1\}//p' "$0"; exit; fi

folder=$1
fail() { echo "check-programs: $*" >&2; exit 1; }
code=$(dirname "${BASH_SOURCE[0]}")/../crates
# A call may be broken into lines. A name without a dot is an ordinary word, which proves nothing.
points=$(find "$code"/*/src -name '*.rs' -exec cat {} + | tr '\n' ' ' | grep -oE 'fault::[a-z]+\( *"[a-z_]+\.[a-z_]+"' | cut -d '"' -f 2) ||
    fail "no fault points are found in $code"
variables=$(grep -ohE '"FAULT_[A-Z]+"' "$code"/layout/src/fault.rs | tr -d '"') || fail "no variables are found in $code/layout/src/fault.rs"

# Texts lie side by side in a program: the end of one sentence and the beginning of the next can look like a name.
names=$(printf '%s\n' "$variables" "$points" | sort -u | sed 's/\./\\./' | paste -s -d '|')
status=0
for program in tcp-ingest compact aggregate load-warehouse housekeep; do
    [[ -f $folder/$program ]] || fail "there is no $folder/$program: build it with scripts/build.sh"
    found=$(LC_ALL=C grep -aoP "(?<! )($names)(?! )" "$folder/$program" | sort -u | tr '\n' ' ') || continue
    echo "check-programs: $folder/$program was built for tests, with these fault points: ${found% }; build it with scripts/build.sh" >&2
    status=1
done
exit $status
