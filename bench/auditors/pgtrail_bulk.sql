select audit.track('pgtrail_bulk.api_key', resource => 'key', category => 'api_keys', org => 'org_id', label => 'name',
    ignore => '{spend,last_used_at,updated_at}', secret => '{key_hash,metadata.**.?}', bulk => true);
select audit.rule('pgtrail_bulk.api_key', 'key.rotated', 'api_keys', 'UPDATE', 'new.key_hash is distinct from old.key_hash');
select audit.track('pgtrail_bulk.wide', org => 'org_id', label => 'name', bulk => true);
select audit.track('pgtrail_bulk.narrow', org => 'org_id', label => 'name', bulk => true);
