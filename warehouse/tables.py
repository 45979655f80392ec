"""The tables, described once.

The DDL of the warehouse, the JSON Schema of flowdump and the reference page `docs/tables.md` are all made from
`TABLES`. Units are in the names: `_ms` are milliseconds, `_bytes` bytes, `_at` instants in UTC. Unknown is NULL.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its name, its DuckDB type and what it means."""

    name: str
    type: str
    meaning: str


@dataclass(frozen=True, slots=True)
class Table:
    """One table: what a row is, the columns that identify it together, and those of them that may be NULL.

    `belongs_to_source` says that rows come from files: they carry `file_id` and `extra`, a flowdump may hold them, and
    they leave with their source. A table with `repeats` may hold equal keys: its `key` only has to be there.
    """

    name: str
    grain: str
    key: tuple[str, ...]
    columns: tuple[Column, ...] = field(repr=False)
    may_be_null: tuple[str, ...] = ()
    repeats: bool = False
    belongs_to_source: bool = True

    @property
    def required(self) -> tuple[str, ...]:
        """The columns without which a row is refused."""
        return tuple(name for name in self.key if name not in self.may_be_null)

    @property
    def stored_columns(self) -> tuple[Column, ...]:
        """The columns of the table in the warehouse."""
        return (*self.columns, FILE_ID, EXTRA) if self.belongs_to_source else self.columns

    @property
    def types(self) -> dict[str, str]:
        """The DuckDB type of each column, by name."""
        return {column.name: column.type for column in self.stored_columns}


FILE_ID = Column("file_id", "VARCHAR", "the file (table `files`) the row came from; NULL for what a command wrote")
EXTRA = Column("extra", "JSON", "what the source had and the table has no column for")


def _columns(*rows: tuple[str, str, str]) -> tuple[Column, ...]:
    return tuple(Column(*row) for row in rows)


_RUN = ("run_id", "VARCHAR", "the workflow run")
_TASK = ("task_id", "VARCHAR", "the task, unique within the run")
_WORKER = ("worker_id", "VARCHAR", "the worker, unique within the run")
_MEMORY = ("memory_mb", "INTEGER", "memory of the worker in MB")
_SCENARIO = ("scenario", "VARCHAR", "what was simulated, as in `simulations`")

TABLES: tuple[Table, ...] = (
    Table(
        "runs",
        "one row per workflow run",
        ("run_id",),
        _columns(
            ("run_id", "VARCHAR", "the workflow run: one execution of a workflow"),
            ("engine", "VARCHAR", "the engine that ran it"),
            ("workflow", "VARCHAR", "name of the workflow"),
            ("structure_hash", "VARCHAR", "hash of the DAG's structure: runs that share it share a history"),
            ("planner", "VARCHAR", "planner that planned the run, else the one its tasks name"),
            ("sla", "VARCHAR", "'average', or 'p' and the percentile the planner was asked to aim at ('p90')"),
            (
                "sla_percentile",
                "DOUBLE",
                "the percentile as a number, 1 to 100; NULL for 'average' and where no SLA is recorded",
            ),
            ("submitted_at", "TIMESTAMP", "when the client submitted the run"),
            (
                "finished_at",
                "TIMESTAMP",
                "when the run ended, where the source records the run itself and not only its tasks",
            ),
            (
                "environment",
                "VARCHAR",
                "where it ran: a gateway, a region, a machine. Containers are shared within one",
            ),
            ("sink_task_id", "VARCHAR", "the last task of the DAG, whose output is the result"),
            ("expected_tasks", "BIGINT", "tasks in the DAG"),
            ("monitored_ms", "DOUBLE", "how long resource usage was sampled"),
            ("cpu_seconds", "DOUBLE", "CPU time of the run's containers, in seconds, as recorded"),
            (
                "gb_seconds",
                "DOUBLE",
                "memory times time in GB-seconds, as recorded (an engine may record 0 where it saw nothing)",
            ),
            ("engine_version", "VARCHAR", "version of the engine"),
        ),
    ),
    Table(
        "run_tags",
        "one row per tag of a run",
        ("run_id", "tag"),
        _columns(_RUN, ("tag", "VARCHAR", "name of the tag"), ("value", "VARCHAR", "its value")),
    ),
    Table(
        "tasks",
        "one row per task attempt that left metrics",
        ("run_id", "task_id", "attempt"),
        _columns(
            _RUN,
            _TASK,
            ("attempt", "INTEGER", "number of the attempt, from 1"),
            ("function", "VARCHAR", "the function (or process) the task runs"),
            ("kind", "VARCHAR", "'function' or 'executable'"),
            _WORKER,
            _MEMORY,
            ("started_at", "TIMESTAMP", "when the worker began to handle the task"),
            (
                "input_wait_ms",
                "DOUBLE",
                "waiting for inputs, their download included; NULL where the engine does not record it",
            ),
            ("execution_ms", "DOUBLE", "running the function itself"),
            ("upload_ms", "DOUBLE", "uploading the output; NULL when it was not uploaded"),
            ("counters_ms", "DOUBLE", "updating the dependency counters of downstream tasks"),
            ("invocation_ms", "DOUBLE", "launching the workers of downstream tasks"),
            ("launched_workers", "INTEGER", "workers launched by the task"),
            ("literal_bytes", "BIGINT", "size of the arguments given in the workflow itself"),
            ("output_bytes", "BIGINT", "serialised size of the output"),
            ("max_memory_mb", "DOUBLE", "largest memory in use, in MB"),
            ("libraries", "VARCHAR[]", "third-party libraries the function imports"),
            ("planner", "VARCHAR", "planner the worker says it ran under"),
            ("status", "VARCHAR", "'succeeded', 'failed', 'killed', or NULL where the source does not say"),
            ("exit_code", "INTEGER", "exit code of an executable"),
            ("error_type", "VARCHAR", "class of the error"),
            ("error_message", "VARCHAR", "text of the error"),
        ),
        may_be_null=("attempt",),
    ),
    Table(
        "task_inputs",
        "one row per input of a task",
        ("run_id", "task_id", "object_id"),
        _columns(
            _RUN,
            _TASK,
            ("object_id", "VARCHAR", "the object read"),
            ("upstream_task_id", "VARCHAR", "the task that made it; NULL for an input of the workflow"),
            ("input_bytes", "BIGINT", "its serialised size"),
            ("download_ms", "DOUBLE", "time to download it; NULL: it was already on the worker"),
            ("preloaded", "BOOLEAN", "whether a pre-load fetched it"),
        ),
    ),
    Table(
        "invocations",
        "one row per function invocation, that is one worker launched",
        ("invocation_id",),
        _columns(
            ("invocation_id", "VARCHAR", "the invocation"),
            _RUN,
            ("worker_id", "VARCHAR", "the worker launched; owns the tasks of its (run_id, worker_id)"),
            ("function", "VARCHAR", "the deployed function, where each has its own containers"),
            ("container_id", "VARCHAR", "the container that served it, where the source says"),
            _MEMORY,
            ("requested_at", "TIMESTAMP", "when the launch was requested"),
            ("ready_at", "TIMESTAMP", "when the worker was ready; NULL: it never was"),
            ("finished_at", "TIMESTAMP", "when the invocation ended"),
            ("reported_state", "VARCHAR", "'cold' or 'warm', as the source reports it"),
            ("init_ms", "DOUBLE", "initialisation of the container"),
            ("billed_ms", "DOUBLE", "billed duration"),
            ("max_memory_mb", "DOUBLE", "largest memory in use, in MB"),
            ("initial_task_ids", "VARCHAR[]", "tasks the worker was launched with"),
            (
                "status",
                "VARCHAR",
                "how it ended: 'succeeded', 'failed', 'killed' or the source's own word; NULL: not said",
            ),
            ("error_type", "VARCHAR", "class of the error"),
            (
                "logs_dropped",
                "BOOLEAN",
                "whether the platform says that it lost log lines around it, so that what is missing proves nothing",
            ),
            ("phases", "MAP(VARCHAR, DOUBLE)", "further phases in ms, by name"),
        ),
    ),
    Table(
        "edges",
        "one row per dependency of the DAG",
        ("run_id", "upstream_task_id", "task_id"),
        _columns(
            _RUN,
            ("upstream_task_id", "VARCHAR", "the task whose output is needed"),
            ("task_id", "VARCHAR", "the task that needs it"),
        ),
    ),
    Table(
        "plans",
        "one row per planned run",
        ("run_id",),
        _columns(
            _RUN,
            ("planner", "VARCHAR", "planner that made the plan"),
            ("sla", "VARCHAR", "'average' or 'p' and the percentile"),
            ("sla_percentile", "DOUBLE", "the percentile as a number, NULL for 'average'"),
            ("previous_runs", "BIGINT", "earlier runs the plan could learn from"),
            ("execution_samples", "BIGINT", "samples behind the predicted execution times"),
            ("download_samples", "BIGINT", "samples behind the predicted download times"),
            ("upload_samples", "BIGINT", "samples behind the predicted upload times"),
            ("output_samples", "BIGINT", "samples behind the predicted output sizes"),
        ),
    ),
    Table(
        "planned_tasks",
        "one row per task of a planned run: what the planner predicted",
        ("run_id", "task_id"),
        _columns(
            _RUN,
            _TASK,
            ("worker_id", "VARCHAR", "worker the task was planned on; NULL: any (flexible)"),
            _MEMORY,
            ("input_bytes", "BIGINT", "predicted size of all inputs"),
            ("output_bytes", "BIGINT", "predicted size of the output"),
            ("download_bytes", "BIGINT", "predicted bytes to download"),
            ("upload_bytes", "BIGINT", "predicted bytes to upload"),
            (
                "startup_state",
                "VARCHAR",
                "predicted state of the worker's start, 'cold' or 'warm'; NULL: no start awaited",
            ),
            ("startup_ms", "DOUBLE", "predicted start-up of the worker"),
            ("input_wait_ms", "DOUBLE", "predicted wait for inputs on the task's path"),
            ("execution_ms", "DOUBLE", "predicted execution"),
            ("upload_ms", "DOUBLE", "predicted upload"),
            ("download_ms", "DOUBLE", "predicted download, summed over inputs"),
            ("start_offset_ms", "DOUBLE", "predicted earliest start after submission"),
            ("completion_offset_ms", "DOUBLE", "predicted completion after submission"),
            ("on_critical_path", "BOOLEAN", "whether the planner put it on the critical path"),
        ),
    ),
    Table(
        "optimizations",
        "one row per task, optimisation and event; applied rows repeat as recorded",
        ("run_id", "task_id", "optimization", "stage"),
        _columns(
            _RUN,
            _TASK,
            ("optimization", "VARCHAR", "'preload', 'prewarm', 'taskdup', 'wukong', ..."),
            ("stage", "VARCHAR", "'assigned' by the planner or 'applied' by the worker"),
            ("target_task_id", "VARCHAR", "the upstream task pre-loaded or duplicated"),
            ("target_worker_id", "VARCHAR", "the worker pre-warmed"),
            ("happened_at", "TIMESTAMP", "when it was applied, where recorded"),
            ("delay_ms", "DOUBLE", "planned delay before it acts"),
        ),
        repeats=True,
    ),
    Table(
        "dag_loads",
        "one row per time a worker fetched the DAG",
        ("run_id",),
        _columns(
            _RUN,
            ("dag_bytes", "BIGINT", "serialised size of the DAG"),
            ("download_ms", "DOUBLE", "time to download it; 0 where it came with the invocation"),
            ("subdag_ms", "DOUBLE", "time to cut out the worker's part"),
        ),
        repeats=True,
    ),
    Table(
        "predictions",
        "one row per predictor, predicted thing, metric and quantile; written by evaluate and simulate",
        ("predictor", "level", "run_id", "task_id", "invocation_id", "metric", "sla_percentile"),
        _columns(
            ("predictor", "VARCHAR", "who predicted; the recorded plan is 'engine' and not repeated here"),
            ("level", "VARCHAR", "'run', 'task' or 'invocation'"),
            _RUN,
            ("task_id", "VARCHAR", "the task; of an invocation, the first of its worker's initial tasks"),
            ("invocation_id", "VARCHAR", "the invocation"),
            ("metric", "VARCHAR", "what is predicted"),
            ("sla_percentile", "DOUBLE", "the quantile predicted, 1 to 100"),
            ("predicted", "DOUBLE", "the prediction, in the metric's unit"),
            ("predicted_at", "TIMESTAMP", "instant of the latest history used"),
        ),
        may_be_null=("task_id", "invocation_id", "sla_percentile"),
    ),
    Table(
        "predictor_scores",
        "one row per predictor, metric, percentile and group of predictions: how good they were; written by evaluate",
        ("predictor", "level", "metric", "sla_percentile", "rows_of", "group_by", "group_value"),
        _columns(
            ("predictor", "VARCHAR", "who predicted; the recorded plan is 'engine'"),
            ("level", "VARCHAR", "'run', 'task' or 'invocation'"),
            ("metric", "VARCHAR", "what is predicted"),
            ("sla_percentile", "DOUBLE", "the quantile predicted, 1 to 100; NULL: a prediction of no quantile"),
            (
                "rows_of",
                "VARCHAR",
                "'all' that this predictor predicted, or 'paired': only what the recorded plans predicted too, the same runs and tasks",
            ),
            (
                "group_by",
                "VARCHAR",
                "'all', 'planner', 'workflow', 'function', 'environment', 'memory', 'size', 'history' or, where 'paired', 'sla'",
            ),
            (
                "group_value",
                "VARCHAR",
                "the planner, workflow, ... the predictions are of; '' where `group_by` is 'all'; of a 'size' the lower end of its decade in bytes, of 'history' how many earlier runs of the same structure there were, of an 'sla' what the recorded plan aimed at",
            ),
            ("n", "BIGINT", "predictions compared with what happened"),
            ("runs", "BIGINT", "runs they come from"),
            ("median_relative_error", "DOUBLE", "median of |predicted - actual| / actual"),
            ("median_relative_error_low", "DOUBLE", "lower end of its 95 % interval, resampled by run"),
            ("median_relative_error_high", "DOUBLE", "upper end of its 95 % interval, resampled by run"),
            ("pinball_loss", "DOUBLE", "mean pinball loss at the percentile, in the metric's unit"),
            ("brier_score", "DOUBLE", "mean squared error of a probability; metric 'state' only"),
            (
                "coverage",
                "DOUBLE",
                "share of actual values at or below the prediction, where that is above 0",
            ),
            ("coverage_low", "DOUBLE", "lower end of its 95 % interval, resampled by run"),
            ("coverage_high", "DOUBLE", "upper end of its 95 % interval, resampled by run"),
            (
                "sharpness",
                "DOUBLE",
                "median width of the interval between the predicted 50th and this percentile, relative to the 50th: smaller is sharper",
            ),
            ("median_log_ratio", "DOUBLE", "bias: median of ln(predicted / actual), above 0 where predicted too high"),
            ("engine_median_relative_error", "DOUBLE", "that of the recorded plans for the same rows; 'paired' only"),
            ("error_ratio", "DOUBLE", "the predictor's median relative error over the plans'; 'paired' only"),
            ("error_ratio_low", "DOUBLE", "lower end of its 95 % interval, resampled by run"),
            ("error_ratio_high", "DOUBLE", "upper end of its 95 % interval, resampled by run"),
            (
                "floor_relative_error",
                "DOUBLE",
                "median relative error of predicting each execution by its near-identical ones, which a predictor hardly gets below; where `group_by` is 'all'",
            ),
        ),
        may_be_null=("sla_percentile",),
    ),
    Table(
        "history_budgets",
        "one row per predictor, metric and amount of history kept: how good predictions were with it; written by evaluate",
        ("predictor", "policy", "kept", "level", "metric"),
        _columns(
            ("predictor", "VARCHAR", "who predicted"),
            (
                "policy",
                "VARCHAR",
                "what was kept: 'all', the 'last_runs', or a 'reservoir' of samples of each function",
            ),
            ("kept", "BIGINT", "runs, or samples per function, kept at most; NULL where the policy is 'all'"),
            ("level", "VARCHAR", "'run', 'task' or 'invocation'"),
            ("metric", "VARCHAR", "what is predicted"),
            ("runs_kept", "DOUBLE", "runs the history held, the mean over predictions"),
            ("rows_kept", "DOUBLE", "rows the history held, the mean over predictions"),
            ("bytes_kept", "DOUBLE", "size of those rows as a Parquet flowdump, the mean over predictions"),
            ("n", "BIGINT", "predictions compared with what happened"),
            ("median_relative_error", "DOUBLE", "median of |predicted - actual| / actual"),
            ("pinball_loss", "DOUBLE", "mean pinball loss, in the metric's unit"),
            ("coverage_90", "DOUBLE", "share of actual values at or below the predicted 90th percentile"),
            ("relative_to_all", "DOUBLE", "median relative error over that with the policy 'all'"),
        ),
        may_be_null=("kept",),
    ),
    Table(
        "simulations",
        "one row per run and scenario: how the run went when it was played forward; written by simulate and evaluate",
        ("run_id", "scenario"),
        _columns(
            _RUN,
            (
                "scenario",
                "VARCHAR",
                "'recorded' (a replay of the recorded durations), 'ahead' (by evaluate: durations predicted from the runs known at its submission; of workflows whose width varies also 'ahead; width unknown', 'ahead; two static runs' and, replayed so, 'recorded; two static runs'), 'predicted' (durations by the trained predictor), or what was changed: 'memory=1024', 'predicted; memory=1024'",
            ),
            ("predictor", "VARCHAR", "whose durations: 'recorded', or the predictor's name"),
            ("draws", "BIGINT", "times it was played, each with another draw of what is not known"),
            ("seed", "BIGINT", "what the draws were made from: the same seed draws the same"),
            ("makespan_ms", "DOUBLE", "makespan, the median over draws"),
            ("makespan_low_ms", "DOUBLE", "its 5th percentile over draws"),
            ("makespan_high_ms", "DOUBLE", "its 95th percentile over draws"),
            ("gb_seconds", "DOUBLE", "memory times active time in GB-seconds, the median over draws"),
            ("gb_seconds_low", "DOUBLE", "its 5th percentile over draws"),
            ("gb_seconds_high", "DOUBLE", "its 95th percentile over draws"),
            ("cold_starts", "DOUBLE", "workers that started cold, the mean over draws"),
            ("warm_starts", "DOUBLE", "workers that started warm, the mean over draws"),
            ("startup_ms", "DOUBLE", "start-up, summed over workers, the median over draws"),
            ("active_ms", "DOUBLE", "active periods of workers, start-up included, summed, the median over draws"),
            (
                "baseline_makespan_ms",
                "DOUBLE",
                "makespan of the same run and draws without the change, the median; NULL where nothing was changed",
            ),
            ("baseline_gb_seconds", "DOUBLE", "GB-seconds of the same run and draws without the change, the median"),
            ("baseline_cold_starts", "DOUBLE", "cold starts of the same run and draws without the change, the mean"),
            ("difference_ms", "DOUBLE", "makespan minus the baseline's, draw by draw, the median"),
            ("difference_low_ms", "DOUBLE", "its 5th percentile over draws"),
            ("difference_high_ms", "DOUBLE", "its 95th percentile over draws"),
            (
                "largest_start_error",
                "DOUBLE",
                "largest |simulated - observed| start of a task, over the observed makespan; replay only",
            ),
            (
                "replays",
                "BOOLEAN",
                "whether the plain replay of this run comes close enough to stand for it: what-if answers of a run that does not are left out; NULL: not tried",
            ),
            ("warnings", "VARCHAR[]", "in what the change leaves what the data covers"),
        ),
    ),
    Table(
        "simulated_tasks",
        "one row per task of a simulation, in the draw whose makespan is the median; written by simulate and evaluate",
        ("run_id", "scenario", "task_id"),
        _columns(
            _RUN,
            _SCENARIO,
            _TASK,
            _WORKER,
            _MEMORY,
            ("start_offset_ms", "DOUBLE", "when the worker begins to handle the task, after submission"),
            ("input_wait_ms", "DOUBLE", "waiting for inputs, their download included"),
            ("execution_ms", "DOUBLE", "running the function itself"),
            ("upload_ms", "DOUBLE", "uploading the output"),
            ("finish_offset_ms", "DOUBLE", "when its output is available, after submission"),
            ("release_offset_ms", "DOUBLE", "when the worker is done with the task, after submission"),
        ),
    ),
    Table(
        "simulated_invocations",
        "one row per worker of a simulation, in the draw whose makespan is the median; written by simulate and evaluate",
        ("run_id", "scenario", "worker_id"),
        _columns(
            _RUN,
            _SCENARIO,
            _WORKER,
            _MEMORY,
            ("requested_offset_ms", "DOUBLE", "when the worker is requested, after submission"),
            ("ready_offset_ms", "DOUBLE", "when it is ready, after submission; NULL: never"),
            ("released_offset_ms", "DOUBLE", "when it is released, after submission"),
            ("state", "VARCHAR", "how it starts in that draw: 'cold' or 'warm'"),
            ("startup_ms", "DOUBLE", "its start-up"),
            ("cold_probability", "DOUBLE", "share of all draws in which it starts cold"),
        ),
    ),
    Table(
        "prices",
        "one row per environment: what computing costs there",
        ("environment",),
        _columns(
            ("environment", "VARCHAR", "the environment; 'default' for every other"),
            ("gb_second_usd", "DOUBLE", "price of a GB-second in US dollars"),
            ("request_usd", "DOUBLE", "price of an invocation in US dollars"),
            ("source", "VARCHAR", "where the price was published"),
            ("as_of", "DATE", "the day it was read"),
        ),
    ),
    Table(
        "files",
        "one row per object ingested: the manifest",
        ("file_id",),
        _columns(
            ("file_id", "VARCHAR", "the object, named by its address"),
            ("source", "VARCHAR", "the source it was listed in"),
            ("key", "VARCHAR", "its place within the source; for a live Redis, the run"),
            ("uri", "VARCHAR", "its whole address, without secrets"),
            ("etag", "VARCHAR", "changes when the object may have changed"),
            ("size_bytes", "BIGINT", "size as listed"),
            ("sha256", "VARCHAR", "hash of the bytes read"),
            ("format", "VARCHAR", "the format it was read as"),
            ("parser_version", "INTEGER", "version of the reader; a newer one reads the object again"),
            (
                "status",
                "VARCHAR",
                "'loaded', 'failed', 'missing' (gone from its source; rows stay) or 'duplicate' (all its runs belong to others)",
            ),
            ("message", "VARCHAR", "why it failed"),
            ("rows", "BIGINT", "rows read from it"),
            ("rejected", "BIGINT", "lines or values refused (table `rejects`)"),
            ("skipped", "BIGINT", "keys, lines or spans that are no metrics"),
            ("duplicate_runs", "BIGINT", "runs it shares with a source that knows more of them"),
            (
                "unknown_fields",
                "MAP(VARCHAR, BIGINT)",
                "fields without a column, kept in `extra`, and how often they came",
            ),
            ("started_at", "TIMESTAMP", "when reading began"),
            ("finished_at", "TIMESTAMP", "when reading ended"),
        ),
        belongs_to_source=False,
    ),
    Table(
        "rejects",
        "one row per line or value that was refused",
        ("file_id",),
        _columns(
            ("file_id", "VARCHAR", "the file it came from"),
            ("location", "VARCHAR", "line number or key"),
            ("reason", "VARCHAR", "one of a closed list"),
            ("detail", "VARCHAR", "what was wrong"),
            ("excerpt", "VARCHAR", "its beginning"),
        ),
        repeats=True,
        belongs_to_source=False,
    ),
)

FACTS: dict[str, Table] = {table.name: table for table in TABLES if table.belongs_to_source}
RUN_FACTS: tuple[str, ...] = tuple(name for name, table in FACTS.items() if "run_id" in table.types)

REJECT_REASONS: dict[str, str] = {
    "no_such_path": "nothing is there",
    "unreadable": "it cannot be opened or read",
    "refused": "the server refused the connection or the credentials",
    "unavailable": "the server failed or did not answer, after retries",
    "empty": "it has no bytes",
    "unknown_format": "no reader recognises it",
    "truncated": "it ends too early",
    "checksum": "its checksum does not match its bytes",
    "unsupported": "a version or an encoding that is not read",
    "not_json": "the line is not a JSON object",
    "wrong_type": "a value does not have its column's type",
    "missing_key": "a column that identifies the row is missing",
    "duplicate_key": "another row of the same dump has the same key",
    "not_a_pickle": "the value is not a pickle",
    "forbidden_pickle": "the pickle asks for what is never done",
    "wrong_class": "the value is not of the class its key demands",
    "too_large": "it is larger than what is read",
    "too_deep": "it nests deeper than what is read",
    "not_the_format": "the line is not of the form that its format has",
    "out_of_range": "a number or an instant that cannot be: a negative duration, a year outside 2000 to 2199",
}
"""Why something is refused: the closed list behind `rejects.reason`."""
