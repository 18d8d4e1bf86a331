"""What order, row groups and compression of an hour's Parquet file cost and give: the table in crates/engine/src/parquet.rs.

    python3 tests/bench/parquet_options.py      (needs the package duckdb==1.5.5)

Two hours of telemetry in the order of arrival: 870,000 messages of random values, as scripts/bench.sh sends them, and 900,000
of 500 sensors whose values follow the real series in tests/data. One thread, processor time; the best of five readings.
"""

import gzip
import json
import os
import tempfile
import time

import duckdb

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir, "data")
FILE = os.path.join(tempfile.mkdtemp(), "hour.parquet")
COLUMNS = """'Temperature'::ENUM('Temperature') AS measurement_kind, {value} AS measurement_value,
    NULL::VARCHAR AS measurement_text, 'Celcius'::ENUM('Celcius', 'Celsius', 'Fahrenheit') AS measurement_unit"""
VARIANTS = [
    ("**as it arrives, row groups of 122,880, zstd level 3**", "", {}),
    ("row groups of 30,720", "", {"ROW_GROUP_SIZE": 30720}),
    ("row groups of 491,520", "", {"ROW_GROUP_SIZE": 491520}),
    ("zstd level 1", "", {"COMPRESSION_LEVEL": 1}),
    ("zstd level 9", "", {"COMPRESSION_LEVEL": 9}),
    ("snappy", "", {"COMPRESSION": "snappy"}),
    ("Parquet V2", "", {"PARQUET_VERSION": "V2"}),
    ("no dictionaries", "", {"DICTIONARY_SIZE_LIMIT": 1}),
    ("Bloom filters", "", {"WRITE_BLOOM_FILTER": "true"}),
    ("sorted by sensor and time", "ORDER BY sensor_id, timestamp", {}),
    ("sorted by time and sensor", "ORDER BY timestamp, sensor_id", {}),
]

session = duckdb.connect(config={"threads": 1})
session.execute("SET preserve_insertion_order = false")
lines = map(json.loads, gzip.open(os.path.join(FOLDER, "seattle.ndjson.gz")))
values = [line["measurement"]["value"] for line in lines]
series = [(hour, float(value)) for hour, value in enumerate(values) if isinstance(value, (int, float))]
session.execute("CREATE TABLE series (hour BIGINT, value DOUBLE)")
session.executemany("INSERT INTO series VALUES (?, ?)", series[:501])
session.execute(f"""CREATE TABLE random AS
    SELECT TIMESTAMP '2026-01-15 10:00:00' + INTERVAL (i * 3600 // 870000) SECOND AS timestamp,
        1000 + (hash(i) % 500)::BIGINT AS sensor_id, {COLUMNS.format(value="(hash(i * 7 + 1) % 600) / 10.0::DOUBLE")}
    FROM range(870000) t(i)""")
value = "round(a.value + (b.value - a.value) * k / 1800.0 + ((hash(n * 100000 + k) % 3)::BIGINT - 1) * 0.1, 1)::DOUBLE"
session.execute(f"""CREATE TABLE real AS
    SELECT TIMESTAMP '2026-01-15 10:00:00' + INTERVAL (k * 2) SECOND AS timestamp, 1000 + n AS sensor_id,
        {COLUMNS.format(value=value)}
    FROM range(1800) t(k), range(500) u(n), series a, series b WHERE a.hour = n AND b.hour = n + 1 ORDER BY k, n""")


def seconds(sql, rounds=5):
    """The processor time of a statement."""
    best = float("inf")
    for _ in range(rounds):
        start = time.process_time()
        session.execute(sql).fetchall()
        best = min(best, time.process_time() - start)
    return best


for table in ("random", "real"):
    print(f"//! | {table} | size | writing | one sensor | all sensors |\n//! |---|---|---|---|---|")
    for name, order, options in VARIANTS:
        options = {"FORMAT": "parquet", "COMPRESSION": "zstd", "WRITE_BLOOM_FILTER": "false", **options}
        options = ", ".join(f"{key} {value}" for key, value in options.items())
        writing = seconds(f"COPY (SELECT * FROM {table} {order}) TO '{FILE}' ({options})")
        one = seconds(f"SELECT avg(measurement_value) FROM '{FILE}' WHERE sensor_id = 1234")
        every = seconds(f"SELECT sensor_id, avg(measurement_value) FROM '{FILE}' GROUP BY ALL")
        size = os.path.getsize(FILE) / 1e6
        print(f"//! | {name} | {size:.2f} MB | {writing:.3f} s | {one * 1e3:.1f} ms | {every * 1e3:.1f} ms |")
