-- when: moments that callers name
-- When something is due: '@ms' is absolute, '+ms' counts from now, '' is nothing.
local function moment(argument, now)
  local kind = sub(argument, 1, 1)
  if kind == '@' then return tonumber(sub(argument, 2)) end
  if kind == '+' then return now + tonumber(sub(argument, 2)) end
  return nil
end
