"""The questions of the reading side as SQL on the JSONB rows that `simple` keeps in PostgreSQL.

Each says what its report says over `benchmarks.history`, in the way that a careful hand would write it: people
through their links, window functions instead of joins of the log with itself.
"""

from typing import Final

__all__ = ["QUESTIONS"]

_LINKS: Final = """links AS (
  SELECT DISTINCT ON (anonymous_id) anonymous_id, user_id FROM littlebro_storedevent
  WHERE anonymous_id IS NOT NULL AND user_id IS NOT NULL ORDER BY anonymous_id, timestamp, event_id
)"""
_PEOPLE: Final = f"""{_LINKS}, people AS (
  SELECT e.*, coalesce('u' || e.user_id, 'u' || l.user_id, 'a' || e.anonymous_id) AS person
  FROM littlebro_storedevent e LEFT JOIN links l ON e.user_id IS NULL AND l.anonymous_id = e.anonymous_id
)"""
_DAY: Final = "date_trunc('day', timestamp AT TIME ZONE 'UTC')"
_STEPS: Final = "ARRAY['product-viewed', 'basket-filled', 'order-paid']"

QUESTIONS: Final = {
    "events by day and name": f"SELECT {_DAY}, name, count(*) FROM littlebro_storedevent GROUP BY 1, 2",
    "people by day": f"WITH {_PEOPLE} SELECT {_DAY}, count(DISTINCT person) FROM people GROUP BY 1",
    "breakdown by a param, one name": (
        f"WITH {_PEOPLE} SELECT params -> 'plan', count(*), count(DISTINCT person) FROM people"
        " WHERE name = 'product-viewed' GROUP BY 1"
    ),
    "breakdown by a param, all names": (
        f"WITH {_PEOPLE} SELECT params -> 'plan', count(*), count(DISTINCT person) FROM people GROUP BY 1"
    ),
    "funnel of three": f"""WITH {_PEOPLE}, one AS (
          SELECT person, timestamp, event_id, array_position({_STEPS}, name::text) AS step FROM people
          WHERE name = ANY({_STEPS})
        ), two AS (
          SELECT *, max(timestamp) FILTER (WHERE step = 1) OVER w AS start FROM one
          WINDOW w AS (PARTITION BY person ORDER BY timestamp, event_id)
        ), three AS (
          SELECT *, max(start) FILTER (WHERE step = 2 AND timestamp <= start + interval '14 days') OVER w AS second
          FROM two WINDOW w AS (PARTITION BY person ORDER BY timestamp, event_id)
        )
        SELECT count(DISTINCT person) FILTER (WHERE step = 1),
          count(DISTINCT person) FILTER (WHERE step = 2 AND timestamp <= start + interval '14 days'),
          count(DISTINCT person) FILTER (WHERE step = 3 AND timestamp <= second + interval '14 days')
        FROM three""",
    "funnel of three, strict": f"""WITH {_PEOPLE}, ahead AS (
          SELECT person, name, timestamp, lead(name) OVER w AS second, lead(name, 2) OVER w AS third,
            lead(timestamp, 2) OVER w - timestamp AS taken
          FROM people WINDOW w AS (PARTITION BY person ORDER BY timestamp, event_id)
        )
        SELECT count(DISTINCT person), count(DISTINCT person) FILTER (WHERE second = 'basket-filled'),
          count(DISTINCT person) FILTER (
            WHERE second = 'basket-filled' AND third = 'order-paid' AND taken <= interval '14 days')
        FROM ahead WHERE name = 'product-viewed'""",
    "retention by day": f"""WITH {_PEOPLE}, days AS (
          SELECT DISTINCT person, {_DAY} AS day FROM people WHERE person IS NOT NULL
        ), firsts AS (SELECT person, min(day) AS first FROM days GROUP BY 1)
        SELECT first, day - first, count(*) FROM days JOIN firsts USING (person) GROUP BY 1, 2""",
    "paths, five steps": f"""WITH {_PEOPLE}, marked AS (
          SELECT person, name, timestamp, event_id,
            timestamp - lag(timestamp) OVER w > interval '30 minutes' AS cut, lag(name) OVER w AS last
          FROM people WHERE person IS NOT NULL
          WINDOW w AS (PARTITION BY person ORDER BY timestamp, event_id)
        ), kept AS (
          SELECT person, name, timestamp, event_id, coalesce(cut, true) AS first
          FROM marked WHERE coalesce(cut, true) OR name IS DISTINCT FROM last
        ), numbered AS (
          SELECT *, count(*) FILTER (WHERE first) OVER (PARTITION BY person ORDER BY timestamp, event_id) AS session
          FROM kept
        ), steps AS (
          SELECT person, session, name, row_number() OVER w AS step, lead(name) OVER w AS next
          FROM numbered WINDOW w AS (PARTITION BY person, session ORDER BY timestamp, event_id)
        )
        SELECT step, name, next, count(*), count(DISTINCT person) FROM steps WHERE step <= 5 GROUP BY 1, 2, 3""",
    "one person": f"""WITH {_PEOPLE} SELECT name, count(*), min(timestamp), max(timestamp) FROM people
        WHERE person = 'u10' GROUP BY 1""",
}
