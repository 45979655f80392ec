"""Typed access to the fields of the engine's records.

`Fields` reads one record. A missing field, or None, is None; a value of the wrong type refuses the whole pickled value
(`Refused`, reason 'wrong_type'); what has no column (unknown fields, NaN, an instant out of range) is noted in
`extra`. Numbers may be numpy scalars, which are decoded from their bytes; enum members are their values.
"""

from __future__ import annotations

import math
import struct
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from ingest.formats.pickles import Global, Record, Value
from ingest.records import EARLIEST, LATEST, SURROGATES, Refused, clean

MAX_TEXT = 1_000
MAX_TEXTS = 10_000
MAX_PARTS = 1_000_000
MAX_EXTRA_FIELDS = 50
MAX_UNKNOWN_NAMES = 1_000

_BIGINT, _INTEGER = 2**63, 2**31
_EPOCH = datetime(1970, 1, 1)  # naive UTC, as every instant in the tables
_EARLIEST, _LATEST = (moment.replace(tzinfo=UTC).timestamp() for moment in (EARLIEST, LATEST))
_NUMPY_CODES = ("f2", "f4", "f8", "b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8")
_NUMPY_FORMATS = dict(zip(_NUMPY_CODES, "efd?bhiqBHIQ", strict=True))


def _fields(names: str) -> frozenset[str]:
    return frozenset(names.split())


KNOWN_FIELDS = {
    "TaskMetrics": _fields(
        "worker_resource_configuration started_at_timestamp_s input_metrics tp_execution_time_ms"
        " execution_time_per_input_byte_ms update_dependency_counters_time_ms output_metrics total_invocations_count"
        " total_invocation_time_ms planner_used_name optimization_metrics"
    ),
    "TaskWorkerResourceConfiguration": _fields("cpus memory_mb worker_id"),
    "TaskInputMetrics": _fields(
        "hardcoded_input_size_bytes tp_total_time_waiting_for_inputs_ms input_download_metrics"
    ),
    "TaskInputDownloadMetrics": _fields("serialized_size_bytes time_ms"),
    "TaskOutputMetrics": _fields("serialized_size_bytes tp_time_ms"),
    "OptimizationMetrics": _fields("preloaded dupped resource_config absolute_trigger_timestamp_s"),
    "WorkerStartupMetrics": _fields(
        "master_dag_id resource_configuration start_time_ms end_time_ms state initial_task_ids"
    ),
    "UserDAGSubmissionMetrics": _fields("dag_submission_time_ms"),
    "FullDAGPrepareTime": _fields("download_time_ms create_subdags_time_ms serialized_size_bytes"),
    "DAGResourceUsageMetrics": _fields("master_dag_id run_time_seconds cpu_seconds gb_seconds memory_bytes cost"),
    "PlanOutput": _fields(
        "planner_name sla nodes_info critical_path_node_ids prediction_sample_counts"
        " total_time_waiting_for_worker_startup_ms total_downloadable_input_size_bytes"
        " total_uploadable_output_size_bytes"
    ),
    "PlanPredictionSampleCounts": _fields(
        "previous_instances for_download_speed for_upload_speed for_execution_time for_output_size"
    ),
    "PlanningTaskInfo": _fields(
        "node_ref serialized_input_size serialized_output_size downloadable_input_size_bytes"
        " uploadable_output_size_bytes worker_startup_state tp_worker_startup_time_ms tp_download_time_ms"
        " tp_exec_time_ms tp_upload_time_ms total_download_time_ms earliest_start_ms task_completion_time_ms"
    ),
}
"""The engine's metric classes and the fields they are known to have, stored or not."""


class Fields:
    """The fields of one record, read by name and type.

    A field its class is not known to have is counted in `unknown` under '<class>.<field>' and summarised in `extra`.
    The parts of a record share both with it; `path` says where in it they lie.
    """

    def __init__(
        self, record: Value, class_name: str, unknown: Counter[str], extra: dict[str, Any], path: str = ""
    ) -> None:
        if not isinstance(record, Record) or record.class_name != class_name:
            raise Refused("wrong_type", f"{path.rstrip('.') or 'the value'} is {describe(record)}, not a {class_name}")
        self.extra = extra
        self._unknown = unknown
        self._path = path
        self._fields = record.fields
        known = KNOWN_FIELDS[class_name]
        for name in [name for name in self._fields if name not in known]:
            kept = clean(name[:100])
            counted = f"{class_name}.{kept}"
            if len(extra) < MAX_EXTRA_FIELDS:
                extra[path + kept] = summary(self._fields[name])
            if counted in unknown or len(unknown) < MAX_UNKNOWN_NAMES:
                unknown[counted] += 1

    def raw(self, name: str) -> Value:
        """The field as it is, None where it is missing."""
        return self._fields.get(name)

    def number(self, name: str) -> float | None:
        """A DOUBLE. NaN and infinities are None and noted."""
        value = self._finite(name)
        return None if value is None else float(value)

    def integer(self, name: str) -> int | None:
        """A BIGINT; fractions, which predictions have, are rounded."""
        return self._integer(name, _BIGINT)

    def small_integer(self, name: str) -> int | None:
        """An INTEGER."""
        return self._integer(name, _INTEGER)

    def text(self, name: str) -> str | None:
        """A VARCHAR."""
        value = self.raw(name)
        return None if value is None else self._text(name, value)

    def texts(self, name: str) -> list[str] | None:
        """A VARCHAR[]."""
        value = self.raw(name)
        if value is None:
            return None
        if not isinstance(value, (list, tuple)):
            raise self._refused(name, f"{describe(value)}, not a list of texts")
        if len(value) > MAX_TEXTS:
            raise Refused("too_large", f"{self._path}{name} has more than {MAX_TEXTS} texts")
        return [self._text(name, text) for text in value]

    def choice(self, name: str, *choices: str) -> str | None:
        """One of a few words, in text or as an enum member. Another word is None and noted."""
        value = enum_value(self.raw(name))
        if value is None:
            return None
        word = self._text(name, value).lower()
        if word in choices:
            return word
        self.extra[self._path + name] = summary(value)
        return None

    def instant(self, name: str, *, unit_ms: float = 1.0) -> datetime | None:
        """A TIMESTAMP from a number since 1970 in units of `unit_ms`. 0 and -1 are unset; implausible ones are noted."""
        value = self.number(name)
        if value is None or value in (0, -1):
            return None
        moment = instant_of(value * unit_ms)
        if moment is None:
            self.extra[self._path + name] = value
        return moment

    def part(self, name: str, class_name: str) -> Fields:
        """A nested record; one without fields where it is missing."""
        value = self.raw(name)
        record = _nothing(class_name) if value is None else value
        return Fields(record, class_name, self._unknown, self.extra, f"{self._path}{name}.")

    def mapping(self, name: str) -> Iterator[tuple[str, Value]]:
        """The entries of a dictionary whose keys are texts; none where it is missing."""
        value = self.raw(name)
        if value is None:
            return
        if not isinstance(value, dict):
            raise self._refused(name, f"{describe(value)}, not a dict")
        for key, entry in value.items():
            yield identifier(key, self._path + name), entry

    def sequence(self, name: str) -> list[Value]:
        """The values of a list or tuple; none where it is missing."""
        value = self.raw(name)
        if value is None:
            return []
        if not isinstance(value, (list, tuple)):
            raise self._refused(name, f"{describe(value)}, not a list")
        return list(value)

    def _text(self, name: str, value: Value) -> str:
        if not isinstance(value, str):
            raise self._refused(name, f"{describe(value)}, not a text")
        if len(value) > MAX_TEXT:
            raise Refused("too_large", f"{self._path}{name} is longer than {MAX_TEXT} characters")
        return clean(value)

    def _finite(self, name: str) -> float | None:
        value = numeric(self.raw(name), self._path + name)
        if value is None or math.isfinite(value):
            return value
        self.extra[self._path + name] = summary(value)
        return None

    def _integer(self, name: str, limit: int) -> int | None:
        value = self._finite(name)
        if value is None:
            return None
        whole = round(value)
        if not -limit <= whole < limit:
            raise self._refused(name, "a number out of range")
        return whole

    def _refused(self, name: str, what: str) -> Refused:
        return Refused("wrong_type", f"{self._path}{name} is {what}")


class Effort:
    """Counts the parts of one value that are looked at: lists may be shared, so that few bytes hold very many."""

    def __init__(self) -> None:
        self.left = MAX_PARTS

    def elements(self, value: Value) -> list[Value]:
        """The elements of a list or tuple, none of anything else."""
        elements = list(value) if isinstance(value, (list, tuple)) else []
        self.left -= len(elements)
        if self.left < 0:
            raise Refused("too_large", f"has more than {MAX_PARTS} parts")
        return elements


def numeric(value: Value, where: str) -> float | None:
    """Return an int or float (that may be NaN) within the range of a DOUBLE, None for None."""
    value = numpy_scalar(value)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise Refused("wrong_type", f"{where} is {describe(value)}, not a number")
    if isinstance(value, int) and value.bit_length() > 1_023:
        raise Refused("wrong_type", f"{where} is a number out of range")
    return value


def _nothing(class_name: str) -> Record:
    return Record(Global("", class_name), ())


def numpy_scalar(value: Value) -> Value:
    """Return the number a pickled numpy scalar stands for, any other value as it is."""
    if not isinstance(value, Record) or value.class_name != "scalar" or not isinstance(value.args, tuple):
        return value
    if value.kind.module not in ("numpy._core.multiarray", "numpy.core.multiarray") or len(value.args) != 2:
        return value
    dtype, data = value.args
    if not isinstance(dtype, Record) or not isinstance(dtype.args, tuple) or not dtype.args:
        return value
    code = _NUMPY_FORMATS.get(dtype.args[0]) if isinstance(dtype.args[0], str) else None
    state = dtype.state if isinstance(dtype.state, tuple) else ()
    order = ">" if len(state) > 1 and state[1] == ">" else "<"
    if code is None or not isinstance(data, bytes) or len(data) != struct.calcsize(order + code):
        return value
    return struct.unpack(order + code, data)[0]


def enum_value(value: Value) -> Value:
    """Return the value of an enum member, any other value as it is."""
    if isinstance(value, Record) and isinstance(value.args, tuple) and len(value.args) == 1 and value.state is None:
        return value.args[0]
    return value


def instant_of(epoch_ms: float) -> datetime | None:
    """Return the instant in naive UTC, None when it lies outside the years 2000 to 2199."""
    if not _EARLIEST <= epoch_ms / 1000 < _LATEST:
        return None
    return _EPOCH + timedelta(microseconds=round(epoch_ms * 1000))


def identifier(value: Value, where: str) -> str:
    """Return a text that names something. It is never altered, so that two names stay two."""
    if not isinstance(value, str) or len(value) > MAX_TEXT or SURROGATES.search(value):
        raise Refused("wrong_type", f"{where} holds {describe(value)} where the name of something should be")
    return value


def summary(value: Value) -> str | int | float | bool | None:
    """Return what `extra` keeps of a value: a scalar as it is, a text cut, else its type. Always valid JSON."""
    value = numpy_scalar(value)
    if isinstance(value, str):
        return clean(value[:MAX_TEXT])
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if value is None or isinstance(value, bool) or (isinstance(value, int) and -_BIGINT <= value < _BIGINT):
        return value
    return describe(value)


def describe(value: Value) -> str:
    """Return in a few words what a value is."""
    if isinstance(value, Record):
        what = str(value.kind) if isinstance(value.kind, Global) else "object of no class"
    elif isinstance(value, Global):
        return f"the name {clean(str(value))[:200]}"
    elif isinstance(value, (list, tuple, dict, bytes)):
        what = f"{type(value).__name__} of {len(value)}"
    elif value is None:
        return "None"
    else:
        what = type(value).__name__
    return f"{'an' if what[:1] in 'aeiou' else 'a'} {clean(what[:200])}"
