-- letgo: a job goes to, or came from, another store: what stands for it outside of its record; uses base, job
-- The key it holds goes, also one held by time, and its entry among those that may expire.
local function release(id)
  local o = opts(id)
  if o.till > 0 then
    local value = call('HGET', k_unique, o.key)
    if value == id or value and sub(value, 1, #id + 1) == id .. '|' then
      call('HDEL', k_unique, o.key)
      call('ZREM', k_utime, o.key)
    end
  end
  if o.expires > 0 then call('ZREM', k_expiring, id) end
end

-- Whoever waits for it looks, and finds its end, or nothing.
local function dismiss(id)
  if call('HDEL', k_awaited, id) == 1 then redis.pcall('PUBLISH', k_awaited, id) end
end
