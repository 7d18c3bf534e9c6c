-- moves: whose move it is; uses base
-- The stored epoch where it is not this mover's.
local function foreign(epoch)
  local stored = call('HGET', k_vars, 'epoch') or '0'
  return stored ~= epoch and stored
end

-- Names of a list 'a,b,c'.
local function listed(text)
  local names = {}
  for name in string.gmatch(text or '', '[^,]+') do names[#names + 1] = name end
  return names
end
