-- settle: the end of one run, of any kind; uses job, unique, ended, lines, notes
-- ARGV[a …]: id, token, kind, '=result', error packed, '=reason', moment, keep, '=progress', lines, packed lines
local function settle(a, now)
  local id, token, kind, result, error, reason = unpack(ARGV, a, a + 5)
  local run = call('HGET', k_run, id)
  if not run then return call('HEXISTS', k_jobs, id) == 1 and 'l' or 'g' end
  local j = read(run)
  if j.state ~= ACTIVE or j.token ~= token then return 'l' end
  if kind == 'b' then return 'i' end
  if kind == 't' then return 't' end
  call('ZREM', k_active, id)
  j.bits = note(id, token, j.bits, ARGV[a + 8], ARGV[a + 9], ARGV[a + 10])
  if error ~= '' then
    append('e' .. id, 1, error, ERRORS_KEPT)
    j.bits = with(j.bits, 4)
  end
  if j.cancel ~= '' and (kind == 'r' or kind == 's' or kind == 'l' or kind == 'p') then
    kind, reason = 'x', j.cancel
  end
  if kind == 'c' or kind == 'f' or kind == 'x' then
    if kind == 'c' and result ~= '' then
      call('HSET', k_notes, 'r' .. id, sub(result, 2))
      j.bits = with(j.bits, 1)
    end
    j.reason = reason
    finish(id, j, kind == 'c' and COMPLETED or kind == 'f' and FAILED or CANCELLED, now, ARGV[a + 7])
    return nil
  end
  j.cancel, j.bits = '', without(j.bits, 32)
  if kind == 'l' then
    j.state, j.token, j.rev = WAITING, '', j.rev + 1
    call('ZADD', j.line == SUSPECT and k_suspect or k_ready, j.score, id)
    call('HINCRBY', k_vars, 'released', 1)
    save(id, j)
  elseif kind == 'p' then
    j.state, j.line, j.token, j.rev, j.reason, j.ended = PARKED, 0, '', j.rev + 1, reason, now
    call('ZADD', k_parked, now, id)
    save(id, j)
  else
    if kind == 'r' then
      j.failures = j.failures + 1
      call('HINCRBY', k_vars, 'retried', 1)
    else
      j.snoozes = j.snoozes + 1
    end
    enter(id, j, moment(ARGV[a + 6], now) or now, now)
  end
  return nil
end
