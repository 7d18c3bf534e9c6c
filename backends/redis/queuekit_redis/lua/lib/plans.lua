-- plans: what firing moves of a schedule; uses base
-- In the hash slots: I8 rev, I8 fired, I8 skipped, B length and text of the next slot ('' none), last job's id ('' none).
local function keep_slot(id, next_at, slot)
  call('HSET', k_slots, id, slot)
  if next_at == '' then call('ZREM', k_due, id) else call('ZADD', k_due, next_at, id) end
end
