"""Reads a tree again and again while it changes, as docs/reading-the-data.md tells other programs to, and checks all that it reads.

    readers.py READER DATA_DIR COPIES STOP

READER is duckdb, pyarrow or polars. Each batch of telemetry has COPIES rows with its number as sensor_id, the first of them
with a text for a value, and an hour gets batches 0, 1, 2, ...: so whatever version of an hour is read, its sensor ids are
0 to n, each COPIES times. Makes the file STOP.READER when it has seen the tree change a few times. Reads until the file
STOP is there, then once more for the types, and prints what was read as JSON. A file that is gone between listing and
opening is no error: the tree is listed again.
"""

import collections
import datetime
import json
import os
import shutil
import sys
import tempfile

READER, DATA_DIR, COPIES, STOP = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
DAY = os.path.join(DATA_DIR, "parquet/telemetry/2025/09/02")


def hours():
    """The files of the day by name: 24 at most, and no glob over a tree of years."""
    names = (os.path.join(DAY, f"{hour:02}.parquet") for hour in range(24))
    return [name for name in names if os.path.exists(name)]


# Each reader returns (hour, sensor_id, rows, rows with a number, rows with a text) for each hour and sensor.


def read_with_duckdb():
    import duckdb

    # DuckDB opens a file once for its footer and again for its rows. A link keeps both the same.
    links = tempfile.mkdtemp(prefix=".links-", dir=DATA_DIR)
    try:
        for name in hours():
            os.link(name, os.path.join(links, os.path.basename(name)))
        return duckdb.execute(
            "SELECT hour(timestamp), sensor_id, count(*), count(measurement_value), count(measurement_text) "
            "FROM read_parquet(?, hive_partitioning = false) GROUP BY ALL",
            [os.path.join(links, "[0-9][0-9].parquet")],
        ).fetchall()
    finally:
        shutil.rmtree(links)


def read_with_pyarrow():
    import pandas

    # pandas reads with pyarrow, which opens a file once for its rows.
    rows = pandas.read_parquet(hours(), engine="pyarrow", partitioning=None)
    groups = rows.groupby([rows["timestamp"].dt.hour, rows["sensor_id"]])
    return [(*key, len(g), g["measurement_value"].count(), g["measurement_text"].count()) for key, g in groups]


def read_with_polars():
    import polars

    # Given a path, polars opens it once for the footer and again for the rows. Given an open file, it reads that.
    frames = []
    for name in hours():
        with open(name, "rb") as file:
            frames.append(polars.read_parquet(file))
    rows = polars.concat(frames)
    groups = rows.group_by(rows["timestamp"].dt.hour(), "sensor_id").agg(
        polars.len(), value=polars.col("measurement_value").count(), text=polars.col("measurement_text").count()
    )
    return groups.rows()


def check(groups):
    """Fails unless every hour is one of its versions; returns the number of batches by hour."""
    batches = collections.defaultdict(list)
    for hour, sensor, rows, values, texts in groups:
        assert (rows, values, texts) == (COPIES, COPIES - 1, 1), (hour, sensor, rows, values, texts)
        batches[hour].append(sensor)
    for hour, sensors in batches.items():
        assert sorted(sensors) == list(range(len(sensors))), (hour, sorted(sensors))
    return {int(hour): len(sensors) for hour, sensors in batches.items()}


def schema_of(name):
    """The columns' types and the commit record in the footer, as the reader has them."""
    if READER == "duckdb":
        import duckdb

        types = duckdb.execute("SELECT column_type FROM (DESCRIBE FROM read_parquet(?))", [name]).fetchall()
        # Without a zone, and not adjusted to UTC by whoever reads it: it is UTC.
        zone = duckdb.execute("SELECT logical_type FROM parquet_schema(?) WHERE name = 'timestamp'", [name]).fetchone()
        assert "isAdjustedToUTC=0" in zone[0], zone
        sql = "SELECT decode(value) FROM parquet_kv_metadata(?) WHERE decode(key) = 'commit'"
        return [kind for (kind,) in types], duckdb.execute(sql, [name]).fetchone()[0]
    if READER == "pyarrow":
        import pyarrow.parquet

        schema = pyarrow.parquet.read_schema(name)
        return [str(field.type) for field in schema], schema.metadata[b"commit"].decode()
    import polars

    return [str(kind) for kind in polars.read_parquet_schema(name).values()], polars.read_parquet_metadata(name)["commit"]


def first_time(name):
    if READER == "duckdb":
        import duckdb

        return duckdb.execute("SELECT min(timestamp) FROM read_parquet(?)", [name]).fetchone()[0]
    if READER == "pyarrow":
        import pyarrow.compute
        import pyarrow.parquet

        return pyarrow.compute.min(pyarrow.parquet.read_table(name)["timestamp"]).as_py()
    import polars

    return polars.read_parquet(name)["timestamp"].min()


def check_schema(name, batches):
    types, commit = schema_of(name)
    assert types == {
        "duckdb": ["TIMESTAMP", "BIGINT", "VARCHAR", "DOUBLE", "VARCHAR", "VARCHAR"],
        "pyarrow": ["timestamp[us]", "int64", "string", "double", "string", "string"],
        "polars": ["Datetime(time_unit='us', time_zone=None)", "Int64", "String", "Float64", "String", "String"],
    }[READER], types
    segments = json.loads(commit)["lineage"]["segments"]
    assert sum(segment["lines"] - segment["damaged"] for segment in segments) == batches * COPIES, commit
    hour = int(os.path.basename(name)[:2])
    assert first_time(name) == datetime.datetime(2025, 9, 2, hour), first_time(name)


def main():
    read = globals()[f"read_with_{READER}"]
    readings, again, states, batches = 0, 0, set(), {}
    last = False
    while not last:
        last = os.path.exists(STOP)
        try:
            batches = check(read())
        except FileNotFoundError:
            again, last = again + 1, False
            continue
        readings += 1
        states.add(json.dumps(batches, sort_keys=True))
        if readings == 1:
            print("reading", flush=True)
        if readings > 3 and len(states) > 2:
            open(f"{STOP}.{READER}", "w").close()
    for name in hours():
        check_schema(name, batches[int(os.path.basename(name)[:2])])
    print(json.dumps({"readings": readings, "again": again, "states": len(states), "batches": batches}), flush=True)


main()
