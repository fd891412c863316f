-- Notes that a node is there, or, for no time, that it is not. After presence.lua.
--
-- KEYS  1 nodes
-- ARGV  1 the node   2 for how many milliseconds   3 the epoch, position and nonce of what it has applied
attend(KEYS[1], ARGV[1], ARGV[2], ARGV[3])
return 'ok'
