#!lua flags=allow-oom
-- Begins a new epoch if the current one is the one that was seen. What is open stays open.
--
-- KEYS  1 head, 2 log, 3 large
-- ARGV  1 the epoch that was seen   2 the next one   3 the nonce it begins with   4 PUBLISH or SPUBLISH   5 the channel
-- Answers {'ok'} or {'form', form}.
local head = redis.call('HMGET', KEYS[1], 'form', 'epoch', 'position')
if head[1] and head[1] ~= '1' then return {'form', head[1]} end
if head[2] == ARGV[1] then
  redis.call('UNLINK', KEYS[2], KEYS[3])
  redis.call('HSET', KEYS[1], 'epoch', ARGV[2], 'nonce', ARGV[3], 'oldest', head[3], 'oldest_nonce', ARGV[3],
    'bytes', '0')
  redis.pcall(ARGV[4], ARGV[5], head[3])
end
return {'ok'}
