import { Command } from 'commander'
import type { Auth, Grant, GrantSpec } from '../auth/auth.ts'
import { type Config, loadConfig } from '../config.ts'
import { FeedgateError } from '../errors.ts'
import { parseTime } from '../gateway/time.ts'
import { CHANNELS, isChannel } from '../market/event.ts'
import { administer } from './administration.ts'
import { printer } from './printer.ts'

type Environment = Readonly<Record<string, string | undefined>>

interface CreateOptions {
  readonly tenant: string
  readonly source: string
  readonly channel?: string
  readonly depth?: string
  readonly delayMs?: string
  readonly display?: boolean
  readonly from?: string
  readonly to?: string
  readonly config?: string
  readonly json?: boolean
}

/** As the admin API shows it: times are text. */
type GrantEntry = Omit<Grant, 'from' | 'to'> & { readonly from?: string; readonly to?: string }

export function grantsCommand(env: Environment): Command {
  const grants = new Command('grants').description('what tenants may see of restricted sources')
  grants
    .command('create')
    .description('let a tenant see a restricted source; it holds at once')
    .requiredOption('--tenant <id>', 'one that has a key')
    .requiredOption('--source <id>', 'as the settings name it')
    .option('--channel <channel>', 'default: all that the tier has')
    .option('--depth <levels>', 'of books, a side; default: as the tier has it')
    .option('--delay-ms <ms>', 'what is received is seen so much later')
    .option('--display', 'to look at only: no export')
    .option('--from <time>', 'what was received from then on')
    .option('--to <time>', 'what was received before then')
    .option('--config <file>', 'settings file')
    .option('--json', 'print one JSON document')
    .action(async (options: CreateOptions) => {
      const made = await create(loadConfig(env, options.config), specOf(options))
      printer(options.json)(made, lineOf(made))
    })
  grants
    .command('list')
    .description('every grant')
    .option('--config <file>', 'settings file')
    .option('--json', 'print one JSON document')
    .action(async (options: { config?: string; json?: boolean }) => {
      const items = await administer(loadConfig(env, options.config), {
        gateway: async (call) =>
          ((await (await call('GET', '/admin/grants')).json()) as { items: GrantEntry[] }).items,
        database: async (auth) => (await auth.listGrants()).map(entryOf),
      })
      printer(options.json)({ items }, items.map(lineOf).join('\n') || 'No grants yet.')
    })
  grants
    .command('delete')
    .argument('<id>', 'as `grants list` shows it')
    .description('take a grant back; live connections are told what is no longer sent')
    .option('--config <file>', 'settings file')
    .option('--json', 'print one JSON document')
    .action(async (id: string, options: { config?: string; json?: boolean }) => {
      const found = await administer(loadConfig(env, options.config), {
        gateway: async (call) => (await call('DELETE', `/admin/grants/${encodeURIComponent(id)}`)).ok,
        database: (auth: Auth) => auth.deleteGrant(id),
      })
      if (!found)
        throw new FeedgateError(
          'not-found',
          `there is no grant with id ${JSON.stringify(id)}: \`feedgate grants list\` shows them`,
        )
      printer(options.json)({ deleted: id }, `Deleted ${id}.`)
    })
  return grants
}

function create(config: Config, spec: GrantSpec): Promise<GrantEntry> {
  return administer(config, {
    gateway: async (call) =>
      (await (await call('POST', '/admin/grants', timesAsText(spec))).json()) as GrantEntry,
    database: async (auth) => entryOf(await auth.createGrant(spec)),
  })
}

/** Which sources there are only a running gateway knows. */
function specOf(options: CreateOptions): GrantSpec {
  const { tenant, source, channel, depth, delayMs = '0', display = false } = options
  for (const [name, id] of Object.entries({ tenant, source }))
    if (!/^[A-Za-z0-9_-]{1,64}$/.test(id)) throw wrong(name, id, '1 to 64 of A-Z a-z 0-9 _ -')
  if (channel !== undefined && !isChannel(channel))
    throw wrong('channel', channel, Object.keys(CHANNELS).join(', '))
  const from = msOf('from', options.from)
  const to = msOf('to', options.to)
  if (from !== undefined && to !== undefined && from >= to)
    throw wrong('to', options.to!, 'later than --from')
  return {
    ...{ tenant, source, display, delayMs: integerOf('delay-ms', delayMs, 0, 31 * 86_400_000) },
    ...(channel === undefined ? {} : { channel }),
    ...(depth === undefined ? {} : { depth: integerOf('depth', depth, 1, 100_000) }),
    ...(from === undefined ? {} : { from }),
    ...(to === undefined ? {} : { to }),
  }
}

function integerOf(name: string, text: string, least: number, most: number): number {
  const value = /^\d{1,15}$/.test(text) ? Number(text) : -1
  if (value < least || value > most) throw wrong(name, text, `integers from ${least} to ${most}`)
  return value
}

function msOf(name: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  const micros = parseTime(text)
  if (micros === undefined)
    throw wrong(name, text, 'ISO 8601 (2026-11-22T10:00:00Z) and integer µs since the Unix epoch')
  return Math.floor(micros / 1_000)
}

function wrong(name: string, value: string, accepted: string): FeedgateError {
  return new FeedgateError('bad-setting', `--${name} is ${JSON.stringify(value)}: accepted are ${accepted}`)
}

function timesAsText<S extends Pick<GrantSpec, 'from' | 'to'>>({ from, to, ...rest }: S) {
  return {
    ...rest,
    ...(from === undefined ? {} : { from: new Date(from).toISOString() }),
    ...(to === undefined ? {} : { to: new Date(to).toISOString() }),
  }
}

function entryOf(grant: Grant): GrantEntry {
  return timesAsText(grant) as GrantEntry
}

function lineOf({ id, tenant, source, channel, depth, delayMs, display, from, to }: GrantEntry): string {
  const limits = [
    depth === undefined ? '' : `depth ${depth}`,
    delayMs === 0 ? '' : `${delayMs} ms late`,
    display ? 'display' : '',
    from === undefined ? '' : `from ${from}`,
    to === undefined ? '' : `to ${to}`,
  ]
  return [id, tenant, source, channel ?? 'all', limits.filter((limit) => limit !== '').join(', ')].join('\t')
}
