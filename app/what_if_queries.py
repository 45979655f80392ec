"""The SQL behind the page What-if: which runs, what was simulated of them before, and how close replays come."""

from __future__ import annotations

NEWEST = "select run_id from run_summary where submitted_at is not null order by submitted_at desc, run_id limit $most"

SELECTED = """
select run_id, workflow, planner, is_complete
from selected_runs
order by submitted_at nulls last, run_id
"""

REPLAYING = """
-- The newest run whose stored replay stands for it.
select selected_runs.run_id
from selected_runs inner join simulations on selected_runs.run_id = simulations.run_id
where simulations.scenario = 'recorded' and simulations.replays
order by selected_runs.submitted_at desc nulls last, selected_runs.run_id
limit 1
"""

STORED = """
-- The runs selected that were simulated with this change before, each beside itself without the change.
select simulations.*
from simulations inner join selected_runs on simulations.run_id = selected_runs.run_id
where simulations.scenario = $scenario and simulations.predictor = 'recorded' and simulations.difference_ms is not null
order by selected_runs.submitted_at nulls last, simulations.run_id
"""

REPLAYS = """
-- How close plain replays come to what was recorded, by workflow and planner.
with states as (
    select
        simulated.run_id,
        count(*) as starts,
        count(*) filter (where simulated.state = cold_starts.state) as agreed
    from simulated_invocations as simulated
    inner join cold_starts on simulated.run_id = cold_starts.run_id and simulated.worker_id = cold_starts.worker_id
    where simulated.scenario = 'recorded' and cold_starts.state in ('cold', 'warm')
    group by simulated.run_id
)
select
    selected_runs.workflow,
    selected_runs.planner,
    count(*) as runs,
    median(abs(replays.makespan_ms - selected_runs.makespan_ms) / nullif(selected_runs.makespan_ms, 0)) as median_makespan_error,
    avg((replays.largest_start_error <= 0.05)::integer) as starts_within_5_percent,
    sum(states.agreed) / nullif(sum(states.starts), 0) as states_agreed,
    avg(replays.replays::integer) as stand_for_the_run
from simulations as replays
inner join selected_runs on replays.run_id = selected_runs.run_id
left join states on replays.run_id = states.run_id
where replays.scenario = 'recorded'
group by grouping sets ((), (selected_runs.workflow, selected_runs.planner))
having count(*) > 0
order by grouping(selected_runs.workflow) desc, runs desc, selected_runs.workflow, selected_runs.planner
"""

SIMULATED = """
-- What was simulated of the runs selected, by scenario. Runs whose replay does not stand for them are left out of changes.
-- The same work as two static runs is compared with itself as one, yet nothing of the platform is changed: it counts as no change.
with told as (
    select
        simulations.*,
        difference_ms is not null and not starts_with(scenario, 'ahead') and not starts_with(scenario, 'recorded') as is_change,
        abs(simulations.makespan_ms - selected_runs.makespan_ms) / nullif(selected_runs.makespan_ms, 0) as error,
        simulations.makespan_ms / nullif(baseline_makespan_ms, 0) as times_makespan,
        simulations.gb_seconds / nullif(baseline_gb_seconds, 0) as times_gb_seconds,
        simulations.cold_starts / nullif(baseline_cold_starts, 0) as times_cold_starts
    from simulations inner join selected_runs on simulations.run_id = selected_runs.run_id
),

used as (
    select *, is_change and abs(difference_ms) > $touched_ms as is_touched
    from told
    where replays is not false or not is_change
)
select
    scenario,
    predictor,
    count(*) as runs,
    case when bool_or(is_change) then count(*) filter (where is_touched) end as touched,
    median(times_makespan) filter (where is_touched) as makespan_times,
    median(times_gb_seconds) filter (where is_touched and not isnan(times_gb_seconds)) as gb_seconds_times,
    median(times_cold_starts) filter (where is_touched) as cold_starts_times,
    median(error) filter (where not is_change) as median_makespan_error
from used
group by scenario, predictor
order by bool_or(is_change), runs desc, scenario
"""
