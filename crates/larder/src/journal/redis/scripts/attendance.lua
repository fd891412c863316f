#!lua flags=allow-oom
-- Who is there. Writes nothing, and must not say so: a replica would carry it out, and a replica lags.
--
-- KEYS  1 nodes
-- Answers for how many milliseconds everybody who spoke has been kept, and then nodes and what each has applied.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local info = redis.pcall('INFO', 'replication')
local life = type(info) == 'string' and string.match(info, 'master_replid:(%x+)')
local answer, n = {'0'}, 1
local all = redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
  local name, kept = all[i], all[i + 1]
  local at = tonumber(string.sub(kept, 1, 16))
  if name == 'since' then
    -- Who may not ask for the life cannot tell one from another.
    if life and string.sub(kept, 17) == life and now > at then answer[1] = string.format('%.0f', now - at) end
  elseif at >= now then
    answer[n + 1], answer[n + 2] = name, string.sub(kept, 17)
    n = n + 2
  end
end
return answer
