-- The formats of Redis's struct library that the scripts use: < little-endian, B H I<n> unsigned, d double, c0 text.
local struct = {}

local function double_bytes(value)
  if value == 0 then return string.rep('\0', 8) end
  local sign = 0
  if value < 0 then sign, value = 128, -value end
  local fraction, exponent = math.frexp(value)
  local mantissa, out = (fraction * 2 - 1) * 4503599627370496, {}
  exponent = exponent + 1022
  for i = 1, 6 do out[i], mantissa = string.char(mantissa % 256), math.floor(mantissa / 256) end
  out[7] = string.char(mantissa % 16 + (exponent % 16) * 16)
  out[8] = string.char(sign + math.floor(exponent / 16))
  return table.concat(out)
end

local function double_of(text, at)
  local b = {string.byte(text, at, at + 7)}
  local exponent, mantissa = (b[8] % 128) * 16 + math.floor(b[7] / 16), b[7] % 16
  for i = 6, 1, -1 do mantissa = mantissa * 256 + b[i] end
  if exponent == 0 then return 0 end
  local value = math.ldexp(1 + mantissa / 4503599627370496, exponent - 1023)
  return b[8] >= 128 and -value or value
end

local function steps(format)
  local list = {}
  for kind, size in string.gmatch(format, '([BHIdc])(%d*)') do
    list[#list + 1] = {kind, kind == 'B' and 1 or kind == 'H' and 2 or tonumber(size)}
  end
  return list
end

function struct.pack(format, ...)
  local out, given, k = {}, {...}, 0
  for _, step in ipairs(steps(format)) do
    k = k + 1
    if step[1] == 'c' then
      out[#out + 1] = given[k]
    elseif step[1] == 'd' then
      out[#out + 1] = double_bytes(tonumber(given[k]))
    else
      local value = math.floor(tonumber(given[k]))
      for _ = 1, step[2] do
        out[#out + 1] = string.char(value % 256)
        value = math.floor(value / 256)
      end
    end
  end
  return table.concat(out)
end

function struct.unpack(format, text, at)
  local found = {}
  at = at or 1
  for _, step in ipairs(steps(format)) do
    if step[1] == 'c' then
      local size = table.remove(found)
      found[#found + 1] = string.sub(text, at, at + size - 1)
      at = at + size
    elseif step[1] == 'd' then
      found[#found + 1] = double_of(text, at)
      at = at + 8
    else
      local value = 0
      for i = at + step[2] - 1, at, -1 do value = value * 256 + string.byte(text, i) end
      found[#found + 1] = value
      at = at + step[2]
    end
  end
  found[#found + 1] = at
  return unpack(found)
end
