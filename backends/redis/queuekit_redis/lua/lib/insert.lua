-- insert: jobs of an enqueue that are more than plain; uses base, when, job, unique, spec
-- The jobs stand in ARGV from `first` on. Fills `receipts`; or answers the reply that refuses all, before it writes.
local function insert(first, count, max_size, place, front, enqueued, created, receipts, now)
  local plan, refusal = {}, nil
  if ARGV[4] == '2' or ARGV[4] == '3' or max_size then
    plan, refusal = planned(first, count, max_size, now)
    if not plan then return refusal end
  end
  local ready, delayed, options, least, made, a = {}, {}, {}, math.huge, 0, first

  -- Write what was gathered since the last time.
  local function keep()
    if #delayed > 0 then
      local soonest = call('ZRANGE', k_delayed, 0, 0, 'WITHSCORES')[2]
      many('ZADD', k_delayed, delayed)
      if not soonest or least < tonumber(soonest) then call('ZADD', k_marker, '0', '0') end
    end
    if #ready > 0 then
      many('ZADD', k_ready, ready)
      call('ZADD', k_marker, '0', '0')
    end
    many('HSET', k_opts, options)
    ready, delayed, options = {}, {}, {}
  end

  local function stand(id, blob, flags, due)
    local where
    if due and due > now then
      delayed[#delayed + 1], delayed[#delayed + 2] = due, id
      least = math.min(least, due)
      return
    elseif has(flags, 2) then
      front = front - 1
      where = front
    else
      place = place + 1
      where = place
    end
    ready[#ready + 1], ready[#ready + 2] = text((byte(blob, 2) + byte(blob, 3) * 256) * BAND + MID + where), id
  end

  local function put(id, blob, flags, due, o, expires)
    made = made + 1
    if o then
      options[#options + 1], options[#options + 2] = id, pack('<I8', expires) .. o
      if expires > 0 then call('ZADD', k_expiring, expires, id) end
      local till, _, ttl, _, key = unique_of(o)
      if till > 0 then take(key, till, ttl, id, now) end
    end
    stand(id, blob, flags, due)
  end

  for i = 1, count do
    local id, blob, flags, due, o, expires, stop = job_at(a, now)
    local known = plan[i]
    if known and byte(known) == 33 then -- '!'
      known = sub(known, 2)
      keep() -- the holder may be of this very call
      if replace(known, blob, due, o, place + 1, now) then place = place + 1 end
    elseif not known and call('HSETNX', k_jobs, id, entry_of(created, blob, due)) == 0 then
      known = id
    elseif not known then
      put(id, blob, flags, due, o, expires)
    end
    receipts[i], a = known == id and '=' or known or '+', stop
  end
  keep()
  call('HSET', k_vars, 'place', text(place), 'front', text(front), 'enqueued', text(enqueued + made))
  return nil
end
