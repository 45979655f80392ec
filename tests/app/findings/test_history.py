"""F16: the smallest history that is as good as all of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from app.findings.evidence import Selection
from app.markdown import to_text
from tests.app.dumps import one_run, take_in, write
from tests.app.findings.homes import answer
from warehouse.home import Home

ALL = {"runs_kept": 100, "rows_kept": 2000, "bytes_kept": 1_000_000}


def budget(policy: str, kept: int | None, error: float, metric: str = "execution", **columns: Any) -> dict[str, Any]:
    """One amount of history: with `kept` runs it holds 20 rows a run, of 500 bytes each."""
    held = ALL if kept is None else {"runs_kept": kept, "rows_kept": 20 * kept, "bytes_kept": 10_000 * kept}
    return {
        "predictor": "boosted", "policy": policy, "kept": kept, "level": "task", "metric": metric, "n": 500,
        "median_relative_error": error, **held, **columns,
    }  # fmt: skip


def home_of(folder: Path, rows: list[dict[str, Any]]) -> Home:
    return take_in(folder / "home", write(folder / "dump", {**one_run(1), "history_budgets": rows}))


def test_the_smallest_history_is_the_one_worked_out_by_hand(tmp_path: Path) -> None:
    # All gives 20 %, so 21 % is within 5 %. Ten runs happen to do, but twenty do not: forty are the least.
    rows = [budget("all", None, 0.20), budget("last_runs", 5, 0.3), budget("last_runs", 10, 0.205)]
    rows += [budget("last_runs", 20, 0.22), budget("last_runs", 40, 0.208), budget("last_runs", 80, 0.2)]
    found = answer(home_of(tmp_path, rows), "F16")
    assert found.status == "answered"
    row = found.table.iloc[0]
    assert (row["kept"], row["runs_kept"], row["rows_kept"], row["bytes_kept"]) == (40, 40, 800, 400_000)
    assert row["relative_to_all"] == pytest.approx(0.208 / 0.20)
    assert row["of_bytes"] == pytest.approx(0.4)
    assert found.effect is not None and found.effect.value == pytest.approx(0.4)
    assert "Keeping the last 40 runs leaves every error within 5 %" in to_text(found.sentence)
    assert "800 rows, 400 kB, 40.0 % of all rows" in found.sentence
    assert "Enough: execution of a task the last 40 runs." in found.figures[0].text


def test_what_needs_most_decides_and_is_named(tmp_path: Path) -> None:
    rows = [budget("all", None, 0.2), budget("reservoir", 8, 0.2), budget("reservoir", 16, 0.2)]
    rows += [
        budget("all", None, 0.2, "upload"),
        budget("reservoir", 8, 0.4, "upload"),
        budget("reservoir", 16, 0.2, "upload"),
    ]
    text = to_text(answer(home_of(tmp_path, rows), "F16").sentence)
    assert "Keeping 16 samples of each function" in text
    assert "upload of a task needs that much, execution of a task only 8 samples of each function" in text


def test_where_no_history_is_enough_it_says_so(tmp_path: Path) -> None:
    found = answer(
        home_of(tmp_path, [budget("all", None, 0.2), budget("last_runs", 5, 0.5), budget("last_runs", 9, 0.4)]), "F16"
    )
    assert found.status == "not enough data"
    assert "For execution of a task none that was tried is enough (the last runs, up to 9)." in found.sentence
    assert found.effect is None


def test_the_predictor_that_is_best_with_all_history_counts(tmp_path: Path) -> None:
    rows = [budget("all", None, 0.2), budget("last_runs", 50, 0.2)]
    rows += [budget("all", None, 0.4, predictor="empirical"), budget("last_runs", 2, 0.4, predictor="empirical")]
    rows += [
        budget("all", None, 0.1, predictor="boosted_given_state"),
        budget("last_runs", 2, 0.1, predictor="boosted_given_state"),
    ]
    found = answer(home_of(tmp_path, rows), "F16")
    assert found.table[["predictor", "kept"]].values.tolist() == [["boosted", 50]]


def test_without_an_evaluation_of_histories_it_says_what_to_do(sample_home: Home, tmp_path: Path) -> None:
    for home in (sample_home, home_of(tmp_path, [budget("last_runs", 5, 0.5)])):
        found = answer(home, "F16")
        assert found.status == "not enough data"
        assert "flowscope evaluate --history" in found.would_change
    found = answer(
        home_of(tmp_path / "more", [budget("all", None, 0.2)]), "F16", Selection(values=(("workflow", ("gone",)),))
    )
    assert (found.status, found.n) == ("not enough data", 0)
