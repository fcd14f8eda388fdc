alter table nemo.api_key
    drop constraint api_key_org_id_fkey,
    drop constraint api_key_team_id_fkey;
alter table nemo.budget
    drop constraint budget_api_key_id_fkey;

select audit.track('nemo.wide', org => 'org_id', label => 'name');
select audit.track('nemo.narrow', org => 'org_id', label => 'name');
