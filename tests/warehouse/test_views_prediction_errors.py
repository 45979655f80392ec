"""prediction_errors: what was predicted, what happened, how far apart they are."""

from math import log

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.warehouse.views import Row, at, derived, one

RUN = {"run_id": "r", "submitted_at": at(0), "sink_task_id": "b", "expected_tasks": 2}
PLAN = {"run_id": "r", "planner": "uniform", "sla": "p90", "sla_percentile": 90.0}
FIRST = {
    "run_id": "r", "task_id": "a", "attempt": 1, "worker_id": "w1", "started_at": at(1000),
    "execution_ms": 100.0, "literal_bytes": 10, "output_bytes": 40,
}  # fmt: skip
SINK = FIRST | {"task_id": "b", "worker_id": "w2", "started_at": at(2000), "upload_ms": 50.0, "literal_bytes": 0}
DOWNLOAD = {"run_id": "r", "task_id": "b", "object_id": "a", "input_bytes": 40, "download_ms": 20.0}
PLANNED_FIRST = {
    "run_id": "r", "task_id": "a", "worker_id": "w1", "start_offset_ms": 0.0, "completion_offset_ms": 700.0,
    "execution_ms": 80.0, "download_ms": 0.0, "upload_ms": 25.0, "input_bytes": 10, "output_bytes": 60,
    "startup_ms": 600.0, "startup_state": "cold",
}  # fmt: skip
PLANNED_SINK = PLANNED_FIRST | {
    "task_id": "b", "worker_id": "w2", "start_offset_ms": 700.0, "completion_offset_ms": 1720.0, "download_ms": 30.0,
    "startup_ms": 200.0, "startup_state": "warm",
}  # fmt: skip
LAUNCH = {
    "invocation_id": "i1", "run_id": "r", "worker_id": "w1", "requested_at": at(100), "ready_at": at(900),
    "reported_state": "cold", "initial_task_ids": ["a"],
}  # fmt: skip
WHOLE = {
    "runs": [RUN],
    "plans": [PLAN],
    "tasks": [FIRST, SINK],
    "task_inputs": [DOWNLOAD],
    "planned_tasks": [PLANNED_FIRST, PLANNED_SINK],
    "invocations": [LAUNCH, LAUNCH | {"invocation_id": "i2", "worker_id": "w2", "initial_task_ids": ["b", "x"]}],
}


def errors(level: str, **changed: list[Row]) -> dict[tuple, Row]:
    """The errors of one level by task or invocation (if any) and metric."""
    rows = derived("prediction_errors", **(WHOLE | changed))
    keyed = {
        tuple(part for part in (row["invocation_id"] or row["task_id"], row["metric"]) if part): row
        for row in rows
        if row["level"] == level
    }
    assert len(keyed) == sum(row["level"] == level for row in rows)
    return keyed


def predicted_and_actual(rows: dict[tuple, Row]) -> dict[tuple, tuple]:
    return {key: (row["predicted"], row["actual"]) for key, row in rows.items()}


def test_run_level_adds_up_the_tasks_and_counts_each_planned_worker_once():
    assert predicted_and_actual(errors("run")) == {
        ("makespan",): (1720, 2150),  # 2000 + 100 + 50
        ("execution",): (160, 200),
        ("download",): (30, 20),
        ("upload",): (50, 50),
        ("input_bytes",): (20, 50),  # 10 literal + 40 downloaded
        ("output_bytes",): (120, 80),
        ("startup",): (800, 1600),
        ("starts",): (2, 2),
    }


def test_task_level_compares_each_task():
    assert predicted_and_actual(errors("task")) == {
        ("a", "execution"): (80, 100),
        ("a", "download"): (0, 0),
        ("a", "upload"): (25, 0),  # it was not uploaded
        ("a", "input_bytes"): (10, 10),
        ("a", "output_bytes"): (60, 40),
        ("b", "execution"): (80, 100),
        ("b", "download"): (30, 20),
        ("b", "upload"): (25, 50),
        ("b", "input_bytes"): (10, 40),
        ("b", "output_bytes"): (60, 40),
    }


def test_invocation_level_compares_each_start_with_that_planned_for_its_worker():
    rows = errors("invocation")
    assert predicted_and_actual(rows) == {
        ("i1", "startup"): (600, 800),
        ("i1", "state"): (1, 1),
        ("i2", "startup"): (200, 800),
        ("i2", "state"): (0, 1),
    }
    assert rows["i2", "startup"]["task_id"] == "b"  # the first of its initial tasks


def test_the_measures_of_an_error():
    row = errors("run")["execution",]  # predicted 160, actual 200 at p90
    assert (row["predictor"], row["sla"], row["sla_percentile"], row["unit"]) == ("engine", "p90", 90, "ms")
    assert row["relative_error"] == 0.2  # 40 / 200
    assert row["log_ratio"] == pytest.approx(log(0.8))
    assert row["covered"] is False
    assert row["pinball_loss"] == pytest.approx(36)  # 40 x 0.9
    row = errors("run")["output_bytes",]  # predicted 120, actual 80
    assert (row["relative_error"], row["covered"], row["unit"]) == (0.5, True, "bytes")
    assert row["pinball_loss"] == pytest.approx(4)  # 40 x 0.1
    row = errors("run")["upload",]  # predicted 50, actual 50
    assert (row["relative_error"], row["log_ratio"], row["covered"], row["pinball_loss"]) == (0, 0, True, 0)


def test_a_state_is_a_class_and_has_no_error():
    row = errors("invocation")["i2", "state"]
    measures = ("relative_error", "log_ratio", "covered", "pinball_loss")
    assert [row[name] for name in measures] == [None] * 4
    assert row["unit"] == "probability"


def test_an_actual_zero_has_no_relative_error_but_is_covered():
    row = errors("task")["a", "upload"]
    assert (row["relative_error"], row["log_ratio"], row["covered"]) == (None, None, True)
    assert row["pinball_loss"] == pytest.approx(2.5)  # 25 x 0.1


@pytest.mark.parametrize("plan", [{"run_id": "r", "sla": "average"}, {"run_id": "r"}])
def test_without_a_percentile_there_is_no_pinball_loss(plan: Row):
    row = errors("run", plans=[plan])["execution",]
    assert (row["sla"], row["sla_percentile"], row["pinball_loss"]) == (plan.get("sla"), None, None)
    assert (row["relative_error"], row["covered"]) == (0.2, False)


def test_planned_tasks_without_a_plan_take_the_runs_sla():
    row = errors("run", plans=[], runs=[RUN | {"sla": "p50", "sla_percentile": 50.0}])["execution",]
    assert (row["sla"], row["sla_percentile"]) == ("p50", 50)


def test_a_plan_without_planned_tasks_predicts_nothing():
    assert derived("prediction_errors", **(WHOLE | {"planned_tasks": []})) == []


def test_what_was_not_predicted_or_did_not_happen_stays_with_null():
    rows = errors("task", planned_tasks=[PLANNED_FIRST | {"upload_ms": None}], tasks=[])
    assert predicted_and_actual(rows)["a", "upload"] == (None, None)
    row = rows["a", "execution"]
    assert [row[n] for n in ("actual", "relative_error", "log_ratio", "covered", "pinball_loss")] == [None] * 5
    row = errors("task", planned_tasks=[PLANNED_FIRST | {"execution_ms": None}])["a", "execution"]
    assert (row["predicted"], row["actual"], row["relative_error"], row["covered"]) == (None, 100, None, None)


def test_run_level_needs_a_complete_run_except_for_the_makespan():
    rows = predicted_and_actual(errors("run", tasks=[SINK]))
    assert rows.pop(("makespan",)) == (1720, 2150)
    assert {actual for _, actual in rows.values()} == {None}
    assert errors("run", runs=[])["execution",]["actual"] is None
    assert errors("run", runs=[RUN | {"expected_tasks": None}])["execution",]["actual"] is None  # no DAG: unknown


def test_a_task_is_judged_by_its_last_attempt():
    rows = errors("task", tasks=[FIRST, FIRST | {"attempt": 2, "execution_ms": 160.0}, SINK])
    assert rows["a", "execution"]["actual"] == 160


def test_downloads_of_a_source_that_does_not_record_inputs_are_unknown():
    assert errors("task", tasks=[FIRST | {"literal_bytes": None}])["a", "download"]["actual"] is None


def test_a_planned_workers_start_is_predicted_at_its_first_task():
    later = PLANNED_FIRST | {"task_id": "0", "start_offset_ms": 650.0, "startup_ms": 0.0, "startup_state": None}
    rows = errors("run", planned_tasks=[later, PLANNED_FIRST, PLANNED_SINK])
    assert (rows["startup",]["predicted"], rows["starts",]["predicted"]) == (800, 2)


def test_tasks_planned_without_a_worker_each_start_one():
    rows = errors("run", planned_tasks=[PLANNED_FIRST | {"worker_id": None}, PLANNED_SINK | {"worker_id": None}])
    assert (rows["startup",]["predicted"], rows["starts",]["predicted"]) == (800, 2)
    assert errors("invocation", planned_tasks=[PLANNED_FIRST | {"worker_id": None}]) == {}


def test_without_predicted_startups_there_is_no_startup_error():
    assert ("startup",) not in errors("run", planned_tasks=[PLANNED_FIRST | {"startup_ms": None}])


def test_a_worker_that_never_became_ready_has_no_actual_startup():
    rows = errors("invocation", invocations=[LAUNCH | {"ready_at": None, "reported_state": None}])
    assert predicted_and_actual(rows) == {("i1", "startup"): (600, None), ("i1", "state"): (1, None)}


def test_a_worker_ready_before_it_was_requested_has_no_relative_error():
    row = errors("invocation", invocations=[LAUNCH | {"ready_at": at(90)}])["i1", "startup"]
    assert (row["actual"], row["relative_error"], row["log_ratio"], row["covered"]) == (-10, None, None, True)


def test_a_worker_launched_twice_is_compared_twice():
    assert set(errors("invocation", invocations=[LAUNCH, LAUNCH | {"invocation_id": "i9"}])) == {
        ("i1", "startup"), ("i1", "state"), ("i9", "startup"), ("i9", "state"),
    }  # fmt: skip


GUESS = {
    "predictor": "forest",
    "level": "task",
    "run_id": "r",
    "task_id": "a",
    "metric": "execution",
    "predicted": 90.0,
}


@pytest.mark.parametrize(
    ("percentile", "sla"),
    [(50.0, "p50"), (99.9, "p99.9"), (90.0, "p90"), (100.0, "p100"), (2.5, "p2.5"), (None, "average")],
)
def test_a_predictors_sla_is_named_after_its_percentile(percentile: float | None, sla: str):
    rows = derived(
        "prediction_errors", **(WHOLE | {"planned_tasks": [], "predictions": [GUESS | {"sla_percentile": percentile}]})
    )
    row = one(rows)
    assert (row["predictor"], row["sla"], row["sla_percentile"]) == ("forest", sla, percentile)
    assert (row["predicted"], row["actual"]) == (90, 100)
    loss = None if percentile is None else 10 * percentile / 100
    assert row["pinball_loss"] == (None if loss is None else pytest.approx(loss))


@pytest.mark.parametrize(
    ("change", "actual"),
    [
        ({"level": "run", "task_id": None}, 200),
        ({"level": "run", "task_id": None, "metric": "makespan"}, 2150),
        ({"level": "invocation", "invocation_id": "i2", "task_id": "b", "metric": "startup"}, 800),
        ({"level": "invocation", "invocation_id": "i2", "task_id": "b", "metric": "state"}, 1),
        ({"level": "invocation", "invocation_id": "gone", "metric": "startup"}, None),
        ({"level": "task", "metric": "nonesuch"}, None),
        ({"level": "task", "task_id": "gone"}, None),
        ({"level": "run", "run_id": "gone", "task_id": None}, None),
    ],
)
def test_predictions_of_every_level_meet_what_happened(change: Row, actual: float | None):
    guess = GUESS | {"sla_percentile": 50.0} | change
    assert (
        one(derived("prediction_errors", **(WHOLE | {"planned_tasks": [], "predictions": [guess]})))["actual"] == actual
    )


@pytest.mark.parametrize("predicted", [-1.0, 0.0, 5e-324, 1e308, None])
def test_odd_predictions_are_kept_and_break_nothing(predicted: float | None):
    guess = GUESS | {"sla_percentile": 50.0, "predicted": predicted}
    row = one(derived("prediction_errors", **(WHOLE | {"planned_tasks": [], "predictions": [guess]})))
    if predicted is None:
        assert row["relative_error"] is row["covered"] is row["pinball_loss"] is None
    else:
        assert row["relative_error"] == pytest.approx(abs(predicted - 100) / 100)
        assert row["covered"] == (predicted >= 100)
        assert row["pinball_loss"] == pytest.approx(abs(predicted - 100) / 2)
    assert (row["log_ratio"] is None) == (predicted is None or predicted <= 0)


@settings(max_examples=15, deadline=None)
@given(
    st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=5, unique=True),
    st.floats(0, 1e6),
    st.sampled_from([1.0, 50.0, 90.0, 99.9]),
)
def test_covered_is_monotone_in_predicted_and_the_loss_is_least_at_the_actual(
    predicted: list[float], actual: float, percentile: float
):
    guesses = [
        GUESS | {"predictor": str(i), "predicted": value, "sla_percentile": percentile}
        for i, value in enumerate(sorted(predicted))
    ]
    tables = WHOLE | {"planned_tasks": [], "tasks": [FIRST | {"execution_ms": actual}], "predictions": guesses[::-1]}
    rows = sorted(derived("prediction_errors", **tables), key=lambda row: row["predicted"])
    covered = [row["covered"] for row in rows]
    assert covered == sorted(covered)
    assert covered == [actual <= row["predicted"] for row in rows]
    assert all(row["pinball_loss"] >= 0 for row in rows)
    below, above = ([row["pinball_loss"] for row in rows if row["covered"] is side] for side in (False, True))
    assert below == sorted(below, reverse=True)
    assert above == sorted(above)


def test_each_key_occurs_once():
    guesses = [GUESS | {"sla_percentile": p, "level": level} for p in (50.0, 75.0, 90.0) for level in ("task", "run")]
    rows = derived("prediction_errors", **(WHOLE | {"predictions": guesses}))
    key = ("predictor", "level", "run_id", "task_id", "invocation_id", "metric", "sla_percentile")
    assert len({tuple(row[name] for name in key) for row in rows}) == len(rows) == 8 + 10 + 4 + 6
