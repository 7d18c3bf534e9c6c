-- annotate: progress and logs of one running job
-- KEYS[1] run     hash: id -> what changes
-- KEYS[2] notes   hash: kind and id -> bytes
-- KEYS[3] active  zset: id, lease end ms
-- ARGV[1] id  ARGV[2] token  ARGV[3] progress ('' none, '=bytes')  ARGV[4] lines (see notes)  ARGV[5] the lines packed
-- RETURNS 1, or 0 where the token is not the job's
-- COST O(logs kept)
-- SINCE 1.0
-- USES base run notes
call('ZREM', k_active, '') -- shrinks, so that a full server lets the rest of the script through
local id, token = ARGV[1], ARGV[2]
local run = call('HGET', k_run, id)
if not run or byte(run, 1) ~= ACTIVE or byte(run, 56) ~= #token or sub(run, 57, 56 + #token) ~= token then return 0 end
local bits = note(id, token, byte(run, 3), ARGV[3], ARGV[4], ARGV[5])
if bits ~= byte(run, 3) then call('HSET', k_run, id, sub(run, 1, 2) .. string.char(bits) .. sub(run, 4)) end
return 1
