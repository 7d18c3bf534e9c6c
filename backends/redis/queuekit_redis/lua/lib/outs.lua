-- outs: what is checked out; uses base
-- Of these names those that are checked out under `batch`.
local function out_of(batch, names)
  local found = {}
  for i = 1, #names, 4000 do
    local chunk = call('HMGET', k_out, unpack(names, i, math.min(i + 3999, #names)))
    for k = 1, #chunk do
      if chunk[k] == batch then found[#found + 1] = names[i + k - 1] end
    end
  end
  return found
end
