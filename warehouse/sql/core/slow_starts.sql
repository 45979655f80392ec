-- Which workers took so much longer than others of the same function that they must have had to load first. One row per invocation of a
-- function whose invocations are of two kinds; is_slow tells which kind it is of. Many platforms record no request, hence no start-up, but where a
-- function imports what it needs when it is called, a cold start shows in the time its tasks take. That time's logarithm is cut in
-- two by least squares, within (engine, environment, function). There are two kinds where the slow take at least five times as long as the
-- fast (geometric means) and the two means stand at least 3.5 times the spread within a kind apart (the halves of times spread evenly:
-- 3.46). Work may be of two kinds too, so labels have to bear it out: at least 10 starts are known to be cold or warm (reported or
-- initialised), and of each that occurs at least 95 % are slow or fast accordingly, which so many calls drawn by chance would all be in
-- less than one case in twenty: that ten are slow says nothing where nearly all are. Without labels, or where they disagree, a
-- function has no row here.
with measured as (
    select
        invocation_id,
        engine,
        environment,
        function,
        ln(active_ms_without_startup) as y,
        case
            when reported_state = 'cold' then 1
            when reported_state = 'warm' then 0
            when init_ms > 0 then 1
        end as cold
    from worker_times
    where function is not null and active_ms_without_startup > 0
),

centred as (
    select
        *,
        y - avg(y) over (partition by engine, environment, function) as d
    from measured
),

-- The cut after each time: how many are faster, what they and their squares add up to.
cuts as (
    select
        *,
        row_number() over upwards as n_below,
        sum(d) over upwards as d_below,
        sum(d * d) over upwards as squares_below,
        count(*) over (partition by engine, environment, function) as n,
        sum(d * d) over (partition by engine, environment, function) as squares,
        lead(d) over (partition by engine, environment, function order by d, invocation_id) as next_d
    from centred
    window
        upwards as (
            partition by engine, environment, function order by d, invocation_id
            rows between unbounded preceding and current row
        )
),

-- All d of a function add up to 0: those above the cut to -d_below.
rated as (
    select
        *,
        -d_below / nullif(n - n_below, 0) - d_below / nullif(n_below, 0) as apart,
        squares - d_below * d_below / nullif(n_below, 0)
        - d_below * d_below / nullif(n - n_below, 0) as squares_within,
        squares_below - d_below * d_below / nullif(n_below, 0) as squares_within_below
    from cuts
    where next_d > d
),

best as (
    select
        *,
        row_number() over (
            partition by engine, environment, function order by squares_within, invocation_id
        ) as place
    from rated
),

-- The spread within a kind is the root of the mean of both variances.
kinds as (
    select engine, environment, function, (d + next_d) / 2 as cut
    from best
    where place = 1 and apart >= ln(5)
        and apart >= 3.5 * sqrt(greatest(0, (
            squares_within_below / nullif(n_below, 0)
            + (squares_within - squares_within_below) / nullif(n - n_below, 0)
        ) / 2))
),

split as (
    select
        centred.invocation_id,
        centred.engine,
        centred.environment,
        centred.function,
        centred.cold,
        centred.d > kinds.cut as is_slow
    from centred
    inner join kinds
        on centred.engine is not distinct from kinds.engine
        and centred.environment is not distinct from kinds.environment and centred.function = kinds.function
),

checked as (
    select
        engine,
        environment,
        function
    from split
    group by engine, environment, function
    having count(cold) >= 10
        and coalesce(avg(case when cold = 1 then case when is_slow then 1.0 else 0.0 end end), 1) >= 0.95
        and coalesce(avg(case when cold = 0 then case when is_slow then 0.0 else 1.0 end end), 1) >= 0.95
        and count(case when cold = 1 then 1 end) * ln(avg(case when is_slow then 1.0 else 0.0 end))
        + count(case when cold = 0 then 1 end) * ln(avg(case when is_slow then 0.0 else 1.0 end)) <= ln(0.05)
)

select
    split.invocation_id,
    split.engine,
    split.environment,
    split.function,
    split.is_slow
from split
inner join checked
    on split.engine is not distinct from checked.engine
    and split.environment is not distinct from checked.environment and split.function = checked.function
