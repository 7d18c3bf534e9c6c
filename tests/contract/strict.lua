#!lua
local server = redis
local redis = setmetatable({}, {__index = server})
do
  local declared, several = {}, {EXISTS = true, UNLINK = true}
  for i = 1, #KEYS do declared[KEYS[i]] = true end
  local function checked(run)
    return function(command, ...)
      local keys = {...}
      for i = 1, command == 'TIME' and 0 or several[command] and #keys or 1 do
        if not declared[keys[i]] then error('undeclared key of ' .. command .. ': ' .. tostring(keys[i])) end
      end
      return run(command, ...)
    end
  end
  redis.call, redis.pcall = checked(server.call), checked(server.pcall)
end
