-- sweep: the steps of prune; uses job, unique, ended, lines, remove
-- Actors that were not seen since `moment`, some 200 a call.
local function forget(moment)
  local cursor = call('HGET', k_vars, 'ops_cursor')
  local scan = call('HSCAN', k_ops, cursor or '0', 'COUNT', 200)
  for i = 1, #scan[2], 2 do
    if parse('<I8', scan[2][i + 1], 9) <= moment then call('HDEL', k_ops, scan[2][i]) end
  end
  if scan[1] ~= '0' then return call('HSET', k_vars, 'ops_cursor', scan[1]) end
  if cursor then call('HDEL', k_vars, 'ops_cursor') end
end

-- Unique keys whose time is over.
local function release_keys(now, limit)
  local keys = call('ZRANGEBYSCORE', k_utime, '-inf', now, 'LIMIT', 0, limit)
  for i = 1, #keys do
    if not holder_of(keys[i], now) then call('HDEL', k_unique, keys[i]) end
    call('ZREM', k_utime, keys[i])
  end
  return #keys == limit
end

-- Jobs that were not started in time; one that runs keeps its entry and is passed over. Answers whether to go on.
local function expire_due(now, limit)
  local kept, done = 0, 0
  for _ = 1, 10 do
    local due = call('ZRANGEBYSCORE', k_expiring, '-inf', now, 'LIMIT', kept, limit)
    for i = 1, #due do
      local j = load(due[i])
      if j and (j.state == WAITING or j.state == DELAYED) then
        expire(due[i], j, now)
        done = done + 1
      elseif j then
        kept = kept + 1
      else
        call('ZREM', k_expiring, due[i])
      end
    end
    if #due < limit then return false end
  end
  return done > 0
end

-- One class: over its count, then over its age. Answers how many of those of age went, and whether some are left.
local function class_outlived(state, label, own, now, limit)
  local over = trim(state, label, own)
  local _, age = limits_of(label)
  if not age or limit <= 0 then return 0, over >= 2000 end
  local key, ids = ended_key[state], {}
  if own then
    local prefix = class(state, label)
    local members = call('ZRANGEBYLEX', k_kept, '[' .. prefix, '[' .. prefix .. string.format('%015.0f', now - age) .. '~', 'LIMIT', 0, limit)
    for i = 1, #members do ids[i] = sub(members[i], #prefix + 17) end
    many('ZREM', k_kept, members)
  else
    ids = call('ZRANGEBYSCORE', key, '-inf', now - age, 'LIMIT', 0, limit)
  end
  many('ZREM', key, ids)
  drop(ids)
  return #ids, #ids == limit or over >= 2000
end

-- All classes, those with a label some 200 a call: where it stopped is kept, unless it has to go over them again.
local function outlived(now, limit)
  local removed, left = 0, false
  local function one(state, label, own)
    local gone, more = class_outlived(state, label, own, now, limit - removed)
    removed, left = removed + gone, left or more
  end
  local vars = call('HMGET', k_vars, 'keep_completed', 'keep_failed', 'kept_cursor')
  one(COMPLETED, vars[1] or KEEP_COMPLETED, false)
  if call('EXISTS', k_failed, k_cancelled) > 0 then
    for state = FAILED, CANCELLED do one(state, vars[2] or KEEP_FAILED, false) end
  end
  local from = vars[3] or '-'
  for _ = 1, 200 do
    local first = call('ZRANGEBYLEX', k_kept, from, '+', 'LIMIT', 0, 1)[1]
    if not first then
      if vars[3] and not left then call('HDEL', k_vars, 'kept_cursor') end
      return removed, left
    end
    local state, label = string.match(first, '^(%d)|([^|]*)|')
    one(tonumber(state), label, true)
    from = '(' .. class(state, label) .. '~'
  end
  if not left then call('HSET', k_vars, 'kept_cursor', from) end
  return removed, true
end

-- Jobs of one state that entered it at `moment` or before, oldest first.
local function older(state, moment, limit, looks)
  local found = {}
  local function add(id, at) found[#found + 1] = {id, at} end
  if state == WAITING or state == DELAYED then -- their lines know no time of entry: it is that of the enqueue
    for _, key in ipairs(state == WAITING and {k_suspect, k_ready} or {k_delayed}) do
      for from = 0, looks - 1, 1000 do
        local ids = call('ZRANGE', key, from, from + 999)
        if #ids == 0 or #found > limit then break end
        local entries = call('HMGET', k_jobs, unpack(ids))
        for i = 1, #ids do
          local at = entries[i] and parse('<I8', entries[i]) or 0
          if at <= moment then add(ids[i], at) end
        end
      end
    end
  else
    for _, base in ipairs(state >= COMPLETED and {0, tonumber(OWN)} or {0}) do
      local low = base == 0 and '-inf' or base
      local aged = call('ZRANGEBYSCORE', line_key[state], low, base + moment, 'WITHSCORES', 'LIMIT', 0, limit + 1)
      for i = 1, #aged, 2 do add(aged[i], aged[i + 1] - base) end
    end
  end
  table.sort(found, function(a, b) return a[2] < b[2] end)
  for i = 1, math.min(#found, limit) do
    local id = found[i][1]
    local j = load(id)
    if j then remove(id, j) end
  end
  return {math.min(#found, limit), #found > limit and 1 or 0}
end
