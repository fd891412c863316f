#!lua flags=allow-oom
-- Where the history begins and ends, and what is open, in one answer. Begins one if there is none. Refused by a replica,
-- since it may write.
--
-- KEYS  1 head, 2 log, 3 large
-- ARGV  1 an epoch, should a history have to begin
-- Answers the fields of the head and their values, one after the other.
--
-- What is large is never without a field: while a slot is on the move, a server answers TRYAGAIN to a script one of whose
-- keys is not there, though nothing has been moved yet.
if redis.call('HEXISTS', KEYS[1], 'head') == 0 then
  -- What else is left belongs to a history that is gone.
  redis.call('UNLINK', KEYS[1], KEYS[2], KEYS[3])
  redis.call('HSET', KEYS[1], 'head', '1' .. ARGV[1] .. string.rep('0', 96))
end
if redis.call('EXISTS', KEYS[3]) == 0 then redis.call('HSET', KEYS[3], '-', '') end
return redis.call('HGETALL', KEYS[1])
