"""When a run is known: nothing may be learnt from it earlier."""

from __future__ import annotations

import pandas as pd
import pytest

from predictors.history import read_history
from tests.dumps import put
from tests.warehouse.views import Row, at
from warehouse.batches import Rows
from warehouse.connection import open_current
from warehouse.home import Home
from warehouse.writer import Writer

RUN = {"run_id": "r", "submitted_at": at(0)}
TASK = {"run_id": "r", "task_id": "t", "execution_ms": 500.0}
WORKER = {"invocation_id": "i", "run_id": "r", "worker_id": "w", "requested_at": at(10), "ready_at": at(900)}


@pytest.mark.parametrize(
    ("run", "tasks", "workers", "known"),
    [
        ({}, [TASK | {"started_at": at(100)}], [], 600),  # its last task's end
        ({}, [TASK | {"started_at": at(100)}], [WORKER], 900),  # a worker was ready after that
        ({"finished_at": at(7000)}, [TASK], [], 7000),  # no task says when it ran
        ({"finished_at": at(550)}, [TASK | {"started_at": at(100)}], [], 600),
        ({}, [TASK], [], 0.001),  # nothing tells, yet it is not known as it is submitted
    ],
)
def test_a_run_is_known_when_the_last_that_is_recorded_of_it_has_ended(
    home: Home, run: Row, tasks: list[Row], workers: list[Row], known: float
) -> None:
    with Writer(home) as writer:
        put(writer, "dump", Rows("runs", [RUN | run]), Rows("tasks", tasks), Rows("invocations", workers))
        writer.publish()
    with open_current(home) as reader:
        (found,) = read_history(reader).runs["known_at"]
    assert found == pd.Timestamp(at(known))
