select audit.track('pgtrail_hot.api_key', resource => 'key', category => 'api_keys', org => 'org_id', label => 'name',
    ignore => '{spend,last_used_at,updated_at}', secret => '{key_hash,metadata.**.?}', hot => true);
select audit.rule('pgtrail_hot.api_key', 'key.rotated', 'api_keys', 'UPDATE', 'new.key_hash is distinct from old.key_hash');
select audit.track('pgtrail_hot.wide', org => 'org_id', label => 'name', hot => true);
select audit.track('pgtrail_hot.narrow', org => 'org_id', label => 'name', hot => true);
