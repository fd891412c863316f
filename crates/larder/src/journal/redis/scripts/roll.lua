#!lua flags=allow-oom
-- Begins a new epoch if the current one is the one that was seen. What is open stays open.
--
-- KEYS  1 head, 2 log, 3 large
-- ARGV  1 the epoch that was seen   2 the next one   3 the nonce it begins with   4 PUBLISH or SPUBLISH   5 the channel
-- Answers ok, or form.
local sub = string.sub
local head = redis.call('HGET', KEYS[1], 'head')
if not head then return 'ok' end
if sub(head, 1, 1) ~= '1' then return 'form' end
if sub(head, 2, 33) == ARGV[1] then
  local position = sub(head, 34, 49)
  redis.call('UNLINK', KEYS[2], KEYS[3])
  redis.call('HSET', KEYS[3], '-', '')
  redis.call('HSET', KEYS[1], 'head', '1' .. ARGV[2] .. position .. ARGV[3] .. position .. ARGV[3] .. string.rep('0', 32))
  redis.pcall(ARGV[4], ARGV[5], '')
end
return 'ok'
