-- within: jobs of an enqueue, run inside the caller's own MULTI after `plan` found nothing against them
-- KEYS[1] jobs       hash: id -> entry
-- KEYS[2] run        hash: id -> what changes
-- KEYS[3] opts       hash: id -> what is not default
-- KEYS[4] vars       hash: counters and limits
-- KEYS[5] ready      zset: id, score of (priority, place)
-- KEYS[6] suspect    zset: as ready
-- KEYS[7] delayed    zset: id, due ms
-- KEYS[8] unique     hash: key -> holder
-- KEYS[9] utime      zset: unique key, free at ms
-- KEYS[10] expiring  zset: id, expires ms
-- KEYS[11] marker    zset: '0' while there may be work
-- KEYS[12] out       hash: id -> batch it is checked out under
-- ARGV[1] '' and ARGV[2] '0', unused  ARGV[3] clock shift ms  ARGV[4] as in enqueue  ARGV[5] how many jobs
-- ARGV[6 …] the jobs, as in enqueue
-- RETURNS {0, created}, {3, home, to}: moved, or {9, message}. It never fails: the caller's own writes stand by then
-- COST O(jobs · log n)
-- SINCE 1.0
-- USES base when run job unique spec insert
local done, reply = pcall(function()
  local vars = call('HMGET', k_vars, 'home', 'to', 'place', 'front', 'enqueued')
  if vars[1] and vars[1] ~= 'arriving' then return {3, vars[1], vars[2]} end
  if vars[2] and ARGV[4] ~= '3' then return {9, 'jobs of this queue are still coming from ' .. vars[2]} end
  -- A key of another type is met before the first write.
  for _, key in ipairs({k_jobs, k_run, k_opts, k_unique}) do call('HLEN', key) end
  for _, key in ipairs({k_ready, k_suspect, k_delayed, k_utime, k_expiring, k_marker}) do call('ZCARD', key) end
  local now, receipts, created = clock(ARGV[3]), {}, 0
  local count, place, front = tonumber(ARGV[5]), tonumber(vars[3] or 0), tonumber(vars[4] or 0)
  local refusal = insert(6, count, nil, place, front, tonumber(vars[5] or 0), pack('<I8', now), receipts, now)
  if refusal then return {9, 'the unique key of job ' .. tostring(refusal[2]) .. ' is held'} end
  for i = 1, count do created = created + (receipts[i] == '+' and 1 or 0) end
  return {0, created}
end)
if done then return reply end
return {9, type(reply) == 'table' and reply.err or tostring(reply)}
