#!/usr/bin/env bash
# Measures the programs beside what they can be compared with, and writes the table into docs/benchmarks.md.
#
#   scripts/bench.sh [--print]
#
# Ingest: until every byte is in a file, beside a bare recv and write of the same bytes by one thread (and beside that a
# bare peek, write and consume: the price of losing nothing), and beside the same service in Python (asyncio, pydantic, a
# buffered writer). compact: beside DuckDB's own COPY of the same file. aggregate: beside one GROUP BY of DuckDB. Idle runs
# and loading: a year of hours, 8,760 of them. What is compared runs in turns, and medians count: the ratios say something
# about other machines too, the absolute figures do not. The table stands in docs/benchmarks.md between the lines
# <!-- bench --> and <!-- /bench -->; with --print it is only printed. Takes a quarter of an hour after the build.
#
# Settings: BENCH_ROUNDS (5), BENCH_MB of messages for each run of ingest (400; a twentieth of it for Python),
# BENCH_COMPACT_MB for one of compact (3000), BENCH_YEAR_ROWS for aggregate's year of hours (31536000, one a second), TMPDIR
# for the files, which need three times as much.
set -euo pipefail
if [[ ${1:-} == -h || ${1:-} == --help ]]; then sed -n '2,/^set /s/^# \{0,1\}//p' "$0"; exit; fi

cd "$(dirname "${BASH_SOURCE[0]}")/.."
rounds=${BENCH_ROUNDS:-5} megabytes=${BENCH_MB:-400} hour_megabytes=${BENCH_COMPACT_MB:-3000} year_rows=${BENCH_YEAR_ROWS:-31536000}
export LC_ALL=C TZ=UTC
unset RUST_LOG DATA_DIR
work=$(mktemp -d "${TMPDIR:-/tmp}/bench.XXXXXX")
server=
stop() {
    [[ -n $server ]] || return 0
    kill -TERM "$server" 2>/dev/null || true
    wait "$server" 2>/dev/null || true
    server=
}
trap 'stop; rm -rf "$work"' EXIT
say() { echo "bench: $*" >&2; }

# The tools of tests/bench too. Not the package of the tests, with which the programs would hold fault points.
programs=$(scripts/build.sh --workspace --exclude pipeline-tests)
PATH=$programs:$PATH
python=
if scripts/need.sh python3=python3-venv && python3 -m venv "$work/venv" >&2 &&
    "$work/venv/bin/pip" install --quiet --disable-pip-version-check pydantic==2.14.3 >&2; then
    python=$work/venv/bin/python
else
    say "no Python with venv and pydantic here (apt-get install python3-venv): the comparison with it is skipped"
fi

median() { sort -g | awk '{ v[NR] = $1 } END { if (NR) print (v[int((NR + 1) / 2)] + v[int(NR / 2) + 1]) / 2 }'; }
calc() { awk "BEGIN { printf \"$1\", $2 }"; }
# Runs a command and prints its seconds.
seconds() {
    local start=${EPOCHREALTIME/./} end
    "$@" >&2
    end=${EPOCHREALTIME/./}
    calc %.6f "($end - $start) / 1e6"
}
# Waits until a file holds an address, and prints it.
address() {
    for _ in {1..200}; do
        if grep -oE -m 1 '127\.0\.0\.1:[0-9]+' "$1"; then return; fi
        sleep 0.05
    done
    say "$2 did not start: $(<"$1")"
    exit 1
}
# One run: starts a server ($1) over a fresh folder, sends, stops it, and notes bytes and messages per second.
ingest() {
    local kind=$1 connections=$2 size=$megabytes folder=$work/ingest result
    rm -rf "$folder"
    mkdir -p "$folder"
    : >"$work/log"
    case $kind in
        bare) sink "$folder/out" >"$work/log" & ;;
        peek) sink "$folder/out" --peek >"$work/log" & ;;
        tcp-ingest) tcp-ingest -v --data-dir "$folder" --listen telemetry=127.0.0.1:0 2>"$work/log" & ;;
        python)
            size=$((megabytes / 20))
            "$python" tests/bench/asyncio_server.py "$folder" >"$work/log" &
            ;;
    esac
    server=$!
    result=$(loadgen "$(address "$work/log" "$kind")" "$connections" "$size" "$folder")
    stop
    awk '{ print $2 / $1 / 1e6 }' <<<"$result" >>"$work/$kind.$connections.mb"
    awk '{ print $3 / $1 }' <<<"$result" >>"$work/$kind.$connections.lines"
}
table=$work/table
{
    echo "| | this | compared with | ratio |"
    echo "|---|---|---|---|"
} >"$table"
row() { printf '| %s | %s | %s | %s |\n' "$@" >>"$table"; }

for connections in 1 4 64; do
    for ((round = 0; round < rounds; round++)); do
        say "ingest, $connections connections, round $((round + 1)) of $rounds"
        ingest bare $connections
        ingest peek $connections
        ingest tcp-ingest $connections
        [[ -z $python ]] || ingest python $connections
    done
    mb=$(median <"$work/tcp-ingest.$connections.mb") lines=$(median <"$work/tcp-ingest.$connections.lines")
    this=$(printf '%.0f MB/s, %.2f million messages/s' "$mb" "$(calc %.2f "$lines / 1e6")")
    bare=$(median <"$work/bare.$connections.mb")
    name="ingest, $connections connections"
    [[ $connections != 1 ]] || name="ingest, 1 connection"
    row "$name" "$this" "$(printf '%.0f MB/s: bare recv and write' "$bare")" "$(calc %.2f "$mb / $bare")"
    peek=$(median <"$work/peek.$connections.mb")
    row "bare peek, write and consume instead, ${name#ingest, }" "$(printf '%.0f MB/s' "$peek")" "$(printf '%.0f MB/s: bare recv and write' "$bare")" "$(calc %.2f "$peek / $bare")"
    if [[ -n $python ]]; then
        other=$(median <"$work/python.$connections.lines")
        row "$name" "$this" "$(printf '%.3f million messages/s: Python, asyncio and pydantic' "$(calc %.4f "$other / 1e6")")" "$(calc %.1f "$lines / $other")"
    fi
done

input=$work/input.ndjson
loadgen - 4 "$hour_megabytes" "$input" >/dev/null
tcp-ingest --data-dir "$work/sealed" --stdin telemetry <"$input"
for ((round = 0; round < rounds; round++)); do
    say "compact, round $((round + 1)) of $rounds"
    copy "$input" "$work/copy.parquet" >>"$work/copy.seconds"
    rm -rf "$work/compact"
    # Links: compact takes away names, and leaves what they lead to as it is.
    cp -rl "$work/sealed" "$work/compact"
    sync
    seconds compact --data-dir "$work/compact" >>"$work/compact.seconds"
    echo >>"$work/compact.seconds"
done
this=$(median <"$work/compact.seconds") other=$(median <"$work/copy.seconds")
size=$(stat -c %s "$input")
row "compact, $hour_megabytes MB in one hour (start, sync and clearing up included)" "$(calc "%.0f MB/s" "$size / 1e6 / $this")" \
    "$(calc "%.0f MB/s" "$size / 1e6 / $other"): DuckDB's COPY of read_json" "$(calc %.2f "$other / $this")"
output=$(find "$work/compact/parquet" -name '*.parquet' -printf '%s\n' | awk '{ n += $1 } END { print n }')
other=$(stat -c %s "$work/copy.parquet")
row "size of its Parquet file" "$(calc "%.2f MB" "$output / 1e6")" "$(calc "%.2f MB" "$other / 1e6"): DuckDB's COPY" "$(calc %.2f "$output / $other")"
rm -rf "$work/compact" "$work/sealed" "$work/ingest" "$input"

# A year of hours in a fresh folder $3, each hour in a segment of its own, with $2 messages of $1 sensors in turns.
make_year() {
    awk -v sensors="$1" -v messages="$2" 'BEGIN { for (hour = 0; hour < 8760; hour++) for (i = 1; i <= messages; i++)
        printf "{\"timestamp\": %d, \"sensor_id\": %d, \"measurement\": {\"kind\": \"Temperature\", \"value\": %.1f, \"unit\": \"Celsius\"}}\n",
            1735689600 + hour * 3600 + i % 3600, i % sensors + 1, (hour * 7 + i * 13) % 400 / 10 }' |
        tcp-ingest --data-dir "$3" --stdin telemetry
}
say "a year of hours, 2 sensors"
make_year 2 2 "$work/sealed"
for ((round = 0; round < rounds; round++)); do
    rm -rf "$work/compact"
    cp -rl "$work/sealed" "$work/compact"
    sync
    { seconds compact --data-dir "$work/compact"; echo; } >>"$work/compact.year"
done
row "compact, 8,760 hours with 2 messages each" "$(calc "%.1f s" "$(median <"$work/compact.year")")" "" ""
rm -rf "$work/compact" "$work/sealed"

say "a year of hours, 20 sensors"
year=$work/year
make_year 20 20 "$year"
compact --data-dir "$year"
aggregate --data-dir "$year" temperatures --table sensors=tests/data/sensors.csv
for ((round = 0; round < rounds; round++)); do
    rm -f "$year"/warehouse.duckdb*
    seconds load-warehouse --data-dir "$year" temperatures >>"$work/load.seconds"
    echo >>"$work/load.seconds"
done
row "load-warehouse, 175,200 rows in 8,760 hours, embedded warehouse" "$(calc "%.0f rows/s" "175200 / $(median <"$work/load.seconds")")" "" ""
for ((round = 0; round < rounds; round++)); do
    { seconds compact --data-dir "$year"; echo; } >>"$work/idle.compact"
    { seconds aggregate --data-dir "$year" temperatures --table sensors=tests/data/sensors.csv; echo; } >>"$work/idle.aggregate"
    { seconds load-warehouse --data-dir "$year" temperatures; echo; } >>"$work/idle.load-warehouse"
    { seconds housekeep clean --data-dir "$year"; echo; } >>"$work/idle.housekeep"
done
for program in compact aggregate load-warehouse housekeep; do
    row "$program, nothing to do over 8,760 hours" "$(calc "%.3f s" "$(median <"$work/idle.$program")")" "" ""
done

# One late message makes one hour anew, each time another.
say "a year of hours, $year_rows messages of 60 sensors"
rm -rf "$year"
make_year 60 $(((year_rows + 8759) / 8760)) "$year"
compact --data-dir "$year"
for ((round = 0; round < rounds; round++)); do
    say "aggregate, round $((round + 1)) of $rounds"
    # Not removed: for some minutes ext4 searches long for inodes that were not in use just before.
    [[ ! -d $year/parquet/temperatures ]] || mv "$year/parquet/temperatures" "$work/made.$round"
    sync
    { seconds aggregate --data-dir "$year" temperatures; echo; } >>"$work/year.aggregate"
    { seconds group "$year"; echo; } >>"$work/year.group"
    { seconds aggregate --data-dir "$year" temperatures; echo; } >>"$work/year.idle"
    echo "{\"timestamp\": $((1740000000 + round * 3600)), \"sensor_id\": 1, \"measurement\": {\"kind\": \"Temperature\", \"value\": 1, \"unit\": \"Celsius\"}}" |
        tcp-ingest --data-dir "$year" --stdin telemetry
    compact --data-dir "$year"
    { seconds aggregate --data-dir "$year" temperatures; echo; } >>"$work/year.late"
done
this=$(median <"$work/year.aggregate") other=$(median <"$work/year.group")
row "aggregate, 8,760 hours with $(calc "%.1f" "$year_rows / 1e6") million rows in all (8,760 synced files included)" "$(calc "%.1f s" "$this")" \
    "$(calc "%.1f s" "$other"): one GROUP BY of DuckDB, whose rows go nowhere" "$(calc %.2f "$other / $this")"
row "aggregate again, nothing changed" "$(calc "%.3f s" "$(median <"$work/year.idle")")" "" ""
row "aggregate again, one late row" "$(calc "%.3f s" "$(median <"$work/year.late")")" "" ""

cat "$table"
if [[ ${1:-} != --print ]]; then
    awk -v table="$table" '
        /^<!-- bench -->$/ { print; print ""; while ((getline line < table) > 0) print line; print ""; skip = 1; next }
        /^<!-- \/bench -->$/ { skip = 0 }
        !skip' docs/benchmarks.md >"$work/page"
    cat "$work/page" >docs/benchmarks.md
    say "the table is in docs/benchmarks.md"
fi
