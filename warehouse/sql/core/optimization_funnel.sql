-- Is an optimisation applied at all, and does it act? One row per (engine, planner, optimization), with counts of
-- `optimization_opportunities`, whose comment says what each step means: workers for 'prewarm', tasks for all others.
-- eligible is NULL where no run has a plan to tell it from, applied where nothing records it ('wukong').
-- assigned_not_eligible: assigned though the rule does not ask for it. assigned_and_applied leaves out what was applied
-- without being assigned (where the DAG is not recorded); not_known: assigned, but nothing tells whether it was
-- applied. effective_not_known: applied (or, where nothing records that, assigned), but nothing tells whether it
-- helped. runs: those of the planner; runs_assigned, runs_applied: those in which it happened. saved_ms: an estimate,
-- the sum over the effective ones with one (saved_n).
with planners as (
    select engine, planner, count(*) as runs
    from run_summary
    group by engine, planner
),

counted as (
    select
        engine,
        planner,
        optimization,
        optimization <> 'wukong' or count(applied) > 0 as is_application_recorded,
        count(distinct case when assigned then run_id end) as runs_assigned,
        count(distinct case when applied then run_id end) as runs_applied,
        case when count(eligible) > 0 then count(case when eligible then 1 end) end as eligible,
        count(case when assigned then 1 end) as assigned,
        count(case when assigned and not eligible then 1 end) as assigned_not_eligible,
        count(case when applied then 1 end) as applied,
        count(case when assigned and applied then 1 end) as assigned_and_applied,
        count(case when assigned and applied is null then 1 end) as not_known,
        count(case when effective then 1 end) as effective,
        count(case when (applied or (assigned and optimization = 'wukong')) and effective is null then 1 end)
            as effective_not_known,
        sum(saved_ms) as saved_ms,
        count(saved_ms) as saved_n
    from optimization_opportunities
    group by engine, planner, optimization
)

select
    counted.engine,
    counted.planner,
    counted.optimization,
    planners.runs,
    counted.runs_assigned,
    case when counted.is_application_recorded then counted.runs_applied end as runs_applied,
    counted.eligible,
    counted.assigned,
    counted.assigned_not_eligible,
    case when counted.is_application_recorded then counted.applied end as applied,
    case when counted.is_application_recorded then counted.assigned_and_applied end as assigned_and_applied,
    counted.not_known,
    counted.effective,
    counted.effective_not_known,
    counted.saved_ms,
    counted.saved_n
from counted
left join planners
    on counted.engine is not distinct from planners.engine and counted.planner is not distinct from planners.planner
