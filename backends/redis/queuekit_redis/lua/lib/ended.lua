-- ended: how a job ends, what is kept of it, and how it is removed; uses job and unique
local OWN = 35184372088832 -- 2^45: jobs with a retention of their own stand in a second band of their state's zset
local ended_key = {[COMPLETED] = k_completed, [FAILED] = k_failed, [CANCELLED] = k_cancelled}
local total_of = {[COMPLETED] = 'completed', [FAILED] = 'failed', [CANCELLED] = 'cancelled'}

local function limits_of(label)
  local count, age = string.match(label, '^(%d*)/(%d*)$')
  return tonumber(count), tonumber(age)
end

local function label_of(count, age)
  return (count and string.format('%.0f', count) or '') .. '/' .. (age and string.format('%.0f', age) or '')
end

-- The queue's retention of a state.
local function queue_keep(state)
  if state == COMPLETED then return call('HGET', k_vars, 'keep_completed') or KEEP_COMPLETED end
  return call('HGET', k_vars, 'keep_failed') or KEEP_FAILED
end

-- Everything of these jobs but their members in the lines.
local function drop(ids)
  if #ids == 0 then return end
  local notes, options = {}, {}
  for i = 1, #ids, 4000 do
    local runs = call('HMGET', k_run, unpack(ids, i, math.min(i + 3999, #ids)))
    for k = 1, #runs do
      local id, bits = ids[i + k - 1], runs[k] and byte(runs[k], 3) or 16
      if bits % 16 > 0 then
        if has(bits, 1) then notes[#notes + 1] = 'r' .. id end
        if has(bits, 2) then notes[#notes + 1] = 'p' .. id end
        if has(bits, 4) then notes[#notes + 1] = 'e' .. id end
        if has(bits, 8) then notes[#notes + 1] = 'l' .. id end
      end
      if has(bits, 16) then options[#options + 1] = id end
    end
  end
  many('HDEL', k_run, ids)
  many('HDEL', k_jobs, ids)
  many('HDEL', k_notes, notes)
  many('HDEL', k_opts, options)
end

-- The lexicographic member that orders ended jobs of one class.
local function class(state, label) return state .. '|' .. label .. '|' end

local function member(id, j) return class(j.state, j.keep) .. string.format('%015.0f', j.ended) .. '|' .. id end

-- The oldest of one class over its count, at most 2,000.
local function trim(state, label, own)
  local count = limits_of(label)
  if not count then return 0 end
  local key, ids = ended_key[state], {}
  if not own then
    local over = call('ZCOUNT', key, '-inf', '(' .. OWN) - count
    if over <= 0 then return 0 end
    local popped = call('ZPOPMIN', key, math.min(over, 2000))
    for i = 1, #popped, 2 do ids[#ids + 1] = popped[i] end
  else
    local prefix = class(state, label)
    local over = call('ZLEXCOUNT', k_kept, '[' .. prefix, '(' .. prefix .. '~') - count
    if over <= 0 then return 0 end
    local members = call('ZRANGEBYLEX', k_kept, '[' .. prefix, '(' .. prefix .. '~', 'LIMIT', 0, math.min(over, 2000))
    for i = 1, #members do ids[i] = sub(members[i], #prefix + 17) end
    many('ZREM', k_kept, members)
    many('ZREM', key, ids)
  end
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
    call('PUBLISH', k_awaited, id)
  end
  call('HINCRBY', k_vars, total_of[state], 1)
  j.keep = own
  save(id, j)
  if limits_of(label) == 0 then return drop({id}) end
  if own == '' then
    call('ZADD', ended_key[state], now, id)
  else
    call('ZADD', ended_key[state], now + OWN, id)
    call('ZADD', k_kept, 0, member(id, j))
  end
  trim(state, label, own ~= '')
end
