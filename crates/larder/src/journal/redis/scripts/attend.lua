#!lua flags=allow-oom
-- Notes that a node is there, by the server's clock; or, for no time, that it is not.
--
-- KEYS  1 nodes
-- ARGV  1 the node   2 for how many milliseconds   3 the epoch, position and nonce of what it has applied
--
-- Beside the nodes: since when whoever spoke has been kept, and in which life of which master that was. A restart and a
-- failover begin another life; both may have lost somebody.
local call, format = redis.call, string.format
local time = call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local info = redis.pcall('INFO', 'replication')
local life = type(info) == 'string' and string.match(info, 'master_replid:(%x+)') or ''
local since = call('HGET', KEYS[1], 'since')
if not since or string.sub(since, 17) ~= life then
  call('HSET', KEYS[1], 'since', format('%016.0f', now) .. life)
end
local lasts = tonumber(ARGV[2])
if lasts > 0 then
  call('HSET', KEYS[1], ARGV[1], format('%016.0f', now + lasts) .. ARGV[3])
else
  call('HDEL', KEYS[1], ARGV[1])
end
-- Nobody may ever look; what is over goes now and then.
if now % 64 == 0 then
  local all = call('HGETALL', KEYS[1])
  for i = 1, #all, 2 do
    if all[i] ~= 'since' and tonumber(string.sub(all[i + 1], 1, 16)) < now then call('HDEL', KEYS[1], all[i]) end
  end
end
call('PEXPIRE', KEYS[1], format('%.0f', lasts + 3600000))
return 'ok'
