-- shelf: a job that was checked out goes back to its line and place; uses base, drop, run, job, ended, lines
local function put_back(id)
  call('HDEL', k_out, id)
  local j = load(id)
  if not j then return end
  if j.state == WAITING then
    call('ZADD', j.line == SUSPECT and k_suspect or k_ready, j.score, id)
  elseif j.state == DELAYED then
    call('ZADD', k_delayed, j.run_at, id)
  elseif j.state == PARKED or j.state == BLOCKED then
    call('ZADD', line_key[j.state], j.ended > 0 and j.ended or parse('<I8', call('HGET', k_jobs, id)), id)
  elseif j.keep == '' then
    call('ZADD', line_key[j.state], j.ended, id)
  else
    call('ZADD', line_key[j.state], j.ended + tonumber(OWN), id)
    call('ZADD', k_kept, 0, member(id, j))
  end
  if j.state < COMPLETED and has(j.bits, 16) then
    local o = opts(id)
    if o.expires > 0 then call('ZADD', k_expiring, o.expires, id) end
  end
end
