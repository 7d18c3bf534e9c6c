-- known: which ids and unique keys are taken here, for a producer at the store that the queue moves to
-- KEYS[1] jobs    hash: id -> entry
-- KEYS[2] vars    hash: counters and limits
-- KEYS[3] unique  hash: key -> holder
-- KEYS[4] utime   zset: unique key, free at ms
-- ARGV[1] clock shift ms  ARGV[2] how many ids  ARGV[3 …] ids, then keys
-- RETURNS {1, {id …}, {key, holder …}}, or {0}: the queue still takes jobs
-- COST O(ids + keys)
-- SINCE 1.0
-- USES base unique
local home = call('HGET', k_vars, 'home')
if not home or home == 'arriving' then return {0} end
local now, many_ids, ids, keys = clock(ARGV[1]), tonumber(ARGV[2]), {}, {}
for a = 3, 2 + many_ids do
  if call('HEXISTS', k_jobs, ARGV[a]) == 1 then ids[#ids + 1] = ARGV[a] end
end
for a = 3 + many_ids, #ARGV do
  local holder = holder_of(ARGV[a], now)
  if holder then keys[#keys + 1], keys[#keys + 2] = ARGV[a], holder end
end
return {1, ids, keys}
