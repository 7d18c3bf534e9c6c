-- exchange: settle outcomes, promote what is due, then lease up to N ready jobs of one queue
-- KEYS[1] jobs       hash: id -> entry
-- KEYS[2] run        hash: id -> what changes
-- KEYS[3] opts       hash: id -> what is not default
-- KEYS[4] notes      hash: kind and id -> bytes
-- KEYS[5] vars       hash: counters and limits
-- KEYS[6] ops        hash: actor -> last call
-- KEYS[7] ready      zset: id, score of (priority, place)
-- KEYS[8] suspect    zset: as ready
-- KEYS[9] delayed    zset: id, due ms
-- KEYS[10] active    zset: id, lease end ms
-- KEYS[11] parked    zset: id, ms
-- KEYS[12] blocked   zset: id, ms
-- KEYS[13] completed zset: id, ended ms (+ 2^45: own retention)
-- KEYS[14] failed    zset: as completed
-- KEYS[15] cancelled zset: as completed
-- KEYS[16] kept      zset of score 0: state|label|ended|id
-- KEYS[17] unique    hash: key -> holder
-- KEYS[18] utime     zset: unique key, free at ms
-- KEYS[19] expiring  zset: id, expires ms
-- KEYS[20] awaited   hash: id -> 1, and the channel that tells of ends
-- KEYS[21] marker    zset: '0' while there may be work
-- ARGV[1] actor  ARGV[2] n  ARGV[3] clock shift ms  ARGV[4] want  ARGV[5] lease ms  ARGV[6] '1': may take a suspect
-- ARGV[7] worker  ARGV[8] how many plain completions follow, each: id, token, result ('' none)
-- ARGV[9 …] plain completions, then other outcomes of 11 arguments each (lib/settle)
-- RETURNS {0 new | 1 replayed, now, next_at, more, paused, home, to, {id, why …}, ids, entries, runs, extras, lease_until …}
--         or {2, last n}: stale. In runs a job's whole run, or the score of one that was claimed for the first time
-- COST O((outcomes + want + 500) · log n), at most 1000 of each; trims at most 2000
-- SINCE 1.0
-- USES base op drop complete claim
local rare

-- Call a function that most exchanges do not need.
local function use(name, ...)
  if not rare then
    -- USES when run job unique ended lines notes extras settle promote rare
    rare = {complete_one = complete_one, claim_one = claim_one, extras = extras, replay = replay, settle = settle, promote = promote}
  end
  return rare[name](...)
end

local actor, n, now, want, plain = ARGV[1], tonumber(ARGV[2]), clock(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[8])
local token = actor .. ':' .. ARGV[2]
local answer, last = recall(actor, n)
if answer == false then return {2, last} end
local vars = call('HMGET', k_vars, 'paused', 'home', 'to', 'keep_completed')
local home, asks = vars[2], want > 0 and not vars[1] and not vars[2] and not answer
if not asks then call('ZREM', k_marker, '-') end -- shrinks, as popping jobs does: a full server lets the rest through
if answer then
  use('replay', answer, token)
else
  if plain > 0 then complete(plain, vars[4] or KEEP_COMPLETED, now, use) end
  for a = 9 + 3 * plain, #ARGV, 11 do
    local why = use('settle', a, now)
    if why then refuse(ARGV[a], why) end
  end
end
local next_at = call('ZRANGE', k_delayed, 0, 0, 'WITHSCORES')[2]
next_at = next_at and tonumber(next_at) or false
if not answer then
  if next_at and next_at <= now and not home then next_at = use('promote', now) end
  if asks then claims(want, now, token, use) end
  local why = {}
  for i = 1, #refused, 2 do why[#why + 1] = refused[i + 1] .. refused[i] end
  remember(actor, n, now, table.concat(ids, ',') .. ';' .. table.concat(why, ','))
end
local more = 0
if not vars[1] and not home then
  local holds = runs[1] and byte(runs[1], 2) == SUSPECT -- a suspect comes first, and there is no second one
  local left = 0
  if not none then
    left = ARGV[6] == '1' and not holds and call('EXISTS', k_ready, k_suspect) or call('EXISTS', k_ready)
  end
  if left > 0 or (next_at and next_at <= now) then
    more = 1
    call('ZADD', k_marker, '0', '0')
  end
end
return {answer and 1 or 0, now, next_at, more, vars[1], home, vars[3], refused, ids, entries, runs, more_of, leases}
