-- enqueue: keep up to 1000 jobs, all or none
-- KEYS[1] jobs       hash: id -> entry
-- KEYS[2] run        hash: id -> what changes
-- KEYS[3] opts       hash: id -> what is not default
-- KEYS[4] vars       hash: counters and limits
-- KEYS[5] ops        hash: actor -> last call
-- KEYS[6] ready      zset: id, score of (priority, place)
-- KEYS[7] suspect    zset: as ready
-- KEYS[8] delayed    zset: id, due ms
-- KEYS[9] unique     hash: key -> holder
-- KEYS[10] utime     zset: unique key, free at ms
-- KEYS[11] expiring  zset: id, expires ms
-- KEYS[12] marker    zset: '0' while there may be work
-- ARGV[1] actor  ARGV[2] n  ARGV[3] clock shift ms  ARGV[4] '1': some job has a unique key  ARGV[5] how many jobs
-- ARGV[6 …] a job: id, blob (B flags, I2 priority, I2 version, B length and task, body); flags 1: then when it is due;
--           flags 4: then opts from its second field on, and when it expires. Flags 2 is lifo.
-- RETURNS {0 new | 1 replayed, now, receipts}; receipts '' all created, else a name for each: '+' or the holder
--         {2, last n} stale · {3, home, to} moved · {4, waiting, max} full · {5, id, key} conflict
-- COST O(jobs · log n)
-- SINCE 1.0
-- USES base op job unique spec
local actor, n, now, count = ARGV[1], tonumber(ARGV[2]), clock(ARGV[3]), tonumber(ARGV[5])
local answer, last = recall(actor, n)
if answer == false then return {2, last} end
if answer then return {1, now, answer} end
local vars = call('HMGET', k_vars, 'home', 'to', 'max_size', 'place', 'front', 'enqueued')
if vars[1] and vars[1] ~= 'arriving' then return {3, vars[1], vars[2]} end
local plan, refusal = {}, nil
if ARGV[4] == '1' or vars[3] then
  plan, refusal = planned(count, vars[3], now)
  if not plan then return refusal end
end
local place, front, made = tonumber(vars[4] or 0), tonumber(vars[5] or 0), 0
local created, ready, delayed, options = pack('<I8', now), {}, {}, {}

local function stand(id, blob, flags, due)
  local where
  if due and due > now then
    delayed[#delayed + 1], delayed[#delayed + 2] = due, id
    return
  elseif has(flags, 2) then
    front = front - 1
    where = front
  else
    place = place + 1
    where = place
  end
  ready[#ready + 1], ready[#ready + 2] = (byte(blob, 2) + byte(blob, 3) * 256) * BAND + MID + where, id
end

-- Write what was gathered since the last time.
local function keep()
  if #delayed > 0 then
    local first, least = call('ZRANGE', k_delayed, 0, 0, 'WITHSCORES')[2], math.huge
    for i = 1, #delayed, 2 do least = math.min(least, delayed[i]) end
    many('ZADD', k_delayed, delayed)
    if not first or least < tonumber(first) then call('ZADD', k_marker, 0, '0') end
  end
  if #ready > 0 then
    many('ZADD', k_ready, ready)
    call('ZADD', k_marker, 0, '0')
  end
  many('HSET', k_opts, options)
  ready, delayed, options = {}, {}, {}
end

local a, some, receipts, replaced = 6, false, {}, false
for i = 1, count do
  local id, blob, flags, due, o, expires, stop = job_at(a, now)
  local known = plan[i]
  if known and byte(known) == 33 then -- '!'
    known = sub(known, 2)
    keep() -- the holder may be of this very call
    if replace(known, blob, due, o, place + 1, now) then place, replaced = place + 1, true end
  elseif not known and call('HSETNX', k_jobs, id, entry_of(created, blob, due)) == 0 then
    known = id
  elseif not known then
    made = made + 1
    if o then
      options[#options + 1], options[#options + 2] = id, pack('<I8', expires) .. o
      if expires > 0 then call('ZADD', k_expiring, expires, id) end
      local till, _, ttl, _, key = unique_of(o)
      if till > 0 then take(key, till, ttl, id, now) end
    end
    stand(id, blob, flags, due)
  end
  some, receipts[i], a = some or known, known or '+', stop
end
keep()
if made > 0 or replaced then
  call('HSET', k_vars, 'place', place, 'front', front, 'enqueued', tonumber(vars[6] or 0) + made)
end
answer = some and table.concat(receipts, ',') or ''
remember(actor, n, now, answer)
return {0, now, answer}
