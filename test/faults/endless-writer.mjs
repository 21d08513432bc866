// Records without end and prints, after each commit, how many events are stored. The built program: a child of the
// tests cannot run TypeScript on every Node.
import { encodeEvent } from '../../dist/market/encode.js'
import { topicOf } from '../../dist/market/topic.js'
import { createPgliteStore } from '../../dist/store/pglite.js'

const store = createPgliteStore({ dataDir: process.argv[2] })
const topic = topicOf('venue', 'trades', 'BTC/USDT')
const epoch = 1_704_067_200_000_000
const { rows } = await store.sql.query('select coalesce(max(seq), 0)::float8 as last from events_trade')
for (let seq = rows[0].last; ; ) {
  const events = Array.from({ length: 50 }, () => {
    seq++
    const receivedTime = epoch + seq
    const envelope = { epoch, seq, receivedTime, publishedTime: receivedTime }
    return encodeEvent(topic, envelope, {
      type: 'trade',
      id: String(seq),
      price: '1.0',
      size: '2.0',
      side: 'buy',
    })
  })
  await store.record({ events, deadLetters: [] })
  console.log(seq)
}
