-- unique: keys of which one job is the holder; value 'id', or 'id|ms' where a time frees it
local FINISHED, STARTED, TIME = 1, 2, 3

local function holder_of(key, now)
  local value = call('HGET', k_unique, key)
  if not value then return nil end
  local bar = string.find(value, '|', 1, true)
  if not bar then return value end
  if tonumber(sub(value, bar + 1)) <= now then return nil end
  return sub(value, 1, bar - 1)
end

local function take(key, till, ttl, id, now)
  if till == TIME then
    call('HSET', k_unique, key, id .. '|' .. string.format('%.0f', now + ttl))
    call('ZADD', k_utime, now + ttl, key)
  else
    call('HSET', k_unique, key, id)
    call('ZREM', k_utime, key)
  end
end

-- The job started or ended: its key goes, unless it is held by time or by another.
local function free(id, o, started)
  if o.till == 0 or o.till == TIME or (started and o.till ~= STARTED) then return end
  if call('HGET', k_unique, o.key) == id then call('HDEL', k_unique, o.key) end
end
