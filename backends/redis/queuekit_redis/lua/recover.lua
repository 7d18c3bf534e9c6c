-- recover: take jobs from workers that went silent
-- KEYS[1] jobs       hash: id -> entry
-- KEYS[2] run        hash: id -> what changes
-- KEYS[3] opts       hash: id -> what is not default
-- KEYS[4] notes      hash: kind and id -> bytes
-- KEYS[5] vars       hash: counters and limits
-- KEYS[6] ready      zset: id, score of (priority, place)
-- KEYS[7] suspect    zset: as ready
-- KEYS[8] active     zset: id, lease end ms
-- KEYS[9] completed  zset: id, ended ms (+ 2^45: own retention)
-- KEYS[10] failed    zset: as completed
-- KEYS[11] cancelled zset: as completed
-- KEYS[12] kept      zset of score 0: state|label|ended|id
-- KEYS[13] unique    hash: key -> holder
-- KEYS[14] utime     zset: unique key, free at ms
-- KEYS[15] expiring  zset: id, expires ms
-- KEYS[16] awaited   hash: id -> 1, and the channel that tells of ends
-- KEYS[17] marker    zset: '0' while there may be work
-- ARGV[1] clock shift ms  ARGV[2] limit  ARGV[3] ms between the calls
-- RETURNS {now, {suspect id …}, {crashed id …}, {cancelled id …}, grace until, more, no job is active}
-- COST O(limit · log n)
-- SINCE 1.0
-- USES base run job unique drop ended
local now, limit, every = clock(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local vars = call('HMGET', k_vars, 'seen', 'grace', 'max_crashes', 'pace')
local grace, pace = tonumber(vars[2] or 0), math.min(every, tonumber(vars[4]) or every)
local gap, length = now - (tonumber(vars[1]) or now), math.max(2 * every, LEAST_GRACE)
if gap > MISSED * pace and (grace == 0 or gap > length) then grace, pace = now + length, every end
if grace <= now then grace = 0 end
if type(redis.pcall('HSET', k_vars, 'seen', now, 'grace', grace, 'pace', pace)) == 'table' then
  call('ZREM', k_active, '') -- shrinks, so that a full server lets the rest of the script through
  call('HSET', k_vars, 'seen', now, 'grace', grace, 'pace', pace)
end
if grace > 0 then return {now, {}, {}, {}, grace, 0, 0} end
local first, expired = call('ZRANGEBYSCORE', k_active, '(0', '+inf', 'WITHSCORES', 'LIMIT', 0, limit + 1), {}
for i = 1, #first, 2 do
  if tonumber(first[i + 1]) <= now then expired[#expired + 1] = first[i] end
end
local suspects, crashed, cancelled = {}, {}, {}
local most = tonumber(vars[3] or MAX_CRASHES)
for i = 1, math.min(#expired, limit) do
  local id, run = expired[i], call('HGET', k_run, expired[i])
  call('ZREM', k_active, id)
  local j = run and read(run)
  if j and j.cancel ~= '' then
    j.reason = j.cancel
    finish(id, j, CANCELLED, now, '')
    cancelled[#cancelled + 1] = id
  elseif j then
    if j.line == SUSPECT or j.crashes == 0 then
      j.crashes = j.crashes + 1
      call('HINCRBY', k_vars, 'crashed', 1)
    end
    if j.crashes >= most then
      j.reason = '=crash_loop'
      finish(id, j, FAILED, now, '')
      crashed[#crashed + 1] = id
    else
      j.state, j.line, j.token, j.rev = WAITING, SUSPECT, '', j.rev + 1
      save(id, j)
      call('ZADD', k_suspect, j.score, id)
      suspects[#suspects + 1] = id
    end
  end
end
if #suspects > 0 then call('ZADD', k_marker, 0, '0') end
return {now, suspects, crashed, cancelled, false, #expired > limit and 1 or 0, #first == 0 and 1 or 0}
