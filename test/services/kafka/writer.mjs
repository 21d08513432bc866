// A process that publishes numbered trades to Kafka until it is killed, and prints the last number that the bus has taken.
import { createKafkaBus } from '../../../dist/bus/kafka.js'
import { encodeEvent } from '../../../dist/market/encode.js'
import { topicOf } from '../../../dist/market/topic.js'

const [brokers, topicPrefix, dataDir] = process.argv.slice(2)
const EPOCH = 1_704_067_200_000_000
const log = { debug() {}, info() {}, warn() {}, error() {} }
const bus = createKafkaBus({ brokers: brokers.split(','), clientId: 'writer', topicPrefix, dataDir, log })
const topic = topicOf('venue', 'trades', 'BTC/USDT')

for (let seq = 1; ; seq++) {
  const receivedTime = EPOCH + seq
  const envelope = { epoch: EPOCH, seq, receivedTime, publishedTime: receivedTime }
  const trade = { type: 'trade', id: String(seq), price: '60000.10', size: '0.0010', side: 'buy' }
  await bus.publish([encodeEvent(topic, envelope, trade)])
  process.stdout.write(`${seq}\n`)
  if (seq % 2 === 0) await new Promise((resolve) => setTimeout(resolve, 1))
}
