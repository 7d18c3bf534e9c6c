-- promote: due delayed jobs take a place at the back of their priority; uses job, unique, ended, lines
-- Answers when the next one is due (false: none), after at most 500 were moved in order (run_at, id).
local function promote(now)
  local first = call('ZRANGE', k_delayed, 0, 0, 'WITHSCORES')
  if not first[2] then return false end
  if tonumber(first[2]) > now then return tonumber(first[2]) end
  local due = call('ZRANGEBYSCORE', k_delayed, '-inf', now, 'LIMIT', 0, 500)
  many('ZREM', k_delayed, due)
  local entries, runs = call('HMGET', k_jobs, unpack(due)), call('HMGET', k_run, unpack(due))
  local place, ready, changed = back(#due) - #due, {}, {}
  for i = 1, #due do
    local id = due[i]
    if entries[i] then
      local j = runs[i] and read(runs[i]) or fresh(entries[i], DELAYED)
      local expires = has(j.bits, 16) and opts(id).expires or 0
      if expires > 0 and expires <= now then
        j.reason = '=expired'
        finish(id, j, CANCELLED, now, '')
      else
        j.state, j.line, j.rev = WAITING, READY, j.rev + 1
        j.score = floor(j.score / BAND) * BAND + MID + place + i
        ready[#ready + 1], ready[#ready + 2] = j.score, id
        changed[#changed + 1], changed[#changed + 2] = id, written(j)
      end
    end
  end
  many('ZADD', k_ready, ready)
  many('HSET', k_run, changed)
  first = call('ZRANGE', k_delayed, 0, 0, 'WITHSCORES')
  return first[2] and tonumber(first[2]) or false
end
