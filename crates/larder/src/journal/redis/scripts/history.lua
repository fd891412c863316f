#!lua flags=allow-oom
-- Where the history begins and ends, and what is open, in one answer. Begins one if there is none. Refused by a replica,
-- since it may write.
--
-- KEYS  1 head, 2 log, 3 large
-- ARGV  1 an epoch, should a history have to begin
-- Answers the fields of the head and their values, one after the other; `i:` and an intent's name is an open intent.
if redis.call('HEXISTS', KEYS[1], 'epoch') == 0 then
  redis.call('UNLINK', KEYS[1], KEYS[2], KEYS[3])
  redis.call('HSET', KEYS[1], 'form', '1', 'epoch', ARGV[1], 'position', '0', 'nonce', '0000000000000000',
    'oldest', '0', 'oldest_nonce', '0000000000000000', 'bytes', '0', 'open', '0')
end
return redis.call('HGETALL', KEYS[1])
