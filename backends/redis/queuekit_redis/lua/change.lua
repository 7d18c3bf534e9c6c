-- change: what persons ask of jobs, one by one
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
-- KEYS[22] out       hash: id -> batch it is checked out under
-- ARGV[1] actor  ARGV[2] n  ARGV[3] clock shift ms
-- ARGV[4 …] a change: id, verb, rev ('' any), '=reason', moment ('@ms', '+ms' or ''), priority ('' as it is), '=body'
-- RETURNS {0 new | 1 replayed, answers}: o done, g gone, c another rev, i illegal, h key held,
--         m ask the other store; then the state's number. {2, last n} stale
-- COST O(changes · log n)
-- SINCE 1.0
-- USES base op when run job unique drop ended lines remove verbs
local actor, n, now = ARGV[1], tonumber(ARGV[2]), clock(ARGV[3])
local answer, last = recall(actor, n)
if answer == false then return {2, last} end
if answer then return {1, answer} end
local home = call('HMGET', k_vars, 'home', 'to')
local elsewhere = home[1] or home[2]
call('ZREM', k_active, '') -- shrinks, so that a full server lets the rest of the script through
local answers, some = {}, false
for a = 4, #ARGV, 7 do
  local id, j = ARGV[a], load(ARGV[a])
  local no
  if not j then
    no = elsewhere and 'm' or 'g'
  elseif j.state == LENT or call('HEXISTS', k_out, id) == 1 then
    no = 'm'
  elseif ARGV[a + 2] ~= '' and tonumber(ARGV[a + 2]) ~= j.rev then
    no = 'c'
  else
    local asked = {reason = ARGV[a + 3], due = moment(ARGV[a + 4], now), priority = ARGV[a + 5], body = ARGV[a + 6]}
    no = verbs[ARGV[a + 1]](id, j, now, asked)
    some = some or not no
  end
  local after = load(id)
  answers[#answers + 1] = (no or 'o') .. (after and after.state or 0)
end
if some then wake() end
answer = table.concat(answers, ',')
remember(actor, n, now, answer)
return {0, answer}
