-- Which optimisations of one task override the same hook with a return value: one of the two wins, the other's effect
-- may be lost. One row per (run_id, task_id, hook, optimization, other_optimization), the two in alphabetical order;
-- they are the same where one was assigned to the task twice. Hooks that return nothing cannot conflict. In octoflows:
-- 'preload' overrides override_handle_inputs; 'taskdup' override_should_upload_output and update_dependency_counters;
-- 'wukong' these two and override_handle_downstream; 'prewarm' none; optimisations of other names are not known and not
-- here. assigned_pairs: how many pairs of assignments the row stands for. applied, other_applied: as in
-- `optimization_opportunities` ('wukong' records nothing: NULL; a 'taskdup' of a task is recorded by the tasks
-- downstream). output_uploaded: whether the output was uploaded after all, which override_should_upload_output decides;
-- NULL where the task left no metrics.
with hooks as (
    select 'preload' as optimization, 'override_handle_inputs' as hook
    union all
    select 'taskdup', 'override_should_upload_output'
    union all
    select 'taskdup', 'update_dependency_counters'
    union all
    select 'wukong', 'override_should_upload_output'
    union all
    select 'wukong', 'update_dependency_counters'
    union all
    select 'wukong', 'override_handle_downstream'
),

assignments as (
    select run_id, task_id, optimization, count(*) as assigned
    from optimizations
    where stage = 'assigned'
    group by run_id, task_id, optimization
),

overrides as (
    select
        acting.run_id,
        acting.task_id,
        acting.optimization,
        hooks.hook,
        coalesce(assignments.assigned, 0) as assigned,
        acting.applied
    from optimization_opportunities as acting
    inner join hooks on acting.optimization = hooks.optimization
    left join assignments
        on acting.run_id = assignments.run_id and acting.task_id = assignments.task_id
        and acting.optimization = assignments.optimization
    where acting.assigned or acting.applied
)

select
    one.run_id,
    run_summary.workflow,
    run_summary.planner,
    one.task_id,
    one.hook,
    one.optimization,
    other.optimization as other_optimization,
    case
        when one.optimization = other.optimization then cast(one.assigned * (one.assigned - 1) / 2 as bigint)
        else one.assigned * other.assigned
    end as assigned_pairs,
    one.applied,
    other.applied as other_applied,
    case when task_times.task_id is not null then task_times.upload_ms is not null end as output_uploaded
from overrides as one
inner join overrides as other
    on one.run_id = other.run_id and one.task_id = other.task_id and one.hook = other.hook
    and (one.optimization < other.optimization or (one.optimization = other.optimization and one.assigned > 1))
left join run_summary on one.run_id = run_summary.run_id
left join task_times
    on one.run_id = task_times.run_id and one.task_id = task_times.task_id and task_times.is_last_attempt
