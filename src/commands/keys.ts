import { Command } from 'commander'
import type { ApiKey, TierName } from '../auth/auth.ts'
import { type Config, loadConfig } from '../config.ts'
import { FeedgateError } from '../errors.ts'
import { type AdminCall, administer } from './administration.ts'
import { printer } from './printer.ts'

type Environment = Readonly<Record<string, string | undefined>>
type NewKey = { tenant: string; tier: TierName; name?: string; scope?: string }

/** What the key commands need; done by the running gateway if there is one, else on the database itself. */
interface KeyStore {
  create(spec: NewKey): Promise<ApiKey & { key: string }>
  list(): Promise<readonly ApiKey[]>
  delete(id: string): Promise<boolean>
}

const TIERS = ['basic', 'premium', 'institutional']

export function keysCommand(env: Environment): Command {
  const keys = new Command('keys').description('API keys of tenants')
  keys
    .command('create')
    .description('make a key; it is shown once')
    .requiredOption('--tenant <id>', 'made by its first key')
    .requiredOption('--tier <tier>', TIERS.join(', '))
    .option('--name <text>', 'what people call the key')
    .option('--scope <scope>', 'admin: the key may call admin routes')
    .option('--config <file>', 'settings file')
    .option('--json', 'print one JSON document')
    .action(async (options: NewKey & { config?: string; json?: boolean }) => {
      const { tenant, tier, name, scope } = options
      if (!TIERS.includes(tier))
        throw new FeedgateError(
          'bad-setting',
          `--tier is ${JSON.stringify(tier)}: accepted are ${TIERS.join(', ')}`,
        )
      if (!/^[A-Za-z0-9_-]{1,64}$/.test(tenant))
        throw new FeedgateError(
          'bad-setting',
          `--tenant is ${JSON.stringify(tenant)}: accepted are 1 to 64 of A-Z a-z 0-9 _ -`,
        )
      const spec = { tenant, tier, ...(name ? { name } : {}), ...(scope ? { scope } : {}) }
      const made = await withKeys(loadConfig(env, options.config), (store) => store.create(spec))
      const { id, key, prefix } = made
      printer(options.json)(
        { id, key, prefix, tenant, tier },
        `${key}\n(id ${id}, tenant ${tenant}, tier ${tier}; kept only as a hash: it is not shown again)`,
      )
    })
  keys
    .command('list')
    .description('every key, without its secret')
    .option('--config <file>', 'settings file')
    .option('--json', 'print one JSON document')
    .action(async (options: { config?: string; json?: boolean }) => {
      const items = await withKeys(loadConfig(env, options.config), (store) => store.list())
      const lines = items.map((one) =>
        [one.id, one.prefix, one.tenant, one.tier, one.createdAt, one.name ?? ''].join('\t'),
      )
      printer(options.json)({ items }, lines.join('\n') || 'No keys yet.')
    })
  keys
    .command('delete')
    .argument('<id>', 'as `keys list` shows it')
    .description('delete a key; its tokens and live sessions end')
    .option('--config <file>', 'settings file')
    .option('--json', 'print one JSON document')
    .action(async (id: string, options: { config?: string; json?: boolean }) => {
      const found = await withKeys(loadConfig(env, options.config), (store) => store.delete(id))
      if (!found)
        throw new FeedgateError(
          'not-found',
          `there is no key with id ${JSON.stringify(id)}: \`feedgate keys list\` shows them`,
        )
      printer(options.json)({ deleted: id }, `Deleted ${id}.`)
    })
  return keys
}

function withKeys<T>(config: Config, work: (store: KeyStore) => Promise<T>): Promise<T> {
  return administer(config, {
    gateway: (call) => work(remoteKeys(call)),
    database: (auth) =>
      work({
        create: (spec) => auth.createKey(spec),
        list: () => auth.listKeys(),
        delete: (id) => auth.deleteKey(id),
      }),
  })
}

function remoteKeys(call: AdminCall): KeyStore {
  return {
    create: async (spec) =>
      (await (await call('POST', '/admin/keys', spec)).json()) as ApiKey & { key: string },
    list: async () => ((await (await call('GET', '/admin/keys')).json()) as { items: ApiKey[] }).items,
    delete: async (id) => (await call('DELETE', `/admin/keys/${encodeURIComponent(id)}`)).ok,
  }
}
