-- parcel: jobs as a mover takes them, gathered for its reply; uses base, run, extras
local someone = call('EXISTS', k_awaited) == 1
local ids, entries, runs, mores, marks = {}, {}, {}, {}, {}
local ENOUGH, bytes = 4194304, 0 -- bodies and results of a reply that takes no further job

-- What a record does not say: '+' somebody waits, then '=' it holds its key, or until when (ms). false: nothing.
local function mark_of(id, o, now)
  local said = someone and call('HEXISTS', k_awaited, id) == 1 and '+' or ''
  if o and byte(o, 9) > 0 then
    local _, _, _, _, _, _, _, key = parse('<I8BBI8I8Bc0Bc0I4c0', o)
    local value = call('HGET', k_unique, key)
    if value == id then
      said = said .. '='
    elseif value and sub(value, 1, #id + 1) == id .. '|' and tonumber(sub(value, #id + 2)) > now then
      said = said .. sub(value, #id + 2)
    end
  end
  return said ~= '' and said
end

-- A job is added, unless the reply is large: false. `score` is that of a ready job without `run`.
local function parcel(id, entry, run, score, now, bounded)
  local bits = run and byte(run, 3) or byte(entry, 9) >= 4 and 16 or 0
  local more, k = extras(id, bits), #ids + 1
  local size = #entry + (more and more[5] and #more[5] or 0)
  if bounded and k > 1 and bytes + size > ENOUGH then return false end
  bytes = bytes + size
  ids[k], entries[k], runs[k], mores[k] = id, entry, run or score, more
  marks[k] = (more or someone) and mark_of(id, more and more[1], now)
  return true
end

-- Those that exist, in this order.
local function parcels(names, now)
  for i = 1, #names, 100 do
    local last = math.min(i + 99, #names)
    local got, old = call('HMGET', k_jobs, unpack(names, i, last)), call('HMGET', k_run, unpack(names, i, last))
    for k = 1, #got do
      if got[k] then parcel(names[i + k - 1], got[k], old[k], false, now, false) end
    end
  end
end
