import { randomBytes } from 'node:crypto'
import { createKafkaBus, type KafkaBusOptions } from '../../src/bus/kafka.ts'
import type { Log } from '../../src/gateway/gateway.ts'
import { describeBus } from '../contracts/bus.ts'
import { withEngines } from './engines.ts'

const SILENT: Log = { debug() {}, info() {}, warn() {}, error() {} }

await withEngines(['kafka'], ({ kafka }) => {
  const open = (options: Partial<KafkaBusOptions> = {}) =>
    createKafkaBus({
      brokers: kafka.url.split(','),
      clientId: 'feedgate-test',
      topicPrefix: `${randomBytes(4).toString('hex')}.`,
      log: SILENT,
      ...options,
    })

  describeBus('kafka', async () => open())
})
