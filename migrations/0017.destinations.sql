-- depends: 0016.watched

set local role audit_owner;

-- What no filter and no worker can use: elements that are null, lists of lists.
update audit.destination
set
    categories = case
        when categories is not null then array(select each from unnest(categories) as each where each is not null)
    end,
    actions = case when actions is not null then array(select each from unnest(actions) as each where each is not null) end,
    orgs = case when orgs is not null then array(select each from unnest(orgs) as each where each is not null) end,
    allowed_networks = array(select each from unnest(allowed_networks) as each where each is not null)
where exists (select from unnest(categories) as each where each is null)
    or exists (select from unnest(actions) as each where each is null)
    or exists (select from unnest(orgs) as each where each is null)
    or exists (select from unnest(allowed_networks) as each where each is null)
    or greatest(array_ndims(categories), array_ndims(actions), array_ndims(orgs), array_ndims(allowed_networks)) > 1;

alter table audit.destination
    add constraint categories_are_a_list check (
        case when array_ndims(categories) > 1 then false else array_position(categories, null) is null end
    ),
    add constraint actions_are_a_list check (
        case when array_ndims(actions) > 1 then false else array_position(actions, null) is null end
    ),
    add constraint orgs_are_a_list check (
        case when array_ndims(orgs) > 1 then false else array_position(orgs, null) is null end
    ),
    add constraint allowed_networks_are_a_list check (
        case when array_ndims(allowed_networks) > 1 then false else array_position(allowed_networks, null) is null end
    );

alter table audit.destination_secret
    add constraint previous_is_standard_webhooks check (previous ~ '^whsec_[A-Za-z0-9+/]{32,86}={0,2}$');

alter table audit.cursor
    add column broken text;

comment on column audit.cursor.broken is
    'Why no worker can serve it: its settings can''t be used, or its events not be read or rendered; null: it can be served.';
