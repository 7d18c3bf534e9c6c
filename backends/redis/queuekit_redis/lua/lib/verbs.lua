-- verbs: what a person may do to a job; each answers nil, or why not: i illegal, h its unique key is held
-- Uses base, job, unique, ended, lines, remove. Arguments of a change: moment, '=reason', priority, '=body'.
local verbs = {}

function verbs.cancel(id, j, now, c)
  if j.state >= COMPLETED then return 'i' end
  local reason = c.reason == '' and '=' or c.reason
  if j.state == ACTIVE then
    j.cancel, j.bits, j.rev = reason, with(j.bits, 32), j.rev + 1
    return save(id, j)
  end
  leave(id, j)
  j.reason = reason
  finish(id, j, CANCELLED, now, '')
  return nil
end

function verbs.reopen(id, j, now)
  if j.state ~= PARKED then return 'i' end
  leave(id, j)
  j.reason, j.ended = '', 0
  enter(id, j, now, now)
  return nil
end

function verbs.retry(id, j, now, c)
  if j.state == PARKED then return verbs.reopen(id, j, now) end
  if j.state < COMPLETED then return 'i' end
  if has(j.bits, 16) then
    local o = opts(id)
    if o.till > 0 then
      local holder = holder_of(o.key, now)
      if holder and holder ~= id then return 'h' end
      if not holder and o.till ~= TIME then take(o.key, o.till, 0, id, now) end
    end
    if o.expires > 0 then call('HSET', k_opts, id, pack('<I8', 0) .. sub(o.text, 9)) end
  end
  leave(id, j)
  if has(j.bits, 1) then call('HDEL', k_notes, 'r' .. id) end
  j.bits, j.failures, j.crashes, j.snoozes, j.reason, j.ended, j.keep = without(j.bits, 1), 0, 0, 0, '', 0, ''
  enter(id, j, c.due or now, now)
  return nil
end

function verbs.promote(id, j, now)
  if j.state ~= DELAYED then return 'i' end
  leave(id, j)
  enter(id, j, now, now)
  return nil
end

function verbs.reschedule(id, j, now, c)
  if j.state ~= WAITING and j.state ~= DELAYED then return 'i' end
  local priority = c.priority ~= '' and tonumber(c.priority) or floor(j.score / BAND)
  if c.due then
    leave(id, j)
    j.score = priority * BAND + MID
    enter(id, j, c.due, now, j.line ~= 0 and j.line or READY)
    return nil
  end
  j.score, j.rev = priority * BAND + MID + back(1), j.rev + 1
  if j.state == WAITING then call('ZADD', j.line == SUSPECT and k_suspect or k_ready, j.score, id) end
  return save(id, j)
end

function verbs.replace(id, j, now, c)
  if (j.state ~= WAITING and j.state ~= DELAYED and j.state ~= PARKED) or c.body == '' then return 'i' end
  local entry = call('HGET', k_jobs, id)
  local task = has(byte(entry, 9), 1) and 22 or 14 -- where the task's length stands
  call('HSET', k_jobs, id, sub(entry, 1, task + byte(entry, task)) .. sub(c.body, 2))
  j.rev = j.rev + 1
  return save(id, j)
end

function verbs.delete(id, j)
  if j.state == ACTIVE then return 'i' end
  return remove(id, j)
end
