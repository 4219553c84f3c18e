"""``manage.py littlebro``: setup, flush, upkeep, purge, dead letters, people."""

import datetime
import io
import json
from pathlib import Path
from typing import Any

import pytest

from littlebro import trackers
from littlebro.management.commands.littlebro import Command
from littlebro.models import DeadLetter, Tombstone
from tests.commanding import AWAY, DAY, event, journaled, kept, letter, run, save, site

Settings = Any  # the class of the fixture has one name in one version and another in the next


@pytest.fixture(autouse=True)
def _site(settings: Settings, db: None, journal: Path) -> None:
    site(settings, journal)


class TestCare:
    """setup, flush, upkeep, purge."""

    def test_setup(self, settings: Settings) -> None:
        """One alias that fails keeps no other from its turn."""
        assert run("setup")[:2] == (0, "default: ready\naudit: ready\n")
        settings.LITTLEBRO = {"default": {"BACKEND": AWAY}, "audit": {}}
        code, out, said = run("setup")
        assert (code, out) == (1, "audit: ready\n")
        assert "default: OperationalError: server has gone away" in said
        assert said.endswith("Not set up: default; the reason is above.")

    def test_flush_and_upkeep(self, settings: Settings, tmp_path: Path, journal: Path) -> None:
        """What lies in the journal is stored; what cannot be is left over."""
        alias = {**journaled(journal), "LOCATION": str(tmp_path)}
        settings.LITTLEBRO = {"default": {**alias, "BACKEND": AWAY}}
        trackers["default"].track_event("n", event_id="1", on_commit=False)
        code, _, said = run("flush", "--timeout", "0.2")
        assert code == 1
        assert "not all was stored in time" in said
        trackers["default"].close()  # what its own thread is just trying again is not for upkeep to report
        code, _, said = run("upkeep")
        assert code == 1
        assert "server has gone away" in said
        settings.LITTLEBRO = {"default": {**alias, "BACKEND": "memory"}}
        code, out, _ = run("upkeep")
        assert code == 0
        assert "delivered 1, left 0" in out
        assert kept() == ["1"]
        assert run("flush")[:2] == (0, "default: stored\n")

    def test_purge(self) -> None:
        """Deletes what is past RETENTION_DAYS, in its own collection; a dry run only counts."""
        now = datetime.datetime.now(datetime.UTC)
        save(event("old", timestamp=now - 8 * DAY), event("new", timestamp=now - 6 * DAY))
        save(event("audit", timestamp=now - 99 * DAY, collection="audit"), alias="audit")
        code, out, _ = run("purge", "--dry-run")
        assert code == 0
        assert "default: 1 events from before" in out
        assert "audit: keeps its events (no RETENTION_DAYS)" in out
        assert sorted(kept()) == ["audit", "new", "old"]
        assert "1 events" in run("purge", "--alias", "default")[1]
        assert sorted(kept()) == ["audit", "new"]

    def test_purge_of_what_cannot_delete(self, settings: Settings, tmp_path: Path) -> None:
        """Says so."""
        location = str(tmp_path / "log")
        settings.LITTLEBRO = {"default": {"BACKEND": "log", "LOCATION": location, "RETENTION_DAYS": 1}}
        code, _, said = run("purge")
        assert code == 1
        assert "cannot delete" in said


class TestDeadLetters:
    """list, show, replay, delete."""

    def test_list(self) -> None:
        """A table without bodies; filters; a limit that says what it hides."""
        assert run("deadletters", "list")[1] == "No dead letters.\n"
        first, second = letter("a"), letter("b", sink="audit")
        code, out, _ = run("deadletters", "list")
        assert code == 0
        assert out.count("\n") == 3
        assert r"too \x1b[31mlong" in out
        assert run("deadletters", "list", "--sink", "audit", "--json")[1].count("\n") == 1
        assert json.loads(run("deadletters", "list", "--sink", "", "--json")[1])["id"] == first.pk
        assert "1 more; --limit shows them." in run("deadletters", "list", "--limit", "1")[2]
        assert json.loads(run("deadletters", "show", "--id", str(second.pk), "--json")[1])["body"].startswith(
            "{"
        )
        assert "event_id: a\n" in run("deadletters", "show", "--id", str(first.pk))[1]

    def test_a_filter_is_asked_for(self) -> None:
        """So that nothing is replayed or deleted by a slip."""
        for action in ("show", "replay", "delete"):
            code, _, said = run("deadletters", action)
            assert code == 2
            assert "Say which" in said
        assert run("deadletters", "show", "--id", "77")[0] == 2
        assert run("deadletters", "list", "--alias", "nope")[0] == 2
        letter(alias="gone")
        assert run("deadletters", "list", "--alias", "gone")[0] == 0

    def test_replay(self, settings: Settings) -> None:
        """Stored ones leave; those refused again stay, and the exit code tells."""
        letter("a")
        assert run("deadletters", "replay", "--all")[:2] == (0, "1 stored, 0 kept\n")
        assert kept() == ["a"]
        settings.LITTLEBRO = {"default": {"BACKEND": AWAY}}
        letter("b")
        code, out, said = run("deadletters", "replay", "--alias", "default")
        assert (code, out) == (1, "0 stored, 1 kept\n")
        assert "1 dead letters were refused again" in said

    def test_notes_cannot_be_replayed(self) -> None:
        """One stays, with the reason that it came with, and the command says why."""
        note = b'{"littlebro":"refused","alias":"default","id":"6","collection":"c","name":"n","reason":"no"}'
        DeadLetter.objects.create(
            alias="default", collection="c", event_id="6", reason="no: too odd", body=note
        )
        letter("a")
        code, out, said = run("deadletters", "replay", "--all")
        assert (code, out) == (1, "1 stored, 1 kept\n")
        assert said == "1 cannot be replayed: notes of refused input, or damaged lines."
        assert DeadLetter.objects.get().reason == "no: too odd"

    @pytest.mark.parametrize("option", ["--id", "--limit"])
    @pytest.mark.parametrize("number", [str(2**63), "-1", "x"])
    def test_numbers_that_no_query_holds(
        self, option: str, number: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """They are refused before the database sees them, with exit code 2."""
        with pytest.raises(SystemExit) as ended:
            Command().run_from_argv(["manage.py", "littlebro", "deadletters", "list", f"{option}={number}"])
        assert ended.value.code == 2
        assert f"argument {option}: " in capsys.readouterr().err

    def test_delete(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Asks first; nobody there to ask is an error, not a yes."""
        letter()
        for answer, code in (("", 2), ("no\n", 1)):
            monkeypatch.setattr("sys.stdin", io.StringIO(answer))
            assert run("deadletters", "delete", "--all")[0] == code
            assert DeadLetter.objects.count() == 1
        monkeypatch.setattr("sys.stdin", io.StringIO("yes\n"))
        assert run("deadletters", "delete", "--all")[:2] == (0, "1 deleted\n")
        letter()
        assert run("deadletters", "delete", "--all", "--no-input")[0] == 0
        assert not DeadLetter.objects.exists()


class TestPeople:
    """person and forget."""

    @pytest.mark.django_db(transaction=True)
    def test_person(self) -> None:
        """Each event once, though two aliases read one table; the journal and dead letters too."""
        save(event("1", user_id="7"), event("2", user_id="8"), event("3", user_id="7", collection="audit"))
        trackers["default"].track_event("n", user="7", event_id="4", on_commit=False)
        letter("5", user_id="7")
        note = b'{"littlebro":"refused"}'
        DeadLetter.objects.create(
            alias="default", collection="c", event_id="6", user_id="7", reason="no name", body=note
        )
        code, out, _ = run("person", "--user", "7")
        assert code == 0
        assert [json.loads(line)["id"] for line in out.splitlines()] == ["1", "3", "4", "5"]
        assert run("person", "--anonymous", "7")[:2] == (0, "")

    @pytest.mark.parametrize("subcommand", ["person", "forget"])
    def test_who_is_meant(self, subcommand: str) -> None:
        """Exactly one of the two ids."""
        assert run(subcommand)[0] == 2
        assert run(subcommand, user="1", anonymous="2")[0] != 0

    def test_write_only_backends(self, settings: Settings, tmp_path: Path) -> None:
        """What cannot be read or erased is left over, and named."""
        settings.LITTLEBRO = {"default": {}, "log": {"BACKEND": "log", "LOCATION": str(tmp_path / "log")}}
        save(event("1", user_id="7"))
        code, out, said = run("person", "--user", "7")
        assert (code, json.loads(out)["id"]) == (1, "1")
        assert "Not all could be read: log" in said
        code, out, said = run("forget", "--user", "7", "--no-input")
        assert code == 1
        assert "default: backend: 1 deleted" in out
        assert "Not erased everywhere: log" in said
        assert kept() == []

    def test_forget(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Asks, erases from every alias, and leaves a tombstone."""
        save(event("1", anonymous_id="x"), event("2", collection="audit", anonymous_id="x"), event("3"))
        letter("4", user_id="7")
        monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
        assert run("forget", "--anonymous", "x")[0] == 1
        assert len(kept()) == 3
        monkeypatch.setattr("sys.stdin", io.StringIO("YES\n"))
        assert run("forget", "--anonymous", "x")[0] == 0
        assert kept() == ["3"]
        code, out, _ = run("forget", "--user", "7", "--no-input")
        assert code == 0
        assert "default: dead letters: 1 deleted" in out
        assert Tombstone.objects.count() == 2

    def test_letters_of_an_alias_that_is_gone(self) -> None:
        """They are shown and erased too, though no alias of the settings owns them; others' stay."""
        letter("1", alias="gone", user_id="7")
        letter("2", alias="gone", sink="copy", user_id="8")
        DeadLetter.objects.filter(event_id="1").update(anonymous_id="x")
        for who in (("--user", "7"), ("--anonymous", "x")):
            code, out, _ = run("person", *who)
            assert (code, [json.loads(line)["id"] for line in out.splitlines()]) == (0, ["1"])
        code, out, _ = run("forget", "--anonymous", "x", "--no-input")
        assert code == 0
        assert "default: dead letters: 1 deleted" in out
        assert list(DeadLetter.objects.values_list("event_id", flat=True)) == ["2"]
        run("forget", "--user", "8", "--no-input")
        assert not DeadLetter.objects.exists()
