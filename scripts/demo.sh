#!/usr/bin/env bash
# The whole pipeline on a real series: a year of hourly temperatures of two cities, through TCP to a warehouse table.
#
#   scripts/demo.sh [FOLDER]
#
# Builds the programs, starts tcp-ingest on free loopback ports, sends the series of both cities at once over two TCP
# connections, with broken lines mixed in, stops it with SIGTERM, and runs compact, aggregate and load-warehouse. Then
# the table is compared, row for row, with what awk makes of the same series, and the three programs run again to show
# that there is nothing left to do. Everything is left in FOLDER (demo-data) for a look by hand; nothing stays running.
# Exits 1 if anything is not as it should be. Needs Rust; a C compiler is installed if it is missing (see build.sh).
set -euo pipefail
if [[ ${1:-} == -h || ${1:-} == --help ]]; then sed -n '2,/^set /s/^# \{0,1\}//p' "$0"; exit; fi

cd "$(dirname "${BASH_SOURCE[0]}")/.." && root=$PWD && cd "$OLDPWD"
folder=${1:-$root/demo-data}
export LC_ALL=C TZ=UTC
unset RUST_LOG

title() { printf '\n== %s\n' "$*"; }
exec 3>&2
fail() { echo "demo: $*" >&3; exit 1; }
# Shows a command, runs it, and says how long it took.
run() {
    printf '$ %s\n' "$*"
    local start=${EPOCHREALTIME/./}
    "$@" || fail "$1 ended with status $?"
    local end=${EPOCHREALTIME/./}
    printf '  (%d.%03d s)\n' $(((end - start) / 1000000)) $(((end - start) / 1000 % 1000))
}

# A folder is emptied only if an earlier demo made it.
if [[ -e $folder && ! -e $folder/.demo && -n $(ls -A "$folder") ]]; then
    fail "$folder is not empty and not from an earlier demo: name another folder"
fi

title "Build"
programs=$("$root/scripts/build.sh")
PATH=$programs:$PATH
rm -rf "$folder"
mkdir -p "$folder"
: >"$folder/.demo"
folder=$(realpath "$folder")
export DATA_DIR=$folder/data
echo "the programs are in $programs, the data will be in $DATA_DIR"

title "Start tcp-ingest"
# A live stream has a few hours open at a time; a year that is replayed in seconds has 8,759, and syncing many of them
# together is faster. How many can be open depends on the system's limit: each needs up to three files, connections need one.
files=$(ulimit -Hn)
[[ $files != unlimited ]] || files=60000
open=$(((files - 200) / 3))
receive=(tcp-ingest -v --listen telemetry=127.0.0.1:0 --listen measurement=127.0.0.1:0 --max-connections 100
    --max-open $((open < 20000 ? open : 20000)) --drain-timeout 10min)
printf '$ %s &\n' "${receive[*]}"
"${receive[@]}" 2>"$folder/ingest.log" &
ingest=$!
trap 'kill "$ingest" 2>/dev/null || true' EXIT
port() { sed -n "s/.*listening for $1 on [^ ]*:\([0-9]*\)\$/\1/p" "$folder/ingest.log"; }
for _ in {1..100}; do
    [[ -z $(port telemetry) || -z $(port measurement) ]] || break
    kill -0 "$ingest" 2>/dev/null || { cat "$folder/ingest.log" >&2; fail "tcp-ingest did not start"; }
    sleep 0.1
done
telemetry=$(port telemetry)
[[ -n $telemetry ]] || fail "tcp-ingest does not say where it listens, see $folder/ingest.log"
cat "$folder/ingest.log"

title "Send the series of both cities at once, with nine kinds of broken lines among them"
# Every broken line comes before a good one, which must not suffer; the last is cut off by the end of the connection.
damage() {
    awk '
        NR == 1000 { print "{\"timestamp\": 1265900400, \"sensor_id\":" }
        NR == 2000 { print "{\"timestamp\": 1269500400, \"sensor_id\": \"one\", \"measurement\": {\"kind\": \"Temperature\", \"value\": 50, \"unit\": \"Fahrenheit\"}}" }
        NR == 3000 { print "{\"timestamp\": 1273100400, \"sensor_id\": 1, \"measurement\": {\"kind\": \"Temperature\", \"value\": 50, \"unit\": \"Kelvin\"}}" }
        NR == 4000 { print "{\"timestamp\": 1276700400, \"measurement\": {\"kind\": \"Temperature\", \"value\": 50, \"unit\": \"Fahrenheit\"}}" }
        NR == 5000 { print "{\"timestamp\": 1280300400, \"sensor_id\": 1, \"sensor_id\": 2, \"measurement\": {\"kind\": \"Temperature\", \"value\": 50, \"unit\": \"Fahrenheit\"}}" }
        NR == 6000 { print "{\"timestamp\": 1283900400, \"sensor_id\": 1, \"note\": \"caf\351\", \"measurement\": {\"kind\": \"Temperature\", \"value\": 50, \"unit\": \"Fahrenheit\"}}" }
        NR == 7000 { print "{\"timestamp\": 32503680000, \"sensor_id\": 1, \"measurement\": {\"kind\": \"Temperature\", \"value\": 50, \"unit\": \"Fahrenheit\"}}" }
        NR == 8000 { printf "{\"timestamp\": 1291100400, \"note\": \""; for (i = 0; i < 70000; i++) printf "x"; print "\"}" }
        { print }
        END { printf "{\"timestamp\": 1293836400, \"sensor_id\": 1, \"mea" }'
}
rejects='duplicate_key 2
missing_field 2
not_json 2
not_utf8 2
time_out_of_bounds 2
too_long 2
unfinished 2
unknown_value 2
wrong_type 2'
send() { zcat "$root/tests/data/$1.ndjson.gz" | damage >"/dev/tcp/127.0.0.1/$telemetry"; }
send seattle &
first=$!
send san_francisco &
second=$!
wait "$first" || fail "the series of Seattle could not be sent"
wait "$second" || fail "the series of San Francisco could not be sent"
echo "sent; now SIGTERM: what the kernel still holds is taken, written, synced and sealed"
kill -TERM "$ingest"
status=0
wait "$ingest" || status=$?
[[ $status == 0 ]] || { cat "$folder/ingest.log" >&2; fail "tcp-ingest ended with status $status"; }
tail -n 1 "$folder/ingest.log"

! grep -E ': (warn|error): ' "$folder/ingest.log" >&2 || fail "tcp-ingest complains"

title "Compact, aggregate, load"
run compact -v 2>"$folder/compact.log"
tail -n 1 "$folder/compact.log"
run aggregate temperatures --table "sensors=$root/tests/data/sensors.csv"
run load-warehouse temperatures

title "The warehouse table's head"
run load-warehouse temperatures --head 6 --format table

title "The quarantine: every broken line, with the reason and the original bytes"
find "$DATA_DIR/quarantine" -type f -exec cat {} + >"$folder/quarantine.ndjson"
sed 's/.*"reason":"\([a-z0-9_]*\)".*/\1/' "$folder/quarantine.ndjson" | sort | uniq -c | awk '{ print $2, $1 }' >"$folder/rejects"
cut -c 1-180 "$folder/quarantine.ndjson" | sort -u -t, -k3,3
[[ $(<"$folder/rejects") == "$rejects" ]] || fail "the quarantine should hold '$rejects' but holds '$(<"$folder/rejects")'"

title "The state of the data directory"
run housekeep status

title "Check: the table against the source series, computed by awk"
# Per sensor and hour: mean, minimum and maximum in Celsius, and the number of values.
zcat "$root"/tests/data/{seattle,san_francisco}.ndjson.gz | awk -F '[:,} ]+' '
    FNR == NR { split($0, field, ","); name[field[1]] = field[2]; place[field[1]] = field[3]; next }
    {
        key = $4 "," strftime("%Y-%m-%d %H:00:00", $2)
        celsius = ($9 - 32) * 5 / 9
        sum[key] += celsius
        if (!(key in count) || celsius < min[key]) min[key] = celsius
        if (!(key in count) || celsius > max[key]) max[key] = celsius
        count[key]++
    }
    END {
        for (key in count) {
            split(key, part, ",")
            printf "%s,%s,%s,%.6f,%.6f,%.6f,%d\n", key, name[part[1]], place[part[1]], sum[key] / count[key], min[key], max[key], count[key]
        }
    }' "$root/tests/data/sensors.csv" - | sort >"$folder/expected.csv"
load-warehouse temperatures --head 1000000 --format csv >"$folder/warehouse.csv"
awk -F, '
    NR == 1 { for (i = 1; i <= NF; i++) column[$i] = i; next }
    {
        start = substr($column["start_time"], 1, 19)
        sub("T", " ", start)
        printf "%s,%s,%s,%s,%.6f,%.6f,%.6f,%d\n", $column["sensor_id"], start, $column["sensor_name"], $column["sensor_location"],
            $column["avg_temp"], $column["min_temp"], $column["max_temp"], $column["samples"]
    }' "$folder/warehouse.csv" | sort >"$folder/actual.csv"
rows=$(wc -l <"$folder/expected.csv")
[[ $rows == 17518 ]] || fail "the series should have 17518 sensors and hours, not $rows"
diff "$folder/expected.csv" "$folder/actual.csv" >"$folder/difference" ||
    fail "the table differs from the series in $(grep -c '^[<>]' "$folder/difference") lines, see $folder/difference"
summary() { awk -F, '{ n++; sum += $5; samples += $8 } END { printf "%d rows, %d samples, sum of the means %.4f\n", n, samples, sum }' "$1"; }
echo "source series: $(summary "$folder/expected.csv")"
echo "warehouse:     $(summary "$folder/actual.csv")"
echo "every row agrees, to six decimals of a degree"

title "Once more: there is nothing left to do"
state() { find "$DATA_DIR" -type f ! -name 'warehouse.duckdb*' -printf '%P %s %T@ %i\n' | sort; }
state >"$folder/before"
run compact
run aggregate temperatures --table "sensors=$root/tests/data/sensors.csv"
run load-warehouse temperatures
state >"$folder/after"
cmp -s "$folder/before" "$folder/after" || fail "the second run changed files: diff $folder/before $folder/after"
load-warehouse temperatures --head 1000000 --format csv | cmp -s - "$folder/warehouse.csv" || fail "the second run changed the table"
echo "no file and no row has changed"

title "Done"
echo "All is as it should be. For a look by hand: DATA_DIR=$DATA_DIR"
