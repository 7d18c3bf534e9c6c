-- base: short names, the clock, and calls over long lists
local call, byte, sub, floor = redis.call, string.byte, string.sub, math.floor
local pack, parse = struct.pack, struct.unpack
local WAITING, DELAYED, BLOCKED, ACTIVE, PARKED, COMPLETED, FAILED, CANCELLED = 1, 2, 3, 4, 5, 6, 7, 8
local LENT = 9 -- active in the store that the queue comes from: it stands in `active` with score 0
local READY, HELD, SUSPECT = 1, 2, 3
local BAND, MID = 8796093022208, 4398046511104 -- 2^43 and 2^42: score = priority * BAND + MID + place

-- A number as a script passes it on: Redis writes one with 17 digits each time it is given one, this writes it once.
local function text(number) return string.format('%.0f', number) end

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

local function has(bits, bit) return bits % (bit + bit) >= bit end
