-- parcels: running jobs as a mover takes them, of some ids
-- KEYS[1] jobs     hash: id -> entry
-- KEYS[2] run      hash: id -> what changes
-- KEYS[3] opts     hash: id -> what is not default
-- KEYS[4] notes    hash: kind and id -> bytes
-- KEYS[5] vars     hash: counters and limits
-- KEYS[6] active   zset: id, lease end ms
-- KEYS[7] unique   hash: key -> holder
-- KEYS[8] awaited  hash: id -> 1, and the channel that tells of ends
-- ARGV[1] clock shift ms  ARGV[2 …] ids
-- RETURNS {epoch, ids, entries, runs, extras, marks, lease ends} of those that are active here, in this order
-- COST O(ids · log n)
-- SINCE 1.0
-- USES base run extras parcel
local now, leases = clock(ARGV[1]), {}
for a = 2, #ARGV do
  local id = ARGV[a]
  local entry, run = call('HGET', k_jobs, id), call('HGET', k_run, id)
  if entry and run and byte(run, 1) == ACTIVE then
    parcel(id, entry, run, false, now, false)
    leases[#ids] = call('ZSCORE', k_active, id)
  end
end
return {call('HGET', k_vars, 'epoch'), ids, entries, runs, mores, marks, leases}
