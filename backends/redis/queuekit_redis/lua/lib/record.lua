-- record: a job as replies carry it; uses job, extras
local function record(id)
  local both = {call('HGET', k_jobs, id), call('HGET', k_run, id)}
  if not both[1] then return false end
  if both[2] then
    return {both[1], both[2], extras(id, byte(both[2], 3)), byte(both[2], 1) == ACTIVE and call('ZSCORE', k_active, id)}
  end
  local more = byte(both[1], 9) >= 4 and extras(id, 16)
  return {both[1], false, more, call('ZSCORE', k_ready, id)}
end
