-- op: one record per actor, so that a repeated call answers without doing anything twice
-- The recorded answer of this very call; nil for a new one; false and the last number for an older one.
local function recall(actor, n)
  local record = call('HGET', k_ops, actor)
  if not record then return nil end
  local last = parse('<I8', record)
  if n > last then return nil end
  if n < last then return false, last end
  return sub(record, 17)
end

local function remember(actor, n, now, answer)
  call('HSET', k_ops, actor, pack('<I8I8', n, now) .. answer)
end
