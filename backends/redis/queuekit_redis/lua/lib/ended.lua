-- ended: how a job ends and what is kept of it; uses base, drop, job, unique
local ended_key = {[COMPLETED] = k_completed, [FAILED] = k_failed, [CANCELLED] = k_cancelled}
local total_of = {[COMPLETED] = 'completed', [FAILED] = 'failed', [CANCELLED] = 'cancelled'}

local function limits_of(label)
  local count, age = string.match(label, '^(%d*)/(%d*)$')
  return tonumber(count), tonumber(age)
end

local function label_of(count, age)
  return (count and string.format('%.0f', count) or '') .. '/' .. (age and string.format('%.0f', age) or '')
end

-- Watchers also look by themselves: a user who may not publish here (Redis 7 gives new users no channel) is no error.
local function tell(id) redis.pcall('PUBLISH', k_awaited, id) end

-- The queue's retention of a state.
local function queue_keep(state)
  if state == COMPLETED then return call('HGET', k_vars, 'keep_completed') or KEEP_COMPLETED end
  return call('HGET', k_vars, 'keep_failed') or KEEP_FAILED
end

-- The lexicographic member that orders ended jobs of one class.
local function class(state, label) return state .. '|' .. label .. '|' end

local function member(id, j) return class(j.state, j.keep) .. string.format('%015.0f', j.ended) .. '|' .. id end

-- The oldest of one class over its count, at most 2,000.
local function trim(state, label, own)
  local count = limits_of(label)
  if not count then return 0 end
  if not own then return trim_oldest(ended_key[state], count) end
  local prefix, ids = class(state, label), {}
  local over = call('ZLEXCOUNT', k_kept, '[' .. prefix, '(' .. prefix .. '~') - count
  if over <= 0 then return 0 end
  local members = call('ZRANGEBYLEX', k_kept, '[' .. prefix, '(' .. prefix .. '~', 'LIMIT', 0, math.min(over, 2000))
  for i = 1, #members do ids[i] = sub(members[i], #prefix + 17) end
  many('ZREM', k_kept, members)
  many('ZREM', ended_key[state], ids)
  drop(ids)
  return #ids
end

-- A job that somebody waits for stays a minute at least.
local function longer(label)
  local count, age = limits_of(label)
  if count == 0 then return label_of(nil, AWAITED_AGE) end
  return label_of(count and math.max(count, AWAITED_COUNT), age and math.max(age, AWAITED_AGE))
end

-- End a job that has left its line. `keep` is the worker's retention, '' where it has none.
local function finish(id, j, state, now, keep)
  local own = ''
  j.state, j.line, j.rev, j.ended, j.cancel, j.bits = state, 0, j.rev + 1, now, '', without(j.bits, 32)
  if has(j.bits, 16) then
    local o = opts(id)
    own = state == COMPLETED and o.keep_completed or o.keep_failed
    free(id, o, false)
    if o.expires > 0 then call('ZREM', k_expiring, id) end
  end
  if own == '' then own = keep end
  local label = own == '' and queue_keep(state) or own
  if call('HDEL', k_awaited, id) == 1 then
    local kept = longer(label)
    if kept ~= label then own, label = kept, kept end
    tell(id)
  end
  call('HINCRBY', k_vars, total_of[state], 1)
  j.keep = own
  save(id, j)
  if limits_of(label) == 0 then return drop({id}) end
  if own == '' then
    call('ZADD', ended_key[state], now, id)
  else
    call('ZADD', ended_key[state], now + tonumber(OWN), id)
    call('ZADD', k_kept, 0, member(id, j))
  end
  trim(state, label, own ~= '')
end
