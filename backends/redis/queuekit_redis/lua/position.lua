-- position: why a job does not run yet
-- KEYS[1] jobs     hash: id -> entry
-- KEYS[2] run      hash: id -> what changes
-- KEYS[3] opts     hash: id -> what is not default
-- KEYS[4] vars     hash: counters and limits
-- KEYS[5] ready    zset: id, score of (priority, place)
-- KEYS[6] suspect  zset: as ready
-- KEYS[7] out      hash: id -> batch it is checked out under
-- ARGV[1] clock shift ms  ARGV[2] id
-- RETURNS false, or {state, line, ahead, paused, expired, cancel asked, moving}
-- COST O(log n)
-- SINCE 1.0
-- USES base run job
local now, id = clock(ARGV[1]), ARGV[2]
if call('HEXISTS', k_jobs, id) == 0 then return false end
local j = load(id)
local expires = has(j.bits, 16) and opts(id).expires or 0
local ahead = j.state == WAITING and call('ZRANK', j.line == SUSPECT and k_suspect or k_ready, id)
return {
  j.state, j.line, ahead, call('HGET', k_vars, 'paused'), expires > 0 and expires <= now and 1 or 0, j.cancel ~= '' and 1 or 0,
  (j.state == LENT or call('HEXISTS', k_out, id) == 1) and 1 or 0,
}
