-- base: short names, the clock, and calls over long lists
local call, byte, sub, floor = redis.call, string.byte, string.sub, math.floor
local pack, parse = struct.pack, struct.unpack
local WAITING, DELAYED, BLOCKED, ACTIVE, PARKED, COMPLETED, FAILED, CANCELLED = 1, 2, 3, 4, 5, 6, 7, 8
local READY, HELD, SUSPECT = 1, 2, 3
local BAND, MID = 8796093022208, 4398046511104 -- 2^43 and 2^42: score = priority * BAND + MID + place

-- Milliseconds of the server; `shift` moves them for tests and is 0 otherwise.
local function clock(shift)
  local t = call('TIME')
  return t[1] * 1000 + floor(t[2] / 1000) + tonumber(shift)
end

-- A variadic command over any length: unpack fails at 8,000. The chunk is even, so that pairs stay together.
local function many(command, key, list)
  local n = #list
  for i = 1, n, 4000 do
    call(command, key, unpack(list, i, math.min(i + 3999, n)))
  end
end

-- 'text' of '=text', false of '': how an argument says None.
local function given(argument)
  return argument ~= '' and sub(argument, 2)
end

-- When something is due: '@ms' is absolute, '+ms' counts from now, '' is nothing.
local function moment(argument, now)
  local kind = sub(argument, 1, 1)
  if kind == '@' then return tonumber(sub(argument, 2)) end
  if kind == '+' then return now + tonumber(sub(argument, 2)) end
  return nil
end
