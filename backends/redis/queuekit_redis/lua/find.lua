-- find: a page of one state in its order
-- KEYS[1] jobs       hash: id -> entry
-- KEYS[2] run        hash: id -> what changes
-- KEYS[3] opts       hash: id -> what is not default
-- KEYS[4] notes      hash: kind and id -> bytes
-- KEYS[5] vars       hash: counters and limits
-- KEYS[6] ready      zset: id, score of (priority, place)
-- KEYS[7] suspect    zset: as ready
-- KEYS[8] delayed    zset: id, due ms
-- KEYS[9] active     zset: id, lease end ms
-- KEYS[10] parked    zset: id, ms
-- KEYS[11] blocked   zset: id, ms
-- KEYS[12] completed zset: id, ended ms (+ 2^45: own retention)
-- KEYS[13] failed    zset: as completed
-- KEYS[14] cancelled zset: as completed
-- ARGV[1] state's number  ARGV[2] task ('' any)  ARGV[3] limit  ARGV[4] records to look at
-- ARGV[5] line, ARGV[6] score, ARGV[7] id of the last one seen ('' of line: from the start)
-- RETURNS {epoch, scanned, total, {line, score, id} to go on or false, ids, records}
-- COST O(records looked at + log n)
-- SINCE 1.0
-- USES base run job extras record walk
local state, task, limit, looks = tonumber(ARGV[1]), ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local step = walk(state, ARGV[5], tonumber(ARGV[6]), ARGV[7])
local ids, records, scanned, line, score, id = {}, {}, 0, nil, nil, nil
while #ids < limit and scanned < looks do
  local l, s, name = step()
  if not name then break end
  line, score, id, scanned = l, s, name, scanned + 1
  local entry = call('HGET', k_jobs, name)
  if entry then
    local at = has(byte(entry, 9), 1) and 22 or 14 -- where the task's length stands
    if task == '' or sub(entry, at + 1, at + byte(entry, at)) == task then
      ids[#ids + 1], records[#records + 1] = name, record(name)
    end
  end
end
local _, _, another = step()
local total = false
if task == '' then
  total = call('ZCARD', state == WAITING and k_ready or state_key[state])
  if state == WAITING then total = total + call('ZCARD', k_suspect) end
end
local cursor = another and {line, string.format('%.0f', score), id} or false
return {call('HGET', k_vars, 'epoch'), scanned, total, cursor, ids, records}
