// Records what LiteLLM's proxy does to its database into litellm_calls.json: the calls of its Prisma client (as its source,
// version 1.110, makes them), run by the query engine of Prisma 5.22 compiled to WebAssembly.
//
//   npm install prisma@5.22.0 @prisma/client@5.22.0 @prisma/adapter-pg@5.22.0 pg
//   (litellm_proxy_extras/schema.prisma with: provider = "prisma-client-js", previewFeatures = ["driverAdapters"])
//   npx prisma generate; let wasm.js load query_engine_bg.wasm with new WebAssembly.Module(fs.readFileSync(…))
//   PGH=/socket/folder DB=a_database_with_all_migrations node capture_litellm.js
const fs=require('fs'),crypto=require('crypto'); const pg=require('pg'); const {PrismaPg}=require('@prisma/adapter-pg'); const {PrismaClient}=require('./node_modules/.prisma/client/wasm.js');
const hash=s=>crypto.createHash('sha256').update(s).digest('hex');
const seen=[]; let current=null;
const orig=pg.Client.prototype.query;
pg.Client.prototype.query=function(q,...rest){ const text=typeof q==='string'?q:q.text, values=(q&&q.values)||rest.find(Array.isArray)||[]; if(current) current.statements.push([text, values.map(v=>Buffer.isBuffer(v)?v.toString():v)]); return orig.call(this,q,...rest) };
(async()=>{
const H=process.env.PGH; const pool=new pg.Pool({host:H,user:'postgres',database:process.env.DB, max:1});
const p=new PrismaClient({adapter:new PrismaPg(pool)});
const now=()=>new Date('2026-11-02T10:00:00Z');
async function call(name, f){ current={call:name,statements:[]}; try { await f() } catch(e){ console.error(name, e.message.slice(-600)); process.exitCode=1 } 
  const s=current; current=null; s.statements=s.statements.filter(([t])=>!/^\s*SELECT (?!.*advisory)/i.test(t)||/pg_advisory/.test(t)); s.statements=s.statements.filter(([t])=>/^\s*(INSERT|UPDATE|DELETE|BEGIN|COMMIT)/i.test(t)); seen.push(s) }
const admin='admin-user';
// organizations: organization_endpoints.new_organization
await call('/budget/new', ()=>p.liteLLM_BudgetTable.create({data:{budget_id:'gold',max_budget:100,budget_duration:'30d',budget_reset_at:now(),created_by:admin,updated_by:admin}}));
await call('/organization/new', ()=>p.liteLLM_OrganizationTable.create({data:{organization_id:'org-acme',organization_alias:'Acme',budget_id:'gold',models:['gpt-6'],created_by:admin,updated_by:admin,metadata:{}}}));
await call('/budget/update', ()=>p.liteLLM_BudgetTable.update({where:{budget_id:'gold'},data:{max_budget:250,updated_by:admin}}));
// users: UserRepository.upsert_user
await call('/user/new', ()=>p.liteLLM_UserTable.upsert({where:{user_id:'u-ann'},create:{user_id:'u-ann',user_email:'ann@acme.example',user_role:'internal_user',organization_id:'org-acme',models:[],metadata:{},spend:0,max_budget:10},update:{}}));
await call('/invitation/new', ()=>p.liteLLM_InvitationLink.create({data:{id:'invitation-secret-71c2',user_id:'u-ann',expires_at:now(),created_at:now(),created_by:'u-ann',updated_at:now(),updated_by:'u-ann'}}));
await call('/onboarding/claim_token', ()=>p.$transaction(async tx=>{
  await tx.liteLLM_InvitationLink.updateMany({where:{id:'invitation-secret-71c2',is_accepted:false},data:{is_accepted:true,updated_at:now(),updated_by:'u-ann'}});
  await tx.liteLLM_UserTable.update({where:{user_id:'u-ann'},data:{password:'scrypt:hashed-password-of-ann',password_reset_required:false,last_breach_check_at:null}});
  await tx.liteLLM_InvitationLink.update({where:{id:'invitation-secret-71c2'},data:{accepted_at:now(),updated_at:now(),updated_by:'u-ann'}});
}));
await call('/user/update', ()=>p.liteLLM_UserTable.upsert({where:{user_id:'u-ann'},create:{user_id:'u-ann',user_role:'proxy_admin_viewer'},update:{user_role:'proxy_admin_viewer'}}));
// teams
await call('/team/new', ()=>p.$transaction(async tx=>{ await tx.liteLLM_TeamTable.create({data:{team_id:'t-red',team_alias:'Red',organization_id:'org-acme',models:['gpt-6'],members_with_roles:[],metadata:{logging:[{callback_name:'langfuse',callback_vars:{langfuse_secret_key:'langfuse-secret-of-red'}}]},router_settings:{}},include:{litellm_model_table:true}}) }));
await call('/team/member_add', ()=>p.$transaction(async tx=>{
  await tx.liteLLM_UserTable.upsert({where:{user_id:'u-ann'},create:{teams:['t-red'],user_id:'u-ann',user_role:'internal_user',models:[]},update:{user_id:'u-ann'}});
  await tx.liteLLM_UserTable.updateMany({where:{user_id:'u-ann',NOT:{teams:{has:'t-red'}}},data:{teams:{push:['t-red']}}});
  await tx.liteLLM_TeamMembership.upsert({where:{user_id_team_id:{user_id:'u-ann',team_id:'t-red'}},create:{user_id:'u-ann',team_id:'t-red',budget_id:'gold'},update:{},include:{litellm_budget_table:true}});
  await tx.liteLLM_TeamTable.update({where:{team_id:'t-red'},data:{members_with_roles:[{user_id:'u-ann',user_email:null,role:'user'}]}});
}));
await call('/team/update', ()=>p.liteLLM_TeamTable.update({where:{team_id:'t-red'},data:{tpm_limit:9000},include:{litellm_model_table:true}}));
await call('/team/block', ()=>p.liteLLM_TeamTable.update({where:{team_id:'t-red'},data:{blocked:true}}));
await call('/team/unblock', ()=>p.liteLLM_TeamTable.update({where:{team_id:'t-red'},data:{blocked:false}}));
await call('/organization/member_add', ()=>p.liteLLM_OrganizationMembership.create({data:{user_id:'u-ann',organization_id:'org-acme',user_role:'internal_user'}}));
await call('/organization/member_update', ()=>p.liteLLM_OrganizationMembership.update({where:{user_id_organization_id:{user_id:'u-ann',organization_id:'org-acme'}},data:{user_role:'org_admin'}}));
// keys
const K=hash('sk-the-first-key'), K2=hash('sk-the-second-key');
await call('/key/generate', ()=>p.liteLLM_VerificationToken.upsert({where:{token:K},create:{token:K,key_name:'sk-...-key',key_alias:'deploy',expires:null,models:['gpt-6'],aliases:{},config:{},spend:0,max_budget:5,user_id:'u-ann',team_id:'t-red',max_parallel_requests:null,metadata:{logging:[{callback_name:'langsmith',callback_vars:{langsmith_api_key:'langsmith-key-of-deploy'}}]},tpm_limit:null,rpm_limit:60,budget_duration:null,budget_reset_at:null,allowed_cache_controls:[],permissions:{},model_max_budget:{},organization_id:null,budget_id:null,blocked:null,created_by:admin,updated_by:admin,allowed_routes:[],key_type:'default',router_settings:{},access_group_ids:[]},update:{},include:{litellm_budget_table:true}}));
await call('/key/update', ()=>p.liteLLM_VerificationToken.update({where:{token:K},data:{token:K,rpm_limit:120,settings_updated_at:now()},include:{object_permission:true}}));
await call('/key/block', ()=>p.liteLLM_VerificationToken.update({where:{token:K},data:{blocked:true}}));
await call('/key/unblock', ()=>p.liteLLM_VerificationToken.update({where:{token:K},data:{blocked:false}}));
await call('/jwt/key/mapping/new', ()=>p.liteLLM_JWTKeyMapping.create({data:{id:'map-1',jwt_claim_name:'email',jwt_claim_value:'ann@acme.example',token:K,created_by:admin,updated_by:admin}}));
await call('/key/regenerate', async()=>{
  await p.liteLLM_DeletedVerificationToken.createMany({data:[{token:K,key_name:'sk-...-key',key_alias:'deploy',models:['gpt-6'],user_id:'u-ann',team_id:'t-red',deleted_by:admin}]});
  await p.liteLLM_DeprecatedVerificationToken.upsert({where:{token:K},create:{id:'dep-1',token:K,active_token_id:K2,revoke_at:now()},update:{active_token_id:K2,revoke_at:now()}});
  await p.liteLLM_VerificationToken.update({where:{token:K},data:{token:K2,key_name:'sk-...-key',settings_updated_at:now()}});
});
await call('automatic rotation, afterwards', ()=>p.liteLLM_VerificationToken.update({where:{token:K2},data:{rotation_count:1,last_rotation_at:now(),key_rotation_at:now()}}));
// the batch writer: db_spend_update_writer
await call('spend', async()=>{
  await p.$transaction([p.liteLLM_UserTable.updateMany({where:{user_id:'u-ann'},data:{spend:{increment:0.25}}})]);
  await p.$transaction([p.liteLLM_EndUserTable.upsert({where:{user_id:'customer-1'},create:{user_id:'customer-1',spend:0.25,blocked:false},update:{spend:{increment:0.25}}})]);
  await p.$transaction([p.liteLLM_VerificationToken.updateMany({where:{token:K2},data:{spend:{increment:0.25},total_spend:{increment:0.25},last_active:now()}})]);
  await p.$transaction([p.liteLLM_TeamTable.updateMany({where:{team_id:'t-red'},data:{spend:{increment:0.25}}})]);
  await p.$transaction(async tx=>{ await tx.$executeRawUnsafe(`INSERT INTO "LiteLLM_TeamMembership" (user_id, team_id, spend, total_spend)
SELECT member.user_id, member.team_id, member.cost, member.cost
FROM jsonb_to_recordset($1::jsonb) AS member(user_id text, team_id text, cost float8)
WHERE EXISTS (
    SELECT 1 FROM "LiteLLM_TeamTable" t
    WHERE t.team_id = member.team_id
      AND t.members_with_roles @> jsonb_build_array(jsonb_build_object('user_id', member.user_id))
)
   OR EXISTS (
    SELECT 1 FROM "LiteLLM_TeamMembership" m
    WHERE m.user_id = member.user_id AND m.team_id = member.team_id
)
ON CONFLICT (user_id, team_id) DO UPDATE
SET spend = "LiteLLM_TeamMembership".spend + EXCLUDED.spend,
    total_spend = "LiteLLM_TeamMembership".total_spend + EXCLUDED.total_spend`, JSON.stringify([{user_id:'u-ann',team_id:'t-red',cost:0.25}])) });
  await p.$transaction([p.liteLLM_OrganizationTable.updateMany({where:{organization_id:'org-acme'},data:{spend:{increment:0.25}}})]);
  await p.$transaction([p.liteLLM_OrganizationMembership.updateMany({where:{organization_id:'org-acme',user_id:'u-ann'},data:{spend:{increment:0.25}}})]);
});
await call('reset of budgets', async()=>{
  await p.$transaction([p.liteLLM_VerificationToken.update({where:{token:K2},data:{spend:0,budget_reset_at:now()}})]);
  await p.$transaction([p.liteLLM_TeamTable.upsert({where:{team_id:'t-red'},create:{team_id:'t-red',spend:0},update:{team_id:'t-red',spend:0,budget_reset_at:now()}})]);
  await p.$transaction([p.liteLLM_BudgetTable.upsert({where:{budget_id:'gold'},create:{budget_id:'gold',created_by:'x',updated_by:'x'},update:{budget_id:'gold',budget_reset_at:now()}})]);
});
// guardrails, models, credentials, MCP servers, settings
await call('/guardrails', ()=>p.liteLLM_GuardrailsTable.create({data:{guardrail_id:'g-1',guardrail_name:'pii',litellm_params:{guardrail:'lakera_v2',mode:'pre_call',default_on:false,api_key:'lakera-key-in-the-clear'},guardrail_info:{},created_at:now(),updated_at:now()}}));
await call('PATCH /guardrails', ()=>p.liteLLM_GuardrailsTable.update({where:{guardrail_id:'g-1'},data:{litellm_params:{guardrail:'lakera_v2',mode:'pre_call',default_on:true,api_key:'lakera-key-in-the-clear'},updated_at:now()}}));
await call('/credentials', ()=>p.liteLLM_CredentialsTable.create({data:{credential_id:'c-1',credential_name:'azure-eu',credential_values:{api_key:'encrypted-azure-key',api_base:'encrypted-azure-base'},credential_info:{custom_llm_provider:'azure'},created_by:admin,updated_by:admin}}));
await call('/model/new', ()=>p.liteLLM_ProxyModelTable.create({data:{model_id:'m-1',model_name:'gpt-6',litellm_params:{model:'encrypted-model',api_key:'encrypted-model-key'},model_info:{id:'m-1',input_cost_per_token:0.1},created_by:admin,updated_by:admin}}));
await call('/model/update', ()=>p.liteLLM_ProxyModelTable.update({where:{model_id:'m-1'},data:{litellm_params:{model:'encrypted-model',api_key:'encrypted-model-key-2'},updated_by:admin}}));
await call('/model/block', ()=>p.liteLLM_ProxyModelTable.update({where:{model_id:'m-1'},data:{blocked:true,updated_by:admin}}));
await call('/v1/mcp/server', ()=>p.liteLLM_MCPServerTable.create({data:{server_id:'s-1',server_name:'github',url:'https://mcp.example',transport:'http',auth_type:'api_key',credentials:{auth_value:'mcp-auth-value'},env:{GITHUB_TOKEN:'mcp-env-token'},static_headers:{Authorization:'Bearer mcp-header-token'},args:['--token','mcp-argument-token'],command:'npx',created_by:admin,updated_by:admin}}));
await call('health check of an MCP server', ()=>p.liteLLM_MCPServerTable.update({where:{server_id:'s-1'},data:{status:'healthy',last_health_check:now()}}));
await call('/config/update', async()=>{
  for (const [k,v] of Object.entries({general_settings:{master_key:'sk-master-key-of-all',alerting:['slack']},environment_variables:{SMTP_PASSWORD:'encrypted-smtp-password'},router_settings:{routing_strategy:'least-busy',redis_password:'redis-password-of-router'}}))
    await p.liteLLM_Config.upsert({where:{param_name:k},create:{param_name:k,param_value:v},update:{param_value:v}}) });
await call('/config/update, again', ()=>p.liteLLM_Config.upsert({where:{param_name:'router_settings'},create:{param_name:'router_settings',param_value:{}},update:{param_value:{routing_strategy:'simple-shuffle',redis_password:'redis-password-of-router'}}}));
await call('reload of the configuration', ()=>p.liteLLM_Config.update({where:{param_name:'router_settings'},data:{last_run_at:now(),reload_revision:3}}));
await call('/access_group', ()=>p.liteLLM_AccessGroupTable.create({data:{access_group_id:'ag-1',access_group_name:'beta',access_model_names:['gpt-6'],assigned_key_ids:[K2],created_by:admin,updated_by:admin}}));
// deleting
await call('/team/member_delete', ()=>p.$transaction(async tx=>{
  await tx.liteLLM_TeamTable.update({where:{team_id:'t-red'},data:{members_with_roles:[]}});
  await tx.liteLLM_UserTable.update({where:{user_id:'u-ann'},data:{teams:{set:[]}}});
  await tx.liteLLM_TeamMembership.deleteMany({where:{team_id:'t-red',user_id:'u-ann'}});
}));
await call('/key/delete', async()=>{
  await p.liteLLM_DeletedVerificationToken.createMany({data:[{token:K2,key_name:'sk-...-key',key_alias:'deploy',models:['gpt-6'],user_id:'u-ann',team_id:'t-red',deleted_by:admin}]});
  await p.liteLLM_VerificationToken.deleteMany({where:{token:{in:[K2]}}}); });
await call('/team/delete', ()=>p.$transaction(async tx=>{
  await tx.liteLLM_DeletedTeamTable.createMany({data:[{team_id:'t-red',team_alias:'Red',organization_id:'org-acme'}]});
  await tx.liteLLM_TeamTable.deleteMany({where:{team_id:{in:['t-red']}}}); }));
await call('/credentials, deleted', ()=>p.liteLLM_CredentialsTable.delete({where:{credential_name:'azure-eu'}}));
await call('/guardrails, deleted', ()=>p.liteLLM_GuardrailsTable.delete({where:{guardrail_id:'g-1'}}));
await call('/user/delete', async()=>{ await p.liteLLM_InvitationLink.deleteMany({where:{user_id:{in:['u-ann']}}}); await p.liteLLM_OrganizationMembership.deleteMany({where:{user_id:{in:['u-ann']}}}); await p.liteLLM_UserTable.deleteMany({where:{user_id:{in:['u-ann']}}}) });
fs.writeFileSync('litellm_calls.json', JSON.stringify(seen,(k,v)=>typeof v==="bigint"?Number(v):v,1)); await p.$disconnect(); await pool.end();
})()
