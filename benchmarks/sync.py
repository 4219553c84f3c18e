"""How quick the lake is brought up to date from `simple` on PostgreSQL, beside a copy made by hand.

By hand: the rows copied out by PostgreSQL's COPY TO, and written as the same Parquet, a file a day, by DuckDB. Then the
lake's own sync of the same rows, each in a process of its own and in turns; and how long a new event takes to be seen.
``--events N`` takes another number.
"""

import resource
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import Any

from benchmarks.admin import _postgresql
from benchmarks.analysis import _configure, _database, _fill, _in_child
from benchmarks.report import Report, middle

__all__ = ["run"]

EVENTS, ROUNDS = 1_000_000, 3
NEW, SEEN = 20, 6.0


def run(options: Any) -> list[Report]:
    """Measure; `options.events` is how many events there are."""
    events = getattr(options, "events", None) or EVENTS
    report = Report(
        "Syncing the lake from simple on PostgreSQL",
        f"{events:,} events, median of {ROUNDS} rounds, a process each.",
        ("way", "events/s", "memory, MB"),
    )
    with (
        _postgresql() as url,
        tempfile.TemporaryDirectory(prefix="littlebro-bench-") as name,
    ):
        if url is None:
            report.bounds.append((False, "no PostgreSQL to be had"))
            return [report]
        with _database(url, name) as database:
            _in_child(_fill, Path(name), database, events)
            rounds = [_round(Path(name), database, number) for number in range(ROUNDS)]
            seen = _in_child(_notice, Path(name), database)
    for way in ("by hand", "littlebro"):
        seconds = middle([each[way]["seconds"] for each in rounds])
        report.row(way, events / seconds, max(each[way]["memory"] for each in rounds))
    share = middle([each["by hand"]["seconds"] / each["littlebro"]["seconds"] for each in rounds])
    report.at_least("speed of the sync, times the copy by hand", share, 0.5)
    report.at_most("memory of the sync", max(each["littlebro"]["memory"] for each in rounds), 1000, " MB")
    report.at_most("a new event in the answer, slowest", max(seen["seconds"]), SEEN, " s")
    return [report]


def _round(folder: Path, database: dict[str, Any], number: int) -> dict[str, Any]:
    place = folder / f"round-{number}"
    place.mkdir()
    return {
        "by hand": _in_child(_by_hand, place, database),
        "littlebro": _in_child(_sync, place, database),
    }


def _by_hand(folder: Path, database: dict[str, Any]) -> dict[str, Any]:
    """Copy all rows out and write them as the same Parquet, the whole of it in one go."""
    _configure(folder, database)
    import duckdb
    from django.db import connection

    rows, out = folder / "rows.csv", folder / "parquet"
    out.mkdir()
    start = perf_counter()
    with connection.cursor() as cursor, rows.open("wb") as file:
        columns = (
            "event_id, collection, name, \"timestamp\" AT TIME ZONE 'UTC', received_at AT TIME ZONE 'UTC', user_id,"
            " anonymous_id, params, context"
        )
        with cursor.connection.cursor().copy(
            f"COPY (SELECT {columns} FROM littlebro_storedevent) TO STDOUT (FORMAT csv)"
        ) as copy:
            for block in copy:
                file.write(block)
    duck = duckdb.connect(config={"memory_limit": "512MB", "temp_directory": str(folder / "spill")})
    duck.execute(
        f"CREATE TABLE staged AS SELECT id, collection, name, epoch_us(t) AS ts, epoch_us(r) AS received, user_id,"
        f" anonymous_id, md5_number_lower(coalesce('u' || user_id, 'a' || anonymous_id)) AS who, params, context"
        f" FROM read_csv('{rows}', auto_detect = false, header = false, delim = ',', quote = '\"', escape = '\"',"
        " nullstr = '', columns = {'id': 'VARCHAR', 'collection': 'VARCHAR', 'name': 'VARCHAR', 't': 'TIMESTAMP',"
        " 'r': 'TIMESTAMP', 'user_id': 'VARCHAR', 'anonymous_id': 'VARCHAR', 'params': 'VARCHAR',"
        " 'context': 'VARCHAR'})"
    )
    days = duck.execute("SELECT DISTINCT ts // 86400000000 FROM staged").fetchall()
    for (day,) in days:
        duck.execute(
            f"COPY (FROM staged WHERE ts // 86400000000 = {day} ORDER BY name, ts, id)"
            f" TO '{out}/{day}.parquet' (FORMAT parquet, COMPRESSION zstd)"
        )
    seconds = perf_counter() - start
    rows.unlink()
    return {"seconds": seconds, "memory": _memory()}


def _sync(folder: Path, database: dict[str, Any]) -> dict[str, Any]:
    _configure(folder, database)
    from littlebro.analysis.lake import sync

    start = perf_counter()
    sync("default")
    return {"seconds": perf_counter() - start, "memory": _memory()}


def _notice(folder: Path, database: dict[str, Any]) -> dict[str, Any]:
    """Store events one after the other, and ask until each is seen."""
    _configure(folder / f"round-{ROUNDS - 1}", database)
    from littlebro import tracker
    from littlebro.analysis.reader import open_reader

    seconds = []
    for number in range(NEW):
        name = f"noticed-{number}"
        start = perf_counter()
        tracker.track_event(name, {}, timestamp=datetime.now(UTC))
        while True:
            with open_reader() as reader:
                if reader.rows("SELECT 1 FROM events WHERE name = $name", {"name": name}):
                    break
        seconds.append(perf_counter() - start)
    return {"seconds": seconds}


def _memory() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
