create table floor.log (
    old_row jsonb,
    new_row jsonb
);

create function floor.record_change()
returns trigger
language plpgsql
as $$
begin
    insert into floor.log (old_row, new_row)
    values (to_jsonb(old), to_jsonb(new));
    return null;
end
$$;

create trigger record_change
    after insert or update or delete on floor.api_key
    for each row execute function floor.record_change();

create trigger record_change
    after insert or update or delete on floor.wide
    for each row execute function floor.record_change();

create trigger record_change
    after insert or update or delete on floor.narrow
    for each row execute function floor.record_change();
