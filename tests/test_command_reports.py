"""``manage.py littlebro trend`` and its kin: what they print, for people, for programs and for spreadsheets."""

import csv
import io
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.management import call_command

from littlebro import Event
from tests.analysis_logs import event, fill
from tests.commanding import run

# 2026-03-27 is a Friday; `event` counts days from it.
RANGE = ("--since", "2026-03-27", "--until", "2026-03-29", "--tz", "UTC")
PRO, FREE, EVIL = {"plan": "pro"}, {"plan": "free"}, {"plan": "=cmd()|' /C calc'!A0"}


def log() -> list[Event]:
    """Return three days of a shop: u1 (first as device x) and u2 pay, u3 does not, and one device only looks."""
    return [
        event(0.4, "view", "ax"),
        event(0.5, "view", "u1", anonymous_id="x", params=PRO),
        event(0.51, "basket", "u1", params={"total": 10}),
        event(0.52, "pay", "u1", params={"total": 12.5}),
        event(0.6, "view", "u2", params=PRO),
        event(1.2, "view", "u3", params=FREE),
        event(1.3, "view", "ay", params=EVIL),
        event(1.4, "basket", "u2", params={"total": 3}),
        event(1.5, "pay", "u2", params={"total": 3}),
        event(2.1, "view", "u1", params=PRO),
        event(2.2, "basket", "u3"),
    ]


@pytest.fixture(autouse=True)
def _shop(settings: Any) -> None:
    fill(settings, log())


def answer(*words: str) -> str:
    code, out, err = run(*words)
    assert code == 0, err
    return out


def lines(*words: str) -> list[str]:
    return answer(*words).splitlines()


def rows(*words: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(answer(*words, "--csv"), newline="")))


class TestTrend:
    """``trend``."""

    def test_table(self) -> None:
        """A row a bucket, numbers to the right, the whole range at the end; remarks go to standard error."""
        code, out, err = run("trend", *RANGE, "--measure", "people")
        assert code == 0
        assert out.splitlines() == [
            "day         people",
            "----------  ------",
            "2026-03-27       2",
            "2026-03-28       3",
            "2026-03-29       2",
            "(all)            4",
        ]
        assert "2026-03-27 to 2026-03-29, UTC." in err
        assert "As of " in err

    def test_lines_of_values_beside_those_of_the_range_before(self) -> None:
        """--by, --limit and --compare make columns; a bucket that the range cuts is marked."""
        words = ("trend", "--since", "2026-03-27T12:00", "--until", "2026-03-28", "--tz", "UTC")
        found = lines(
            *words, "--by", "params.plan", "--limit", "1", "--compare", "previous", "--interval", "day"
        )
        assert found[0].split() == [
            "day", "pro", "(other)", "(none)", "before:", "pro", "before:", "(other)", "before:", "(none)",
        ]  # fmt: skip
        assert found[2].split() == ["2026-03-27", "*", "2", "0", "2", "0", "0", "0"]
        assert found[3].split() == ["2026-03-28", "0", "2", "2", "0", "0", "1"]
        assert "* holds a part only." in run(*words, "--interval", "day")[2]

    def test_hours_months_and_numbers(self) -> None:
        """--interval, --measure and --value; hours show the time, months no day."""
        found = lines("trend", *RANGE, "--interval", "month", "--measure", "sum", "--value", "params.total")
        assert found[2:] == ["2026-03 *  28.50", "(all)      28.50"]
        found = lines(
            "trend", "--since", "2026-03-27", "--until", "2026-03-27", "--tz", "UTC", "--name", "pay"
        )
        assert found[14] == "2026-03-27 12:00       1"

    def test_json_is_the_whole_result(self) -> None:
        """--json has buckets and series; moments are ISO 8601."""
        found = json.loads(answer("trend", *RANGE, "--json"))
        assert (found["measure"], found["interval"], found["tz"]) == ("events", "day", "UTC")
        assert found["series"] == [{"key": {"kind": "all", "value": None}, "values": [5, 4, 2], "total": 11}]
        assert found["buckets"][0]["start"] == "2026-03-27T00:00:00Z"

    def test_csv_is_the_table(self) -> None:
        """--csv has a header, moments in ISO 8601 with their offset, and no totals."""
        assert rows("trend", *RANGE[:4], "--tz", "Europe/Berlin")[-1] == [
            "2026-03-29T00:00:00+01:00",
            "2",
            "false",
        ]


class TestBreakdown:
    """``breakdown``."""

    def test_table(self) -> None:
        """The most frequent values first, then none, then everything."""
        assert lines("breakdown", "name", *RANGE) == [
            "name    events  people",
            "------  ------  ------",
            "view         6       4",
            "basket       3       3",
            "pay          2       2",
            "(all)       11       4",
        ]
        found = lines(
            "breakdown", "params.plan", *RANGE, "--measure", "sum", "--value", "params.total", "--limit", "1"
        )
        assert found[-2:] == ["(none)            6       3  28.50", "(all)            11       4  28.50"]

    def test_a_spreadsheet_runs_nothing(self) -> None:
        """In CSV, what begins like a formula gets an apostrophe."""
        assert ["'=cmd()|' /C calc'!A0", "1", "1"] in rows("breakdown", "params.plan", *RANGE)

    def test_a_terminal_obeys_nothing(self, settings: Any) -> None:
        """Control characters and turns of direction are spelt out."""
        fill(settings, [event(params={"plan": "\x1b[31m\u202ered"})])
        assert "\\x1b[31m\\u202ered" in answer("breakdown", "params.plan", *RANGE)

    def test_columns_stand_below_each_other(self, settings: Any) -> None:
        """A letter of Japanese takes two columns of a terminal, an accent by itself none."""
        fill(settings, [event(0.5, name, "u1") for name in ("日本語のイベント", "e\u0301te\u0301", "plain")])
        head, rule, *found = answer("breakdown", "name", *RANGE).splitlines()
        assert rule.startswith("-" * 16 + "  ")
        width = {"日": 8, "e\u0301": -2}
        ends = [
            len(line) + next((more for start, more in width.items() if line.startswith(start)), 0)
            for line in found
        ]
        assert set(ends) == {len(head)}

    def test_a_terminal_without_a_letter_shows_it_escaped(self, settings: Any) -> None:
        """Names are any text, and a report of them no traceback in a locale of another encoding."""
        fill(settings, [event(0.5, "Łódź", "u1")])
        shown = io.BytesIO()
        stream = io.TextIOWrapper(shown, encoding="latin-1")
        call_command("littlebro", "breakdown", "name", *RANGE, stdout=stream, stderr=io.StringIO())
        assert r"\u0141ód\u017a".encode("latin-1") in shown.getvalue()

    def test_filters(self) -> None:
        """--where, --name, --collection and --person narrow down; all must hold."""

        def total(*words: str) -> int:
            found: int = json.loads(answer("breakdown", "name", *RANGE, "--json", *words))["total_events"]
            return found

        assert total("--where", "params.total>=10") == 2
        assert total("--where", "params.total>=10", "--where", "params.total<11") == 1
        assert total("--where", "params.plan=pro", "--name", "view") == 3
        assert total("--where", "params.plan^=p") == 3
        assert total("--where", "params.plan~cmd") == 1
        assert total("--where", "params.plan") == 5
        assert total("--where", "!params.plan") == 6
        assert total("--where", '["in", ["params", "plan"], ["free", "pro"]]') == 4
        assert total("--name", "pay", "--name", "basket") == 5
        assert total("--person", "u:1") == 5, "what device x did before is theirs"
        assert total("--collection", "audit") == 0


class TestFunnel:
    """``funnel``."""

    def test_table(self) -> None:
        """Shares in per cent, times in words."""
        assert lines("funnel", "view", "basket", "pay[params.total>=10]", *RANGE) == [
            "   step              people  from start  from step before  median time  open",
            "-  ----------------  ------  ----------  ----------------  -----------  ----",
            "1  view                   4        100%                 -            -     0",
            "2  basket                 3       75.0%             75.0%      19h 12m     0",
            "3  pay (total ≥ 10)       1       25.0%             33.3%      14m 24s     0",
        ]

    def test_window_order_and_exclusions(self) -> None:
        """--window, --order and --exclude change who gets how far."""

        def people(*words: str) -> list[int]:
            found = json.loads(answer("funnel", "view", "basket", "pay", *RANGE, "--json", *words))
            return [step["people"] for step in found["steps"]]

        assert people() == [4, 3, 2]
        assert people("--window", "1h") == [4, 1, 1]
        assert people("--order", "strict") == [4, 3, 2]
        assert people("--order", "any") == [4, 3, 2]
        assert people("--name", "view", "--name", "pay") == [4, 0, 0]

    def test_exclusions(self, settings: Any) -> None:
        """N:STEP bars between two steps, STEP between any two."""
        fill(settings, [event(0, "view"), event(0.1, "basket"), event(0.2, "back"), event(0.3, "pay")])

        def reached(*words: str) -> int:
            found = json.loads(answer("funnel", "view", "basket", "pay", *RANGE, "--json", *words))
            return sum(step["people"] for step in found["steps"])

        assert reached("--exclude", "1:back") == 3
        assert reached("--exclude", "2:back") == 2
        assert reached("--exclude", "back[!params.why]") == 2

    def test_groups(self) -> None:
        """--by makes a funnel a value, of the step that --by-step says."""
        found = lines("funnel", "view", "pay", *RANGE, "--by", "params.plan")
        assert found[2].split() == ["(all)", "1", "view", "4", "100%", "-", "-", "0"]
        assert [line[:6].strip() for line in found[4::2]] == ["=cmd()", "free", "pro", "(none)"]
        table = rows("funnel", "view", "pay", *RANGE, "--by", "params.total", "--by-step", "2")
        assert [row[0] for row in table[3::2]] == ["12.5", "3", "(none)"]

    def test_the_people_behind_a_number(self) -> None:
        """--people lists who reached a step, --dropped who went no further."""
        assert sorted(rows("funnel", "view", "pay", *RANGE, "--people", "2")[1:]) == [["1", ""], ["2", ""]]
        dropped = json.loads(answer("funnel", "view", "pay", *RANGE, "--people", "1", "--dropped", "--json"))
        assert {person["user_id"] or person["anonymous_id"] for person in dropped} == {"3", "y"}
        assert lines("funnel", "view", "pay", *RANGE, "--people", "2")[0] == "user_id  anonymous_id"


class TestRetention:
    """``retention``."""

    def test_table(self) -> None:
        """A row a cohort, people or shares; any name comes back."""
        words = ("retention", "view", "*", *RANGE, "--periods", "3")
        assert lines(*words) == [
            "day         people  day 0   day 1   day 2",
            "----------  ------  ------  ------  ------",
            "2026-03-27       2      2       1       1",
            "2026-03-28       2      2       1       0",
            "2026-03-29       0      0       0       0",
        ]
        assert lines(*words, "--percent")[2].split() == ["2026-03-27", "2", "100%", "50.0%", "50.0%"]

    def test_kinds(self) -> None:
        """--recurring, --on-or-after and --period."""
        found = rows("retention", "view", "*", *RANGE, "--periods", "2", "--recurring")
        assert [row[1:] for row in found[1:]] == [["2", "2", "1"], ["2", "2", "1"], ["1", "1", "0"]]
        found = rows("retention", "view", "*", *RANGE, "--periods", "2", "--on-or-after")
        assert found[1][1:] == ["2", "2", "2"]
        assert lines("retention", "view", "pay", *RANGE, "--period", "month")[2].split()[:3] == [
            "2026-03",
            "*",
            "4",
        ]

    def test_what_may_still_grow_is_marked(self, settings: Any) -> None:
        """A period that is not over has a star where there is a number, and nothing where there is none."""
        now = datetime.now(UTC)
        fill(settings, [event(timestamp=now - timedelta(seconds=1))])
        words = ("retention", "view", "*", "--range", "24h", "--period", "month", "--periods", "2")
        code, out, err = run(*words, "--tz", "UTC")
        assert code == 0
        assert out.splitlines()[-1].split()[-2:] == ["1", "1*"]
        assert "* may still grow." in err


class TestPaths:
    """``paths``."""

    def test_forward_and_backward(self) -> None:
        """From an event on, or up to one; what ends is said to end."""
        found = lines("paths", *RANGE, "--end", "pay", "--steps", "2", "--gap", "12h")
        assert found[2:] == [
            "1     pay                        2         2",
            "        > basket                 2         2   100%",
            "2     basket                     2         2",
            "        > (nothing before)       1         1  50.0%",
        ]
        forward = json.loads(answer("paths", *RANGE, "--start", "view", "--json"))
        assert (forward["direction"], forward["anchor"]) == ("forward", "view")
        assert "sessions of 4 people" in run("paths", *RANGE)[2]


class TestLive:
    """``live``."""

    def test_newest_first(self, settings: Any) -> None:
        """The newest events, and how many people are there."""
        now = datetime.now(UTC)
        fill(
            settings,
            [event(timestamp=now - timedelta(minutes=n), name=f"n{n}", who=f"u{n}") for n in (1, 9, 90)],
        )
        code, out, err = run("live", "--tz", "UTC", "--limit", "2")
        assert code == 0
        assert [line.split()[4:6] for line in out.splitlines()[2:]] == [["n1", "u:1"], ["n9", "u:9"]]
        assert "1 person in the last 5 minutes, 2 in the last 30." in err
        assert [row[2] for row in rows("live", "--name", "n90")] == ["name", "n90"]


@pytest.mark.django_db
class TestPerson:
    """``person`` with a format is the report; without, the export stays what it was."""

    def test_table(self) -> None:
        """Who it is, their ids, names with counts, and the timeline, newest first."""
        found = lines("person", "--anonymous", "x", "--table", "--tz", "UTC", "--limit", "2")
        assert found[:2] == ["u:1: 5 events", "  also a:x"]
        assert found[5].split() == ["view", "3", "2026-03-27", "09:36:00", "2026-03-29", "02:24:00"]
        assert found[-2].split()[2] == "view"
        assert found[-1].split()[2] == "pay"

    def test_ids_do_not_turn_the_line(self, settings: Any) -> None:
        """An id is any text: a turn of direction in it is spelt out in the head as in the table."""
        fill(settings, [event(0.5, "seen", user_id="u\u202e1", anonymous_id="a\u202e1")])
        assert lines("person", "--user", "u\u202e1", "--table")[:2] == [
            "u:u\\u202e1: 1 event", "  also a:a\\u202e1",
        ]  # fmt: skip

    def test_pages(self) -> None:
        """A cursor leads to the next page; JSON has everything, CSV the timeline."""
        first = json.loads(answer("person", "--user", "1", "--json", "--limit", "3"))
        rest = rows("person", "--user", "1", "--csv", "--cursor", first["next_cursor"])
        assert len(first["timeline"]) + len(rest) - 1 == first["events"] == 5

    def test_the_export(self) -> None:
        """JSON lines of every event of theirs."""
        assert len(lines("person", "--user", "1")) == 4


@pytest.mark.parametrize(
    "words, complaint",
    [
        (("trend", "--range", "7d", "--since", "2026-01-01"), "leave --since and --until out"),
        (("trend", "--since", "yesterday"), "2026-05-17 is one"),
        (("trend", "--tz", "Mars/Olympus"), "There is no time zone"),
        (("trend", "--person", "ada"), "u:USER_ID"),
        (("trend", "--measure", "sum"), "value"),
        (("trend", "--alias", "typo"), "has no alias 'typo'"),
        (("trend", "--limit", "0"), "limit is a whole number"),
        (("breakdown", "plan"), "There is no field 'plan'"),
        (("breakdown", "name", "--where", "name=view"), "has a filter of its own"),
        (("breakdown", "name", "--where", "[1"), "damaged"),
        (("funnel", "[params.plan]"), "is no step"),
        (("funnel", "view", "pay", "--window", "soon"), "write 30m, 12h or 14d"),
        (("funnel", "view", "pay", "--exclude", "2:basket"), "there is no step 2 to count from"),
        (("funnel", "view", "pay", "--people", "3"), "there is no step 3 to count from"),
        (("funnel", "view", "--dropped"), "belongs to --people"),
        (("paths", "--steps", "99"), "steps is a whole number"),
        (("person", "--user", "1", "--cursor", "x"), "add --table"),
        (("person", "--user", "1", "--table", "--json"), "Say one of"),
        (("person", "--user", "1", "--csv", "--output", "x"), "--output belongs to the export"),
        (("person", "--user", "1", "--json", "--cursor", "x"), "no cursor of ours"),
    ],
)
def test_a_wrong_question_is_a_usage_error(words: tuple[str, ...], complaint: str) -> None:
    """Exit code 2, and a sentence that says what would be right."""
    code, out, err = run(*words)
    assert (code, out) == (2, "")
    assert complaint in err


def test_all_time_begins_with_the_first_event(settings: Any) -> None:
    """``--range all``; without any event it is today."""
    found = lines("trend", "--range", "all", "--tz", "UTC", "--interval", "month")
    assert found[2].split() == ["2026-03", "*", "11"]
    fill(settings, [])
    assert lines("trend", "--range", "all", "--tz", "UTC")[-1].split() == ["(all)", "0"]
    assert "There is nothing in this range." in run("breakdown", "name")[2]
