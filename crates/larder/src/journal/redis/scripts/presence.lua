-- What scripts begin with that note that a node is there, by the server's clock; or, for no time, that it is not.
--
-- Beside the nodes: since when whoever spoke has been kept, and in which life of which master that was. A restart and a
-- failover begin another life; both may have lost somebody.
local function attend(nodes, node, lasts_ms, applied)
  local call, format = redis.call, string.format
  local time = call('TIME')
  local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
  local info = redis.pcall('INFO', 'replication')
  local life = type(info) == 'string' and string.match(info, 'master_replid:(%x+)') or ''
  local since = call('HGET', nodes, 'since')
  if not since or string.sub(since, 17) ~= life then
    call('HSET', nodes, 'since', format('%016.0f', now) .. life)
  end
  local lasts = tonumber(lasts_ms)
  if lasts > 0 then
    call('HSET', nodes, node, format('%016.0f', now + lasts) .. applied)
  else
    call('HDEL', nodes, node)
  end
  -- Nobody may ever look; what is over goes now and then.
  if now % 64 == 0 then
    local all = call('HGETALL', nodes)
    for i = 1, #all, 2 do
      if all[i] ~= 'since' and tonumber(string.sub(all[i + 1], 1, 16)) < now then call('HDEL', nodes, all[i]) end
    end
  end
  call('PEXPIRE', nodes, format('%.0f', lasts + 3600000))
end
