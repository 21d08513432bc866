import { Command } from 'commander'
import { type DeadLetters, type KeptLetter, openDeadLetters } from '../bus/dead-letters.ts'
import { loadConfig } from '../config.ts'
import { FeedgateError } from '../errors.ts'
import { printer } from './printer.ts'

type Environment = Readonly<Record<string, string | undefined>>

/** What is shown of a letter's bytes. */
const HEAD_BYTES = 120
/** As many of a topic as `retry` publishes again at once. */
const RETRY_LIMIT = 10_000

interface Choice {
  partition?: number
  offset?: string
  config?: string
  json?: boolean
}

export function dlqCommand(env: Environment): Command {
  const dlq = new Command('dlq').description(
    'dead letters in Kafka: input that could not become a stored event',
  )
  dlq
    .command('list')
    .description('the newest dead letters, oldest first')
    .option('--topic <name>', 'of this topic only, e.g. md.trade')
    .option('--limit <n>', 'at most so many of each partition', whole('--limit', 1, 10_000), 50)
    .option('--config <file>', 'settings file')
    .option('--json', 'print one JSON document')
    .action(async (options: Choice & { topic?: string; limit: number }) => {
      const { topic, limit } = options
      const letters = await open(env, options.config).list({
        ...(topic === undefined ? {} : { topic }),
        limit,
      })
      printer(options.json)({ items: letters.map(shown) }, letters.map(line).join('\n') || 'No dead letters.')
    })
  dlq
    .command('retry')
    .argument('<topic>', 'as `dlq list` shows it, e.g. md.trade')
    .description('publish the events among the dead letters of a topic again')
    .option('--partition <n>', 'of this partition only', whole('--partition', 0, 1_000_000))
    .option('--offset <n>', 'only the letter at this offset; with --partition', offsetOf)
    .option('--config <file>', 'settings file')
    .option('--json', 'print one JSON document')
    .action(async (topic: string, options: Choice) => {
      await retry(open(env, options.config), topic, options)
    })
  return dlq
}

async function retry(deadLetters: DeadLetters, topic: string, options: Choice): Promise<void> {
  const { partition, offset } = options
  if (offset !== undefined && partition === undefined)
    throw new FeedgateError('bad-setting', '--offset needs --partition: an offset counts within a partition')
  const letters = await deadLetters.list({
    topic,
    limit: RETRY_LIMIT,
    ...(partition === undefined ? {} : { partition }),
    ...(offset === undefined ? {} : { offset }),
  })
  if (letters.length === 0) throw new FeedgateError('not-found', `there is no such dead letter of ${topic}`)
  const none = await deadLetters.retry(letters)
  const retried = letters.length - none.length
  printer(options.json)(
    { retried, notEvents: none.map(shown) },
    [
      `Published ${retried} of ${letters.length} again.`,
      ...(none.length > 0
        ? [`${none.length} never were events, so they cannot be published; their bytes stay in ${topic}.dlq.`]
        : []),
    ].join('\n'),
  )
  if (retried === 0) process.exitCode = 1
}

function open(env: Environment, file: string | undefined): DeadLetters {
  const { kafkaBrokers, kafka } = loadConfig(env, file)
  if (!kafkaBrokers)
    throw new FeedgateError(
      'bad-setting',
      'KAFKA_BROKERS is not set: dead letters are kept in Kafka, without it in the table dead_letters',
    )
  const brokers = kafkaBrokers.split(',')
  return openDeadLetters({ ...kafka, brokers, clientId: 'feedgate-dlq' }, SILENT)
}

/** A letter as a JSON document shows it. */
function shown({ topic, partition, offset, letter, origin }: KeptLetter): object {
  const { source, channel, subject, receivedTime, reason, bytes } = letter
  return {
    ...{ topic, partition, offset, time: receivedTime, source, channel, subject, reason },
    ...(origin ? { origin } : {}),
    ...{ length: bytes.length, head: bytes.toString('utf8', 0, HEAD_BYTES) },
  }
}

function line({ topic, partition, offset, letter }: KeptLetter): string {
  const { source, receivedTime, reason, bytes } = letter
  const time = new Date(receivedTime / 1_000).toISOString()
  // Whatever a venue sent must not steer a terminal.
  const head = JSON.stringify(bytes.toString('utf8', 0, HEAD_BYTES)).replaceAll(/[\u007f-\u009f]/g, '\uFFFD')
  return [topic, partition, offset, time, source, reason, head].join('\t')
}

function whole(name: string, low: number, high: number): (text: string) => number {
  return (text) => {
    const value = Number(text)
    if (/^\d+$/.test(text) && value >= low && value <= high) return value
    throw new FeedgateError(
      'bad-setting',
      `${name} is ${JSON.stringify(text)}: accepted are ${low} to ${high}`,
    )
  }
}

function offsetOf(text: string): string {
  if (/^\d{1,18}$/.test(text)) return text
  throw new FeedgateError(
    'bad-setting',
    `--offset is ${JSON.stringify(text)}: accepted are whole numbers, as \`dlq list\` shows them`,
  )
}

const SILENT = { debug() {}, info() {}, warn() {}, error() {} }
