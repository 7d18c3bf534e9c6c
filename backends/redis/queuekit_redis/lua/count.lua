-- count: how many jobs are in each state
-- KEYS[1] jobs       hash: id -> entry
-- KEYS[2] run        hash: id -> what changes
-- KEYS[3] vars       hash: counters and limits
-- KEYS[4] ready      zset: id, score of (priority, place)
-- KEYS[5] suspect    zset: as ready
-- KEYS[6] delayed    zset: id, due ms
-- KEYS[7] active     zset: id, lease end ms
-- KEYS[8] parked     zset: id, ms
-- KEYS[9] blocked    zset: id, ms
-- KEYS[10] completed zset: id, ended ms (+ 2^45: own retention)
-- KEYS[11] failed    zset: as completed
-- KEYS[12] cancelled zset: as completed
-- ARGV[1] clock shift ms
-- RETURNS {now, ready, suspect, delayed, blocked, active, parked, completed, failed, cancelled, oldest, vars …}
--         oldest: since when the job that waits longest could have run, false where none waits
-- COST O(states · log n), and up to three looks for each of the first 32 priorities in use
-- SINCE 1.0
-- USES base run
local now, oldest = clock(ARGV[1]), false

local function look(id)
  if not id then return end
  local run, entry = call('HGET', k_run, id), call('HGET', k_jobs, id)
  if not entry then return end
  local _, run_at = envelope(entry)
  if run then run_at = read(run).run_at end
  local since = math.max(parse('<I8', entry), run_at)
  oldest = oldest and math.min(oldest, since) or since
end

-- The first of each priority: within one, places follow the time a job began to wait. Jobs put before all stand the
-- other way round: of them the last, and then the first of the others.
for _, key in ipairs({k_suspect, k_ready}) do
  local from = '-inf'
  for _ = 1, 32 do
    local first = call('ZRANGEBYSCORE', key, from, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
    if #first == 0 then break end
    look(first[1])
    local band = floor(first[2] / BAND) * BAND
    if first[2] - band < MID then
      look(call('ZREVRANGEBYSCORE', key, '(' .. text(band + MID), text(band), 'LIMIT', 0, 1)[1])
      look(call('ZRANGEBYSCORE', key, text(band + MID), '(' .. text(band + BAND), 'LIMIT', 0, 1)[1])
    end
    from = text(band + BAND)
  end
end
local reply = {now}
for _, key in ipairs({k_ready, k_suspect, k_delayed, k_blocked, k_active, k_parked, k_completed, k_failed, k_cancelled}) do
  reply[#reply + 1] = call('ZCARD', key)
end
reply[11] = oldest
local vars = call('HMGET', k_vars, 'paused', 'enqueued', 'completed', 'failed', 'retried', 'crashed', 'cancelled', 'released')
for i = 1, 8 do reply[11 + i] = vars[i] end
return reply
