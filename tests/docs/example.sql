-- What the examples of the documents use besides docs/start.
alter table api_key
    add token_count_hash text,
    add last_used_at timestamptz,
    add updated_at timestamptz,
    add updated_by text,
    add config jsonb,
    add disabled boolean,
    add team_id int;
create table team (id int primary key, org_id text, name text);
create table "user" (id int primary key, email text);
create table team_member (team_id int references team, user_id int references "user", primary key (team_id, user_id));
create table budget (id int primary key, org_id text, name text, team_id int, key_id int);
