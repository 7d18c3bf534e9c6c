-- watch: mark a live job awaited
-- KEYS[1] jobs     hash: id -> entry
-- KEYS[2] run      hash: id -> what changes
-- KEYS[3] awaited  hash: id -> 1, and the channel that tells of ends
-- ARGV[1] id
-- RETURNS 1 where it lives and is marked, else 0
-- COST O(1)
-- SINCE 1.0
-- USES base
call('HDEL', k_awaited, '') -- shrinks, so that a full server lets the rest of the script through
local id = ARGV[1]
local run = call('HGET', k_run, id)
if run and byte(run, 1) >= COMPLETED and byte(run, 1) < LENT or call('HEXISTS', k_jobs, id) == 0 then return 0 end
call('HSET', k_awaited, id, 1)
return 1
