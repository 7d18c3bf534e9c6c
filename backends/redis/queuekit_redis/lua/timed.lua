-- timed: which unique keys are held for a time without a job that says so
-- KEYS[1] opts    hash: id -> what is not default
-- KEYS[2] unique  hash: key -> holder
-- ARGV[1] clock shift ms  ARGV[2 …] keys
-- RETURNS {key, id, free at ms …}, in this order
-- COST O(keys)
-- SINCE 1.0
-- USES base
local now, found = clock(ARGV[1]), {}
for a = 2, #ARGV do
  local key = ARGV[a]
  local id, till = string.match(call('HGET', k_unique, key) or '', '^(.-)|(%d+)$')
  if id and tonumber(till) > now then
    local o, own = call('HGET', k_opts, id), nil
    if o then own = select(8, parse('<I8BBI8I8Bc0Bc0I4c0', o)) end
    if own ~= key or byte(o, 9) == 0 then found[#found + 1], found[#found + 2], found[#found + 3] = key, id, till end
  end
end
return found
