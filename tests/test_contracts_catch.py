"""The contracts catch what they are for: each of many deliberately wrong parts, by a test that names the promise."""

import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from littlebro.testing.contracts import BackendContract, TrackerContract

ROOT = Path(__file__).parent.parent

BACKENDS = {
    "LosesOnRetry": "a_store_that_is_back_is_used_again",
    "WrongOrder": "reading_order_is_timestamp_id_collection",
    "Duplicates": "a_batch_given_three_times_is_stored_once",
    "Overwrites": "an_event_that_is_there_stays_as_it_is",
    "IgnoresConditions": "delete_many_deletes_what_matches_and_no_more",
    "DottedPaths": "filters_take_odd_keys_as_keys",
    "SwallowsErrors": "an_unavailable_store_raises",
    "GivesUpEarly": "an_unavailable_store_raises",
    "SharesClient": "a_forked_child_has_a_client_of_its_own",
    "AfterInclusive": "after_is_exclusive",
    "DropsOddKeys": "odd_keys_are_kept_at_the_top",
    "CutsMicroseconds": "moments_keep_their_microseconds",
    "RoundsNumbers": "values_are_exact",
    "FoldsCase": "ids_that_look_alike_are_different",
    "DeletesTooMuch": "delete_many_deletes_what_matches_and_no_more",
    "SkipsLateCommits": "scan_stored_misses_no_late_commit",
    "CountsRoughly": "count_is_exact",
    "RefusesNeighbours": "a_refused_event_is_named_and_its_neighbours_are_stored",
    "TriesForEver": "a_refusal_is_no_other_error",
    "HoldsEverything": "a_scan_does_not_hold_the_answer_in_memory",
    "ConnectsAtOnce": "making_one_does_no_io",
    "PingsItsTable": "a_store_answers_before_it_is_set_up",
    "ClosesForGood": "a_closed_backend_works_again",
    "AnswersUnasked": "an_operation_that_is_not_declared_refuses_by_name",
}
TRACKERS = {
    "Raises": "production_never_raises",
    "DeliversTwice": "each_event_arrives_once",
    "LosesInSilence": "nothing_is_lost_unseen",
    "LooksLate": "an_event_is_a_snapshot",
    "FlushLies": "each_event_arrives_once",
    "FlushHangs": "flush_is_bounded_and_honest",
    "StartsAtOnce": "making_one_starts_nothing",
    "ForgetsForks": "parent_and_child_both_track",
    "IsNotDurable": "an_outage_loses_nothing",
    "FollowsNoTransaction": "a_rollback_leaves_no_ghost",
    "ForgetsSinks": "a_sink_gets_each_event_as_well",
    "DropsWhatSinksMissed": "a_sink_that_was_away_gets_what_it_missed",
    "LeavesThreads": "close_ends_and_begins_again",
    "Circles": "what_delivery_tracks_goes_round_in_no_circle",
    "TakesAnyOption": "an_unknown_option_is_an_error",
}
KINDS = {"backends": (BACKENDS, BackendContract), "trackers": (TRACKERS, TrackerContract)}

Outcomes = dict[str, dict[str, str]]


def run(kind: str, folder: Path) -> Outcomes:
    """Run, in a child, what is right as a whole and of each wrong part the test that should catch it."""
    file, wrong = f"tests/wrong/{kind}.py", KINDS[kind][0]
    report = folder / f"{kind}.xml"
    chosen = [
        f"{file}::TestNothingWrong",
        *(f"{file}::Test{name}::test_{test}" for name, test in wrong.items()),
    ]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}", *chosen],
        cwd=ROOT, env={**os.environ, "LITTLEBRO_TEST_FOLDER": str(folder)},
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 1, done.stdout[-4000:] + done.stderr[-4000:]
    outcomes: Outcomes = {}
    for case in ET.parse(report).iter("testcase"):
        test = case.attrib["name"].partition("[")[0].removeprefix("test_")
        found = outcomes.setdefault(case.attrib["classname"].rpartition(".Test")[2], {})
        failure = case.find("failure") if case.find("failure") is not None else case.find("error")
        if failure is not None:
            found[test] = failure.attrib.get("message", "") + (failure.text or "")
        else:
            found.setdefault(test, "")
    return outcomes


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcomes]:
    """Give, by kind, class and test, what the test said: nothing if it passed."""
    folders = {kind: tmp_path_factory.mktemp(kind) for kind in KINDS}
    with ThreadPoolExecutor() as pool:
        return dict(zip(KINDS, pool.map(run, KINDS, folders.values()), strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("kind, name", [(kind, name) for kind, (wrong, _) in KINDS.items() for name in wrong])
def test_a_wrong_part_is_caught_by_name(outcomes: dict[str, Outcomes], kind: str, name: str) -> None:
    """The test that states the promise fails on the part that breaks it."""
    wrong, contract = KINDS[kind]
    assert outcomes[kind][name][wrong[name]], f"{name} passed test_{wrong[name]}"
    assert getattr(contract, f"test_{wrong[name]}").__doc__


@pytest.mark.slow
@pytest.mark.parametrize("kind", list(KINDS))
def test_what_is_right_but_for_the_faults_passes(outcomes: dict[str, Outcomes], kind: str) -> None:
    """The part that the wrong ones derive from keeps the whole contract."""
    right = outcomes[kind]["NothingWrong"]
    assert {test: said for test, said in right.items() if said} == {}
    assert len(right) > 20
