-- The filter of a URL as the other statements take it: days as times of the session's zone, the last one included.
select audit.narrowed(
    jsonb_populate_record(
        null::audit.filter,
        %(fields)s::jsonb || jsonb_build_object(
            'since', coalesce(%(first)s::date, current_date - %(days)s::integer + 1)::timestamptz,
            'until', (%(last)s::date + 1)::timestamptz
        )
    )
)::text as wanted
from audit.check_patterns(%(patterns)s::text[])
