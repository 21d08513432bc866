/**
 * What Redis does in one step. Keys of one cache:
 *
 * | key | holds |
 * | --- | --- |
 * | `last:{topic}` | hash: `position` (`epoch-seq`); the newest event of each conflation key as JSON (`value` where there is one key only); of books `book`, a snapshot, and `bookAt`, the position that it stands for |
 * | `window:{topic}` | stream: the newest events by `epoch-seq`, field `event` |
 * | `topics:{channel}` | set: topic ids |
 * | `status:{conversationId}`, `status:{tenant}/{conversationId}` | the newest status as JSON |
 * | `cache:id` | made anew when Redis came back empty: whoever knows another id has to restore what it knows |
 */

/** Whoever writes gives the id that it knows; this error says that it is another one now. */
const CHECK_ID = `
if redis.call('get', 'cache:id') ~= ARGV[1] then return redis.error_reply('CACHE-LOST') end
local function parse(position)
  local epoch, seq = string.match(position, '^(%d+)-(%d+)$')
  return tonumber(epoch), tonumber(seq)
end
`

/**
 * ARGV: id, window events, window ms, last ms; then for each topic its id, channel, class, fan-out channel, status key
 * (or empty), whether its life is to be prolonged (0 or 1), the number of its events and each of them as a line of
 * `event-line.ts`. Events at or before the topic's
 * position are skipped; what is new is kept and published, one message a fan-out channel.
 */
export const APPLY = `${CHECK_ID}
local maxlen, window_ms, last_ms = ARGV[2], ARGV[3], ARGV[4]
local fans, fresh = {}, {}
local i = 5
while i <= #ARGV do
  local topic, channel, class, fan, status, prolong, count =
    ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4], ARGV[i + 5], tonumber(ARGV[i + 6])
  local last, window = 'last:' .. topic, 'window:' .. topic
  local known = redis.call('hget', last, 'position')
  local epoch, seq = 0, 0
  if known then epoch, seq = parse(known) else redis.call('del', window) end
  local values, id = {}, nil
  for l = i + 7, i + 6 + count do
    local line = ARGV[l]
    local type, e, s, key, at =
      string.match(line, '^([^\\t]*)\\t(%d+),(%d+),%d+,%d+,([^\\t]*)\\t[^\\t]*\\t()', #topic + 2)
    local en, sn = tonumber(e), tonumber(s)
    if en > epoch or (en == epoch and sn > seq) then
      if not known and not id then fresh[#fresh + 1] = line end
      epoch, seq, id = en, sn, e .. '-' .. s
      local body = string.sub(line, at, -2)
      redis.call('xadd', window, 'maxlen', '~', maxlen, id, 'event', body)
      if class == 'event' then
        if type ~= 'gap' then values.value = body end
      elseif class == 'state' and key ~= '' then
        values[key == '=' and 'value' or string.sub(key, 2)] = body
      end
      local lines = fans[fan]
      if lines then lines[#lines + 1] = line else fans[fan] = { line } end
    end
  end
  if id then
    local fields = { 'position', id }
    for field, body in pairs(values) do
      fields[#fields + 1] = field
      fields[#fields + 1] = body
    end
    redis.call('hset', last, unpack(fields))
    if not known or prolong == '1' then
      redis.call('pexpire', last, last_ms)
      redis.call('pexpire', window, window_ms)
    end
    if not known then redis.call('sadd', 'topics:' .. channel, topic) end
    if status ~= '' and values.value then redis.call('set', status, values.value, 'px', last_ms) end
  end
  i = i + 7 + count
end
if #fresh > 0 then redis.call('publish', 'fan:new', table.concat(fresh)) end
for fan, lines in pairs(fans) do redis.call('publish', fan, table.concat(lines)) end
return #fresh
`

/** ARGV: id, topic, position, channel, last ms, then fields and values. What is newer there stays. */
export const RESTORE = `${CHECK_ID}
local last = 'last:' .. ARGV[2]
local known = redis.call('hget', last, 'position')
if known then
  local epoch, seq = parse(known)
  local e, s = parse(ARGV[3])
  if epoch > e or (epoch == e and seq >= s) then return 0 end
end
redis.call('hset', last, 'position', ARGV[3], unpack(ARGV, 6))
redis.call('pexpire', last, ARGV[5])
redis.call('sadd', 'topics:' .. ARGV[4], ARGV[2])
return 1
`

/** ARGV: id, topic, position that the book stands for, the book. */
export const KEEP_BOOK = `${CHECK_ID}
local last = 'last:' .. ARGV[2]
local at = redis.call('hget', last, 'bookAt')
if at then
  local epoch, seq = parse(at)
  local e, s = parse(ARGV[3])
  if epoch > e or (epoch == e and seq >= s) then return 0 end
end
redis.call('hset', last, 'bookAt', ARGV[3], 'book', ARGV[4])
return 1
`

/** ARGV: topic, class. Answers the fields of `last:` and, of books, the events that are not yet in `book`. */
export const IMAGE = `
local all = redis.call('hgetall', 'last:' .. ARGV[1])
if #all == 0 or ARGV[2] ~= 'delta' then return { all, {} } end
local at = redis.call('hget', 'last:' .. ARGV[1], 'bookAt')
return { all, redis.call('xrange', 'window:' .. ARGV[1], at and '(' .. at or '-', '+') }
`

/** ARGV: topic, position. Answers where the topic stands and the events after the position. */
export const SINCE = `
return {
  redis.call('hget', 'last:' .. ARGV[1], 'position'),
  redis.call('xrange', 'window:' .. ARGV[1], '(' .. ARGV[2], '+')
}
`
