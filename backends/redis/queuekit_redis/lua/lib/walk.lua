-- walk: the jobs of a state one after another in the order find promises, from behind a given one; uses base
local OWN_BAND = 35184372088832 -- 2^45, as in lib/ended
local state_key = {
  [DELAYED] = k_delayed, [BLOCKED] = k_blocked, [ACTIVE] = k_active, [PARKED] = k_parked,
  [COMPLETED] = k_completed, [FAILED] = k_failed, [CANCELLED] = k_cancelled,
}

-- Byte order; Lua's own `<` follows the server's locale.
local function before(a, b)
  for i = 1, math.min(#a, #b) do
    local x, y = byte(a, i), byte(b, i)
    if x ~= y then return x < y end
  end
  return #a < #b
end

-- How many members of `key` come before (score, id), or up to it with `through`.
local function rank(key, score, id, through)
  local low = call('ZCOUNT', key, '-inf', '(' .. string.format('%.0f', score))
  local high = call('ZCOUNT', key, '-inf', string.format('%.0f', score))
  while low < high do
    local middle = floor((low + high) / 2)
    local name = call('ZRANGE', key, middle, middle)[1]
    if before(name, id) or (through and name == id) then low = middle + 1 else high = middle end
  end
  return low
end

-- Members of `key` at ranks from `at` on to `last` (both inclusive), upwards or downwards, read by hundreds.
local function run_of(key, at, last, by)
  local chunk, k = {}, 1
  return function()
    if k > #chunk then
      if (last - at) * by < 0 then return nil end
      local far = by > 0 and math.min(at + 99, last) or math.max(at - 99, last)
      chunk = by > 0 and call('ZRANGE', key, at, far, 'WITHSCORES') or call('ZRANGE', key, far, at, 'WITHSCORES')
      at, k = far + by, 1
      if by < 0 then
        local turned = {}
        for i = #chunk - 1, 1, -2 do turned[#turned + 1], turned[#turned + 2] = chunk[i], chunk[i + 1] end
        chunk = turned
      end
      if #chunk == 0 then return nil end
    end
    k = k + 2
    return tonumber(chunk[k - 1]), chunk[k - 2]
  end
end

-- Newest first over both bands of an ended state.
local function downwards(key, score, id)
  local all, own = call('ZCARD', key), call('ZCOUNT', key, '-inf', '(' .. OWN_BAND)
  local a, b = own, all
  if score then a, b = rank(key, score, id), rank(key, score + OWN_BAND, id) end
  local low, high = run_of(key, a - 1, 0, -1), run_of(key, b - 1, own, -1)
  local x, left = low()
  local y, right = high()
  return function()
    local s, name
    if right and (not left or y - OWN_BAND > x or (y - OWN_BAND == x and before(left, right))) then
      s, name = y - OWN_BAND, right
      y, right = high()
    elseif left then
      s, name = x, left
      x, left = low()
    end
    return 0, s, name
  end
end

local function walk(state, line, score, id)
  local from = line ~= ''
  if state >= COMPLETED then return downwards(state_key[state], from and score, id) end
  local lines = state == WAITING and {k_suspect, k_ready} or {state_key[state]}
  local i = from and tonumber(line) or 1
  local step = run_of(lines[i], from and rank(lines[i], score, id, true) or 0, call('ZCARD', lines[i]) - 1, 1)
  return function()
    while true do
      local s, name = step()
      if name then return i, s, name end
      if i == #lines then return nil end
      i = i + 1
      step = run_of(lines[i], 0, call('ZCARD', lines[i]) - 1, 1)
    end
  end
end
