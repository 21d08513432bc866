import { Kafka, type LogEntry, logLevel } from 'kafkajs'
import type { Log } from '../gateway/gateway.ts'
import { patchRecords } from './kafka-records.ts'

/** kafkajs tells of each failed attempt; of one part so often is enough. */
const TELL_EVERY_MS = 10_000

export interface KafkaAddress {
  readonly brokers: readonly string[]
  readonly clientId: string
}

/**
 * A kafkajs client for brokers that come and go. It notices soon, and gives up after so many `attempts` (each waits 0.5 s
 * at most); who must go on calls again. What it logs comes through our log, its warnings as `debug`.
 */
export function createKafkaClient({ brokers, clientId }: KafkaAddress, log: Log, attempts = 4): Kafka {
  patchRecords()
  return new Kafka({
    clientId,
    brokers: [...brokers],
    connectionTimeout: 1_000,
    requestTimeout: 10_000,
    retry: { initialRetryTime: 50, maxRetryTime: 500, retries: attempts },
    logLevel: logLevel.WARN,
    logCreator: () => tellThrough(log),
  })
}

function tellThrough(log: Log): (entry: LogEntry) => void {
  const told = new Map<string, number>()
  return ({ namespace, level, log: { message, broker, groupId, error } }) => {
    const fields = { namespace, broker, groupId, error: error instanceof Error ? error.message : error }
    const now = performance.now()
    if (level !== logLevel.ERROR || now - (told.get(namespace) ?? Number.NEGATIVE_INFINITY) < TELL_EVERY_MS) {
      log.debug(fields, `kafkajs: ${message}`)
      return
    }
    told.set(namespace, now)
    log.warn(fields, `kafkajs: ${message}`)
  }
}
