-- spec: the jobs an enqueue brings, what each will become, and replacing; uses base, job, unique
local EXISTING, REPLACE, REFUSE = 0, 1, 2

-- One job of ARGV from `a`: id, blob, flags, due, opts, expires, and where the next one starts.
local function job_at(a, now)
  local blob, due, o, expires = ARGV[a + 1], nil, nil, 0
  local flags, stop = byte(blob), a + 2
  if flags % 2 == 1 then
    due, stop = moment(ARGV[stop], now), stop + 1
  end
  if flags >= 4 then
    o, expires, stop = ARGV[stop], moment(ARGV[stop + 1], now) or 0, stop + 2
  end
  return ARGV[a], blob, flags, due, o, expires, stop
end

-- What is kept in the hash jobs; `created` is packed.
local function entry_of(created, blob, due)
  if not due then return created .. blob end
  return created .. sub(blob, 1, 1) .. pack('<I8', due) .. sub(blob, 2)
end

-- The unique key of opts that came without their first field.
local function unique_of(o)
  local till, conflict, ttl, max_wait, _, _, key, stop = parse('<BBI8I8Bc0Bc0I4c0', o)
  return till, conflict, ttl, max_wait, key, stop
end

-- What each job from ARGV[first] on will become, before anything is written: nil created, 'id' known, '!id' replaces that one's content.
-- Or nil and the reply that refuses the whole call.
local function planned(first, count, max_size, now)
  local new, keys, receipts, fresh_ones, a = {}, {}, {}, 0, first
  for i = 1, count do
    local id, _, _, _, o, _, stop = job_at(a, now)
    if new[id] or call('HEXISTS', k_jobs, id) == 1 then
      receipts[i] = id
    else
      local till, conflict, key, _ = 0, EXISTING, nil, nil
      if o then till, conflict, _, _, key = unique_of(o) end
      local holder = till > 0 and (keys[key] or holder_of(key, now))
      if holder and conflict == REFUSE then return nil, {5, id, key} end
      if holder then
        receipts[i] = (conflict == REPLACE and '!' or '') .. holder
      else
        new[id], fresh_ones = true, fresh_ones + 1
        if till > 0 then keys[key] = id end
      end
    end
    a = stop
  end
  if max_size and fresh_ones > 0 then
    local have = call('ZCARD', k_ready) + call('ZCARD', k_suspect) + call('ZCARD', k_delayed)
    if have + fresh_ones > tonumber(max_size) then return nil, {4, have, tonumber(max_size)} end
  end
  return receipts
end

-- Debounce: the holder takes the new content and time, unless it runs, is parked, has ended, or is on its way to another
-- store. False: it was left.
local function replace(id, blob, due, o, place, now)
  local j, entry = load(id), call('HGET', k_jobs, id)
  if not j or j.state > DELAYED or call('HEXISTS', k_out, id) == 1 then return false end
  local _, _, _, max_wait, _, stop = unique_of(o)
  if max_wait > 0 and due then due = math.min(due, parse('<I8', entry) + max_wait) end
  call('HSET', k_jobs, id, entry_of(sub(entry, 1, 8), blob, due))
  local old = opts(id).text -- its own expiry, key and retention stay; the caller's options are new
  local from = select(6, unique_of(sub(old, 9))) + 8
  local options, _ = parse('<I4c0', o, stop)
  local _, trace = parse('<I4c0', old, from)
  call('HSET', k_opts, id, sub(old, 1, from - 1) .. pack('<I4c0', #options, options) .. sub(old, trace))
  call('ZREM', j.state == DELAYED and k_delayed or j.line == SUSPECT and k_suspect or k_ready, id)
  j.score = (byte(blob, 2) + byte(blob, 3) * 256) * BAND + MID + place
  j.rev, j.run_at = j.rev + 1, due or 0
  if due and due > now then
    j.state, j.line = DELAYED, 0
    call('ZADD', k_delayed, due, id)
  else
    j.state, j.line = WAITING, j.line == 0 and READY or j.line
    call('ZADD', j.line == SUSPECT and k_suspect or k_ready, j.score, id)
  end
  save(id, j)
  call('ZADD', k_marker, 0, '0')
  return true
end
