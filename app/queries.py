"""The SQL behind the pages. Values are parameters; every page shows the text it ran."""

from __future__ import annotations

from warehouse.tables import TABLES
from warehouse.views import core_views

GENERATION = "select generation, published_at, flowscope_version from generation_info"

OVERVIEW = """
select
    count(*) as runs,
    count(*) filter (where is_complete) as complete,
    count(*) filter (where is_complete is false) as incomplete,
    count(*) filter (where is_complete is null) as undecided,
    count(distinct workflow) as workflows,
    count(distinct planner) as planners,
    count(distinct environment) as environments,
    count(distinct engine) as engines,
    count(*) filter (where is_complete and tasks_expected is null) as ended,
    min(submitted_at) as first_submitted_at,
    max(submitted_at) as last_submitted_at,
    (select count(*) from tasks) as tasks,
    coalesce(sum(workers), 0)::bigint as workers,
    (select count(*) from plans) as plans,
    count(*) filter (where run_id in (select run_id from runs where extra ->> 'submitted_at_from' = 'run_id'))
        as submitted_at_from_run_id
from run_summary
"""

BY_ENGINE = """
-- What is loaded by engine: its runs, how many of them have a plan or say which tasks they have, and what was recorded of them.
with of_run as (
    select run_id, count(*) as tasks, bool_or(kind = 'executable') as has_executables
    from tasks
    group by run_id
),

launched as (
    select run_id, count(*) as invocations from invocations group by run_id
)
select
    summary.engine,
    string_agg(distinct files.format, ', ' order by files.format) as formats,
    count(*) as runs,
    count(distinct summary.workflow) as workflows,
    count(plans.run_id) as planned_runs,
    count(summary.tasks_expected) as runs_of_known_dag,
    coalesce(sum(of_run.tasks), 0)::bigint as tasks,
    count(*) filter (where of_run.has_executables) as runs_of_executables,
    coalesce(sum(launched.invocations), 0)::bigint as invocations,
    min(summary.submitted_at) as first_submitted_at,
    max(summary.submitted_at) as last_submitted_at
from run_summary as summary
inner join runs on summary.run_id = runs.run_id
left join files on runs.file_id = files.file_id
left join plans on summary.run_id = plans.run_id
left join of_run on summary.run_id = of_run.run_id
left join launched on summary.run_id = launched.run_id
group by summary.engine
order by runs desc, summary.engine nulls last
"""

SOURCES = """
select
    source,
    string_agg(distinct format, ', ' order by format) as format,
    count(*) as objects,
    count(*) filter (where status = 'loaded') as loaded,
    count(*) filter (where status = 'failed') as failed,
    count(*) filter (where status = 'missing') as missing,
    coalesce(sum(rows), 0)::bigint as rows,
    coalesce(sum(rejected), 0)::bigint as rejected,
    coalesce(sum(skipped), 0)::bigint as skipped,
    coalesce(sum(duplicate_runs), 0)::bigint as duplicate_runs,
    max(finished_at) as last_read_at
from files
group by source
order by source
"""

FAILED_FILES = "select source, key, message from files where status = 'failed' order by source, key"

REJECTS_BY_REASON = """
select reason, count(*) as rejects, count(distinct file_id) as files, min(detail) as example
from rejects
group by reason
order by rejects desc, reason
"""

LEFT_OUT = """
-- Runs that some conclusions cannot use, per workflow and planner: incomplete ones, and those without a plan, by reason.
-- dag_unknown: their end is recorded, but not which tasks they have.
with planning as (
    select distinct coalesce(runs.engine, '') as engine
    from plans
    inner join runs on plans.run_id = runs.run_id
),

planned as (
    select
        summary.workflow, summary.planner, summary.is_complete, plans.run_id is null as without_plan,
        coalesce(runs.extra ->> 'submitted_at_from' = 'run_id', false) as submission_lost,
        summary.is_complete and summary.tasks_expected is null as dag_unknown,
        plans.run_id is null and coalesce(summary.engine, '') not in (select engine from planning) as is_unplanned,
        row_number() over (
            partition by runs.file_id, summary.structure_hash, summary.planner order by summary.submitted_at, summary.run_id
        ) as nth_run
    from run_summary as summary
    inner join runs on summary.run_id = runs.run_id
    left join plans on summary.run_id = plans.run_id
)
select
    workflow,
    planner,
    count(*) as runs,
    count(*) filter (where is_complete is not true) as incomplete,
    count(*) filter (where without_plan) as without_plan,
    count(*) filter (where dag_unknown) as dag_unknown,
    count(*) filter (where is_unplanned) as no_plans_in_source,
    count(*) filter (where without_plan and not is_unplanned and nth_run = 1 and not submission_lost) as first_of_its_history,
    count(*) filter (where without_plan and not is_unplanned and submission_lost) as submission_lost,
    count(*) filter (where without_plan and not is_unplanned and nth_run > 1 and not submission_lost) as reason_unknown
from planned
group by workflow, planner
order by workflow nulls last, planner nulls last
"""

MAKESPAN_BY_PLANNER = """
-- Makespan of complete runs: median and middle half per workflow and planner. SLAs and environments are mixed.
select
    workflow,
    coalesce(planner, '(none)') as planner,
    count(makespan_ms) as n,
    median(makespan_ms) / 1000 as median_s,
    quantile_cont(makespan_ms, 0.25) / 1000 as low_s,
    quantile_cont(makespan_ms, 0.75) / 1000 as high_s
from selected_runs
where is_complete and makespan_ms is not null
group by workflow, planner
order by workflow, planner
"""

WORKFLOWS = "select workflow, count(*) as runs from run_summary group by workflow order by runs desc, workflow"

PLANNERS = "select distinct coalesce(planner, '(none)') as planner from run_summary order by planner"

PREDICTED = """
select distinct errors.predictor, errors.level, errors.metric
from prediction_errors as errors
inner join selected_runs as runs on errors.run_id = runs.run_id
where runs.submitted_at is not null and errors.metric <> 'state'
order by errors.predictor = 'engine' desc, errors.predictor, errors.level, errors.metric
"""

ACCURACY = """
-- How one metric's accuracy moved over the runs selected, per planner and SLA: the figures of the view
-- prediction_accuracy_over_time, counted again for this selection. Runs of different workflows follow each other in order of submission.
with ordered as (
    select
        coalesce(runs.planner, '(none)') as planner,
        coalesce(errors.sla, '(none)') as sla,
        errors.run_id,
        runs.submitted_at,
        errors.relative_error,
        errors.log_ratio,
        errors.covered::int as covered,
        dense_rank() over (
            partition by runs.planner, errors.sla order by runs.submitted_at, errors.run_id
        ) as run_ordinal
    from prediction_errors as errors
    inner join selected_runs as runs on errors.run_id = runs.run_id
    where
        errors.predictor = $predictor and errors.level = $level and errors.metric = $metric
        and runs.submitted_at is not null
),

moving as (
    select
        *,
        median(relative_error) over this_run as relative_error_of_run,
        median(relative_error) over last_runs as rolling_relative_error,
        median(relative_error) over all_runs as expanding_relative_error,
        median(log_ratio) over last_runs as rolling_log_ratio,
        median(log_ratio) over all_runs as expanding_log_ratio,
        avg(covered) over last_runs as rolling_coverage,
        avg(covered) over all_runs as expanding_coverage,
        count(relative_error) over last_runs as rolling_n,
        count(relative_error) over all_runs as n,
        row_number() over (partition by planner, sla, run_ordinal) as place
    from ordered
    window
        this_run as (partition by planner, sla, run_ordinal),
        last_runs as (
            partition by planner, sla order by run_ordinal range between 19 preceding and current row
        ),
        all_runs as (
            partition by planner, sla order by run_ordinal range between unbounded preceding and current row
        )
)
select
    planner, sla, run_ordinal, submitted_at, run_id, relative_error_of_run as relative_error, rolling_relative_error,
    expanding_relative_error, rolling_log_ratio, expanding_log_ratio, rolling_coverage, expanding_coverage, rolling_n, n
from moving
where place = 1
order by planner, sla, run_ordinal
"""

NO_ERROR = """
-- Predicted values without a relative error, and why.
select
    count(*) as predictions,
    count(distinct errors.run_id) as runs,
    count(relative_error) as compared,
    count(*) filter (where actual = 0) as actual_zero,
    count(*) filter (where actual is null and runs.is_complete is not true) as run_incomplete,
    count(*) filter (where actual is null and runs.is_complete) as actual_unknown,
    count(*) filter (where predicted is null and actual <> 0) as not_predicted,
    count(*) filter (where runs.submitted_at is null) as without_submission
from prediction_errors as errors
inner join selected_runs as runs on errors.run_id = runs.run_id
where predictor = $predictor and level = $level and metric = $metric
"""

RUNS = """
select run_id, engine, workflow, planner, sla, submitted_at, is_complete
from selected_runs
order by submitted_at desc nulls last, run_id
limit $most
"""

RUN = """
select
    summary.*,
    runs.extra ->> 'submitted_at_from' as submitted_at_from,
    runs.sink_task_id,
    (select count(started_at) from tasks where tasks.run_id = summary.run_id) as timed_tasks,
    plans.run_id is not null as has_plan,
    exists (
        select 1 from plans as others inner join runs as own on others.run_id = own.run_id
        where own.engine is not distinct from summary.engine
    ) as engine_plans,
    plans.previous_runs,
    (select count(*) from planned_tasks where planned_tasks.run_id = summary.run_id) as planned_tasks,
    (select predicted from prediction_errors as errors
     where errors.run_id = summary.run_id and predictor = 'engine' and level = 'run' and metric = 'makespan' limit 1)
        as predicted_makespan_ms
from run_summary as summary
inner join runs on summary.run_id = runs.run_id
left join plans on summary.run_id = plans.run_id
where summary.run_id = $run
"""

_ZERO = """
with zero as (
    -- The submission; where it is not known, the first thing recorded.
    select coalesce(
        max(runs.submitted_at),
        least(
            (select min(requested_at) from invocations where run_id = $run),
            (select min(started_at) from tasks where run_id = $run)
        )
    ) as instant
    from runs where run_id = $run
),
"""
"""What the times of a run are counted from: the beginning of the queries that do."""

RUN_TASKS = f"""
-- The run's tasks: what was recorded, and beside it what was planned. One row per task and attempt; tasks of the DAG
-- that left no metrics are there too, without recorded values. start_ms: since the submission, or the first thing recorded.{_ZERO}
named as (
    select task_id from tasks where run_id = $run
    union
    select task_id from edges where run_id = $run
    union
    select upstream_task_id from edges where run_id = $run
    union
    select task_id from planned_tasks where run_id = $run
),

longest as (
    select task_id, max(download_ms) as longest_download_ms
    from task_inputs
    where run_id = $run
    group by task_id
)
select
    named.task_id,
    times.attempt,
    coalesce(times.function, split_part(named.task_id, '+', 1)) as function,
    times.task_id is not null as left_metrics,
    times.is_last_attempt,
    times.status,
    times.worker_id,
    times.memory_mb,
    times.started_at,
    date_diff('microsecond', zero.instant, times.started_at) / 1000.0 as start_ms,
    times.start_offset_ms,
    times.finish_offset_ms,
    times.input_wait_ms,
    times.execution_ms,
    times.upload_ms,
    times.counters_ms,
    times.invocation_ms,
    times.download_ms,
    case when times.is_last_attempt then longest.longest_download_ms end as longest_download_ms,
    times.inputs_bytes,
    times.downloaded_bytes,
    times.output_bytes,
    times.launched_workers,
    times.max_memory_mb,
    times.error_type,
    times.error_message,
    planned.task_id is not null as planned,
    planned.execution_ms as predicted_execution_ms,
    planned.download_ms as predicted_download_ms,
    planned.upload_ms as predicted_upload_ms,
    planned.output_bytes as predicted_output_bytes,
    planned.start_offset_ms as predicted_start_offset_ms,
    planned.completion_offset_ms as predicted_completion_offset_ms,
    planned.on_critical_path
from named
cross join zero
left join task_times as times on times.run_id = $run and named.task_id = times.task_id
left join longest on named.task_id = longest.task_id
left join planned_tasks as planned on planned.run_id = $run and named.task_id = planned.task_id
order by times.started_at nulls last, named.task_id, times.attempt
"""

RUN_WORKERS = f"""
-- The workers launched for the run, offsets from its submission (from the first thing recorded where there is none).
-- reused_ms: when a warm start, of this run or another, most probably took over the container.{_ZERO}
reused as (
    select
        reused_invocation_id as invocation_id,
        min(requested_at) as reused_at,
        arg_min(worker_id, requested_at) as reused_by,
        arg_min(run_id, requested_at) = $run as reused_here
    from worker_active_periods
    where reused_invocation_id in (select invocation_id from invocations where run_id = $run)
    group by reused_invocation_id
)
select
    periods.worker_id,
    periods.invocation_id,
    periods.memory_mb,
    cold_starts.state,
    cold_starts.state_source,
    date_diff('microsecond', zero.instant, periods.requested_at) / 1000.0 as requested_ms,
    date_diff('microsecond', zero.instant, periods.ready_at) / 1000.0 as ready_ms,
    date_diff('microsecond', zero.instant, periods.released_at) / 1000.0 as released_ms,
    date_diff('microsecond', zero.instant, periods.keep_warm_until) / 1000.0 as keep_warm_ms,
    date_diff('microsecond', zero.instant, reused.reused_at) / 1000.0 as reused_ms,
    coalesce(reused.reused_here, false) as reused_here,
    reused.reused_by,
    periods.startup_ms,
    periods.active_ms,
    periods.busy_ms,
    periods.idle_ms,
    periods.tasks,
    periods.outcome
from worker_active_periods as periods
inner join cold_starts on periods.invocation_id = cold_starts.invocation_id
cross join zero
left join reused on periods.invocation_id = reused.invocation_id
where periods.run_id = $run
order by periods.requested_at, periods.invocation_id
"""

RUN_PATHS = """
-- The chain of tasks that decided how long the run took, as observed and as planned, in steps; see the view critical_path.
select
    path, step, task_id, upstream_task_id, worker_id, start_offset_ms, startup_ms, handover_ms, input_wait_ms, execution_ms,
    upload_ms, gap_ms, step_ms, upstream_missing, reaches_sink, on_other_path
from critical_path
where run_id = $run
order by path, step
"""

RUN_EDGES = "select upstream_task_id, task_id from edges where run_id = $run order by all"

RUN_ERRORS = """
-- What the plan predicted for the whole run, and what happened: sums over tasks, so errors of single tasks can cancel.
select metric, unit, predicted, actual, predicted / nullif(actual, 0) as ratio, relative_error
from prediction_errors
where run_id = $run and predictor = 'engine' and level = 'run'
order by metric
"""

RUN_OPTIMIZATIONS = """
select
    optimization,
    count(*) filter (where stage = 'assigned') as assigned,
    count(*) filter (where stage = 'applied') as applied
from optimizations
where run_id = $run
group by optimization
order by optimization
"""

FILES = """
select
    source, key, format, status, rows, rejected, skipped, duplicate_runs, size_bytes, finished_at, message,
    unknown_fields::json::varchar as unknown_fields, sha256, file_id
from files
order by source, key
limit $most
"""

REJECTS = """
select files.source, files.key, rejects.location, rejects.reason, rejects.detail, rejects.excerpt
from rejects
left join files on rejects.file_id = files.file_id
where $reason = '' or rejects.reason = $reason
order by files.source, files.key, rejects.location
limit $most
"""

COLUMNS = """
select columns.table_name, columns.column_name, columns.data_type
from information_schema.columns as columns
where columns.table_schema = 'main'
order by columns.table_name, columns.ordinal_position
"""

EXAMPLES: dict[str, str] = {
    "Makespan by workflow and planner": (
        "select workflow, planner, count(*) as runs, round(median(makespan_ms)) as median_makespan_ms\n"
        "from run_summary\nwhere is_complete\ngroup by all\norder by all"
    ),
    "Slowest ten runs": (
        "select run_id, workflow, planner, sla, makespan_ms, cold_starts\n"
        "from run_summary\norder by makespan_ms desc nulls last\nlimit 10"
    ),
    "Start-up of cold and warm workers, by memory": (
        "select memory_mb, state, state_source, count(*) as workers, round(median(startup_ms)) as median_startup_ms\n"
        "from cold_starts\ngroup by all\norder by all"
    ),
    "Where predictions are furthest off": (
        "select metric, level, count(relative_error) as n, round(median(relative_error), 3) as median_relative_error\n"
        "from prediction_errors\nwhere predictor = 'engine'\ngroup by all\norder by median_relative_error desc nulls last"
    ),
    "Functions by execution time": (
        "select function, count(*) as tasks, round(median(execution_ms), 1) as median_ms,\n"
        "    round(quantile_cont(execution_ms, 0.9), 1) as p90_ms\n"
        "from tasks\ngroup by function\norder by median_ms desc"
    ),
    "Optimisations assigned and applied": (
        "select optimization, stage, count(*) as events, count(distinct run_id) as runs\n"
        "from optimizations\ngroup by all\norder by all"
    ),
    "Tasks that failed": (
        "select run_id, task_id, status, error_type, error_message\nfrom tasks\nwhere status <> 'succeeded'\nlimit 100"
    ),
}


def count_rows(names: list[str]) -> str:
    """Return SQL that counts the rows of tables and views. The names are ours, never a reader's."""
    return " union all ".join(f"select '{name}' as table_name, count(*) as rows from \"{name}\"" for name in names)


def meanings() -> dict[str, str]:
    """Return what a row of each table and view is."""
    return {table.name: table.grain for table in TABLES} | {view.name: view.meaning for view in core_views()}


def column_meanings() -> dict[tuple[str, str], str]:
    """Return what each column of a table means, by (table, column)."""
    return {(table.name, column.name): column.meaning for table in TABLES for column in table.stored_columns}
