-- depart: what leaves its line next, in the order of find, ended jobs oldest first; uses base, run, parcel
local OWN_BAND = 35184372088832 -- 2^45, as in lib/ended
local full = false -- of bytes: no further job

-- A job that stood ready and was never claimed gets a run, which remembers its place.
local FRESH_TAIL = string.rep('\0', 12) -- no token, worker, cancel, reason, retention

local function placed(entry, score)
  local flags, run_at = envelope(entry)
  return pack('<BBBI4I8I8I8dI4I4I4I4', WAITING, READY, has(flags, 4) and 16 or 0, 1, 0, run_at, 0, score, 0, 0, 0, 0) .. FRESH_TAIL
end

-- Jobs are added as far as they fit, from `names` at i on; answers how many.
local function pack_up(names, scores, now, ready)
  local got, old, changed, expire = call('HMGET', k_jobs, unpack(names)), call('HMGET', k_run, unpack(names)), {}, {}
  local n = 0
  for i = 1, #names do
    local id, entry, run = names[i], got[i], old[i]
    if entry and not parcel(id, entry, run, ready and scores[i], now, true) then
      full = true
      break
    end
    n = i
    if entry then
      if ready and not run then changed[#changed + 1], changed[#changed + 2] = id, placed(entry, scores[i]) end
      local more = mores[#ids]
      if more and more[1] and parse('<I8', more[1]) > 0 then expire[#expire + 1] = id end
    end
  end
  many('HSET', k_run, changed)
  many('ZREM', k_expiring, expire)
  return n
end

-- Members of a line from its start on leave it.
local function leave_line(key, limit, now)
  local step = 20 -- large ones show before many are read
  for _ = 1, 60 do
    if full or #ids >= limit then return end
    local first, names, scores = call('ZRANGE', key, 0, math.min(step, limit - #ids) - 1, 'WITHSCORES'), {}, {}
    if #first == 0 then return end
    for i = 1, #first, 2 do names[#names + 1], scores[#scores + 1] = first[i], first[i + 1] end
    local n = pack_up(names, scores, now, key == k_ready)
    if n > 0 then call('ZREM', key, unpack(names, 1, n)) end
    step = 100
  end
end

-- Byte order; Lua's own `<` follows the server's locale.
local function before(a, b)
  for i = 1, math.min(#a, #b) do
    local x, y = byte(a, i), byte(b, i)
    if x ~= y then return x < y end
  end
  return #a < #b
end

-- The ended jobs of three states and two bands as one line.
local function leave_history(limit, now)
  local runs_of, oldest = {}, {}
  for state, key in ipairs({k_completed, k_failed, k_cancelled}) do
    for band = 0, OWN_BAND, OWN_BAND do
      local low, high = band == 0 and '-inf' or text(band), band == 0 and '(' .. text(OWN_BAND) or '+inf'
      local found = call('ZRANGEBYSCORE', key, low, high, 'WITHSCORES', 'LIMIT', 0, limit - #ids)
      if #found > 0 then runs_of[#runs_of + 1] = {found, 1, state, band} end
    end
  end
  local room = limit - #ids
  for i = 1, room do
    local best, at, name
    for _, r in ipairs(runs_of) do
      local id, s = r[1][r[2]], r[1][r[2] + 1]
      local ended = id and s - r[4]
      if id and (not best or ended < at or ended == at and before(id, name)) then best, at, name = r, ended, id end
    end
    if not best then break end
    oldest[i], best[2] = {name, best[3], best[4], at}, best[2] + 2
  end
  local gone, kept = {{}, {}, {}}, {}
  for from = 1, #oldest, 100 do
    local names = {}
    for i = from, math.min(from + 99, #oldest) do names[#names + 1] = oldest[i][1] end
    local n = full and 0 or pack_up(names, names, now, false)
    for i = 1, n do
      local id, state, band, ended = unpack(oldest[from + i - 1])
      gone[state][#gone[state] + 1] = id
      local run = band > 0 and call('HGET', k_run, id)
      if run then
        kept[#kept + 1] = (COMPLETED + state - 1) .. '|' .. read(run).keep .. '|' .. string.format('%015.0f', ended) .. '|' .. id
      end
    end
  end
  for state, key in ipairs({k_completed, k_failed, k_cancelled}) do many('ZREM', key, gone[state]) end
  many('ZREM', k_kept, kept)
end

local function depart(limit, history, now)
  for _, key in ipairs({k_suspect, k_ready, k_delayed, k_parked, k_blocked}) do leave_line(key, limit, now) end
  if history and not full and #ids < limit then leave_history(limit, now) end
end
