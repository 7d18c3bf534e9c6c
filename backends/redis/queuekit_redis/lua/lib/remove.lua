-- remove: a job goes without a trace; uses job, unique, ended, lines
local function remove(id, j)
  leave(id, j)
  if has(j.bits, 16) then
    free(id, opts(id), false)
    call('ZREM', k_expiring, id)
  end
  if call('HDEL', k_awaited, id) == 1 then tell(id) end
  drop({id})
end

-- A job that was not started in time.
local function expire(id, j, now)
  leave(id, j)
  j.reason = '=expired'
  finish(id, j, CANCELLED, now, '')
end
