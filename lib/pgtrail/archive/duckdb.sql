-- What reading and writing archives ask DuckDB. What a statement is given stands in variables: their values are known when it is
-- planned, so that files and row groups that can't hold what is asked for are not read. {name}: that statement, in its place.

-- name: settings
set timezone = 'UTC'

-- name: give
set variable given = $given

-- name: macros
create temp macro rfc3339(moment) as strftime(moment at time zone 'UTC', '%Y-%m-%dT%H:%M:%S.%fZ');
-- The share of the organizations that one belongs to: the first eight digits of the SHA-256 of its id, modulo their number.
create temp macro part_of(org_id, parts) as ('0x' || sha256(coalesce(org_id, ''))[:8])::bigint % parts;
-- audit_internal.glob(): in a pattern only * is special.
create temp macro expression(patterns) as
    '^(' || array_to_string(list_transform(patterns, lambda pattern: replace(regexp_escape(pattern), '\*', '.*')), '|') || ')$';
-- (A point is any character there, a line's end too.)
create temp macro is_like(value, patterns) as regexp_matches(value, expression(patterns), 's');
create temp macro is_like_in_any_case(value, patterns) as regexp_matches(value, expression(patterns), 'is');
-- An audit.filter, as far as the command line fills one.
create temp macro wanted(given) as given::struct(
    categories varchar[], actions varchar[], orgs varchar[], actors varchar[], since timestamptz, until timestamptz,
    resources varchar[], actor_id varchar, resource_id varchar, nodes varchar[]
);
-- audit.matches_filter(), in its order.
create temp macro passes(event, wanted) as
    (wanted.since is null or event.occurred_at >= wanted.since)
    and (wanted.until is null or event.occurred_at < wanted.until)
    and (wanted.nodes is null or list_contains(wanted.nodes, coalesce(event.node, '-')))
    and (wanted.orgs is null or list_contains(wanted.orgs, event.org_id))
    and (wanted.categories is null or list_contains(wanted.categories, event.category))
    and (wanted.actions is null or is_like(event.action, wanted.actions))
    and (
        wanted.actors is null
        or is_like_in_any_case(event.actor_id, wanted.actors)
        or is_like_in_any_case(event.actor_label, wanted.actors)
    )
    and (
        wanted.resources is null
        or is_like_in_any_case(event.resource_id, wanted.resources)
        or is_like_in_any_case(event.resource_label, wanted.resources)
    )
    and (wanted.actor_id is null or event.actor_id = wanted.actor_id)
    and (wanted.resource_id is null or event.resource_id = wanted.resource_id)

-- name: moment
-- audit_internal.parse_time(), in the time zone of this machine.
select case
    when regexp_full_match($description, '\s*\d+\s*[a-z]+\s*') then now() - try_cast($description as interval)
    when trim($description) = 'now' then now()
    when trim($description) = 'today' then current_date::timestamptz
    when trim($description) = 'yesterday' then (current_date - 1)::timestamptz
    when trim($description) = 'tomorrow' then (current_date + 1)::timestamptz
    else try_cast($description as timestamptz)
end

-- name: spooled
-- A CSV that Postgres wrote.
select *
from read_csv(
    getvariable('given').spool,
    auto_detect = false,
    columns = getvariable('given').columns,
    header = true,
    delim = ',',
    quote = '"',
    escape = '"',
    nullstr = '\N',
    allow_quoted_nulls = false,
    new_line = '\n',
    -- (A row may go over many lines; where one begins only the first thread knows.)
    parallel = false,
    max_line_size = getvariable('given').max_row_bytes,
    buffer_size = getvariable('given').buffer
)

-- name: sort_events
create table event as
select *, part_of(org_id, getvariable('given').parts) as part
from {spooled}
order by part, org_id, occurred_at, id

-- name: write_part
-- Small groups of rows: those of an organization lie in few of them, and a store is asked for little.
copy (
    select * exclude (part)
    from event
    where part = getvariable('given').part
    order by org_id, occurred_at, id
) to $file (format parquet, compression zstd, row_group_size 20480)

-- name: write_table
copy {spooled} to $file (format parquet, compression zstd)

-- name: known_seals
create temp table seal as
select number, secret, from_json(json_extract(seal, '$[16]'), '["varchar"]') as personal
from read_json(
    getvariable('given').seals, format = 'newline_delimited',
    columns = {number: 'bigint', secret: 'varchar', seal: 'varchar'}
)

-- name: leaves
select seal, id, leaf
from read_parquet(getvariable('given').leaves)

-- name: sealed_events
-- Each event with its leaf and what that is computed from; texts as Postgres writes them.
with sealed as (
    select leaf.id, leaf.leaf, seal.secret, seal.personal
    from read_parquet(getvariable('given').leaves) as leaf
    join seal on seal.number = leaf.seal
),
kept as (
    select event_id, list({part: part, commitment: commitment, salt: salt}) as fields
    from read_parquet(getvariable('given').erased)
    group by event_id
)
select
    event.* exclude (id, xid, occurred_at, node_id, node_xid, filename),
    event.id::varchar as id,
    event.xid::varchar as xid,
    rfc3339(event.occurred_at) as occurred_at,
    event.node_id::varchar as node_id,
    event.node_xid::varchar as node_xid,
    event.occurred_at >= getvariable('given').begins
        and event.occurred_at < getvariable('given').ends
        and part_of(event.org_id, getvariable('given').parts) = regexp_extract(event.filename, 'part=([0-9]+)/[^/]+$', 1)::bigint as is_filed,
    sealed.leaf,
    sealed.secret,
    actor_salt.salt as actor_salt,
    person_salt.salt as person_salt,
    kept.fields as kept
from read_parquet(getvariable('given').events, hive_partitioning = false, filename = true) as event
left join sealed on sealed.id = event.id
left join read_parquet(getvariable('given').salts) as actor_salt
    on actor_salt.kind = 'actor' and actor_salt.type = event.actor_type and actor_salt.id = event.actor_id
left join read_parquet(getvariable('given').salts) as person_salt
    on person_salt.kind = 'resource' and person_salt.type = event.resource_type and person_salt.id = event.resource_id
    and list_contains(sealed.personal, event.resource_type)
left join kept on kept.event_id = event.id

-- name: count_events
select count(*), count(distinct id)
from read_parquet(getvariable('given').events, hive_partitioning = false)

-- name: repeated_events
select id
from read_parquet(getvariable('given').events, hive_partitioning = false)
group by id
having count(*) > 1
order by id

-- name: matching
-- The events that pass a filter.
select
    * replace (coalesce(summary, details) as summary, coalesce(fields, details) as fields),
    rfc3339(occurred_at) as time
from read_parquet(getvariable('given').events, hive_partitioning = false, union_by_name = true) as event
where passes(event, wanted(getvariable('given').wanted))

-- name: newest
select * exclude (occurred_at)
from {matching}
order by occurred_at desc, id desc
limit getvariable('given').limit

-- name: oldest_first
select * exclude (occurred_at)
from {matching}
order by occurred_at, id

-- name: count
select count(*)
from {matching}
