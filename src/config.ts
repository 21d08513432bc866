import { readFileSync } from 'node:fs'
import Type, { type Static, type TObject } from 'typebox'
import { Compile } from 'typebox/compile'
import Value from 'typebox/value'
import { parse as parseYaml, YAMLParseError } from 'yaml'
import { KafkaSettings } from './bus/settings.ts'
import { FeedgateError } from './errors.ts'
import { CHANNELS, type Channel } from './market/event.ts'
import { StoreSettings } from './store/settings.ts'

/** Its length is counted in bytes, which a schema cannot: see `checkTogether`. */
const SecretText = (description: string) => Type.String({ minLength: 1, description })

const Reconnect = Type.Object(
  {
    baseMs: Type.Integer({ minimum: 1, maximum: 3_600_000, default: 500 }),
    capMs: Type.Integer({ minimum: 1, maximum: 3_600_000, default: 30_000 }),
    maxRetries: Type.Integer({ minimum: 1, maximum: 1_000_000, default: 10 }),
    giveUp: Type.Boolean({ default: false }),
    maxAgeMs: Type.Integer({ minimum: 1_000, maximum: 86_400_000, default: 23 * 3_600_000 }),
  },
  { additionalProperties: false },
)

const Subscription = Type.Object(
  {
    channel: Type.Union(Object.keys(CHANNELS).map((name) => Type.Literal(name))),
    symbols: Type.Array(Type.String({ minLength: 1, maxLength: 128 }), { minItems: 1, maxItems: 10_000 }),
    timeframe: Type.Optional(Type.String({ pattern: '^[0-9A-Za-z]{1,16}$' })),
    limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 100_000 })),
  },
  { additionalProperties: false },
)

const Side = Type.Object(
  {
    url: Type.Optional(Type.String({ pattern: '^wss?://.+' })),
    restUrl: Type.Optional(Type.String({ pattern: '^https?://.+' })),
    via: Type.Optional(Type.String({ pattern: '^https?://[^/@]+/?$' })),
  },
  { additionalProperties: false },
)

const Source = Type.Object(
  {
    id: Type.String({ pattern: '^[A-Za-z0-9_-]{1,64}$' }),
    kind: Type.Optional(Type.String({ pattern: '^[A-Za-z0-9_-]{1,64}$' })),
    url: Type.Optional(Type.String({ pattern: '^wss?://.+' })),
    restUrl: Type.Optional(Type.String({ pattern: '^https?://.+' })),
    sides: Type.Optional(Type.Array(Side, { minItems: 2, maxItems: 2 })),
    exchange: Type.Optional(Type.String({ pattern: '^[A-Za-z0-9_-]{1,64}$' })),
    credentials: Type.Optional(
      Type.Record(Type.String(), Type.String({ minLength: 1, maxLength: 8_192 }), { maxProperties: 10 }),
    ),
    licence: Type.Optional(Type.Union([Type.Literal('open'), Type.Literal('restricted')])),
    onDemand: Type.Optional(Type.Boolean()),
    subscriptions: Type.Optional(Type.Array(Subscription, { maxItems: 10_000 })),
    reconnect: Type.Optional(Type.Partial(Reconnect, { additionalProperties: false })),
    seed: Type.Optional(Type.Integer({ minimum: 0, maximum: 2 ** 32 - 1 })),
    rate: Type.Optional(Type.Number({ minimum: 0.01, maximum: 100_000 })),
  },
  { additionalProperties: false },
)

/** The one schema of settings: names, types, defaults, limits and the README's table all come from here. */
export const Settings = Type.Object(
  {
    port: Type.Integer({
      minimum: 0,
      maximum: 65_535,
      default: 8080,
      description: 'HTTP and WebSocket port; 0: any free one',
    }),
    host: Type.String({
      minLength: 1,
      maxLength: 255,
      default: '127.0.0.1',
      description: 'address to listen on',
    }),
    dataDir: Type.String({ minLength: 1, default: './data', description: 'embedded store, secrets, state' }),
    databaseUrl: Type.Optional(
      Type.String({
        pattern: '^postgres(ql)?://.+',
        description: 'PostgreSQL or TimescaleDB instead of the embedded store',
      }),
    ),
    kafkaBrokers: Type.Optional(
      Type.String({
        pattern: '^[^,:]+:[0-9]+(,[^,:]+:[0-9]+)*$',
        description: 'Apache Kafka instead of the in-process bus, `host:port,…`',
      }),
    ),
    redisUrl: Type.Optional(
      Type.String({ pattern: '^rediss?://.+', description: 'Redis instead of memory' }),
    ),
    jwtSecret: Type.Optional(
      SecretText(
        'key of own tokens (HS256), at least 32 bytes; made and kept in `DATA_DIR` on a loopback `HOST`',
      ),
    ),
    jwtIssuer: Type.String({ minLength: 1, default: 'feedgate', description: '`iss` of own tokens' }),
    jwtPublicKey: Type.Optional(
      Type.String({ pattern: '-----BEGIN ', description: 'PEM public key of another issuer' }),
    ),
    jwksUrl: Type.Optional(
      Type.String({ pattern: '^https?://.+', description: 'key set of another issuer' }),
    ),
    jwtExternalIssuer: Type.Optional(
      Type.String({ minLength: 1, description: '`iss` required of the other issuer' }),
    ),
    jwtAudience: Type.Optional(
      Type.String({ minLength: 1, description: '`aud` required of the other issuer' }),
    ),
    jwtExternalAdmin: Type.Boolean({
      default: false,
      description: 'the other issuer may grant scope `admin`',
    }),
    adminApiKey: Type.Optional(
      SecretText('the admin key, at least 32 bytes; made and kept in `DATA_DIR` on a loopback `HOST`'),
    ),
    secretsKey: Type.Optional(
      SecretText('encrypts stored venue credentials, at least 32 bytes; made and kept as above'),
    ),
    anonymousTier: Type.Union(
      [Type.Literal('none'), Type.Literal('basic'), Type.Literal('premium'), Type.Literal('institutional')],
      { default: 'none', description: 'tier of clients without a credential (`basic` in demo mode)' },
    ),
    allowedOrigins: Type.Optional(
      Type.String({
        pattern: '^([*]|https?://[^,/ ]+)(,([*]|https?://[^,/ ]+))*$',
        description:
          'pages in browsers that may connect, beside the own: `https://app.example.com,…` or `*`; not set: any that bring a credential',
      }),
    ),
    logLevel: Type.Union(
      ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'].map((level) => Type.Literal(level)),
      { default: 'info', description: 'least severe level that is logged' },
    ),
    otelExporterOtlpEndpoint: Type.Optional(
      Type.String({
        pattern: '^https?://.+',
        description: 'OpenTelemetry collector (OTLP over HTTP) that gets traces; none without it',
      }),
    ),
    traceRatio: Type.Number({
      minimum: 0,
      maximum: 1,
      default: 0.001,
      description: 'share of the events that are traced, where there is a collector',
    }),
    kafka: KafkaSettings,
    store: StoreSettings,
    tunnelTo: Type.Optional(
      Type.Array(Type.String({ pattern: '^[^/:@]+:[0-9]+$' }), {
        maxItems: 100,
        description:
          'addresses `host:port` to which this node opens connections for other nodes (`via`), besides those of `sources`',
      }),
    ),
    sources: Type.Optional(
      Type.Array(Source, { maxItems: 1_000, description: 'sources to connect at start, file only' }),
    ),
  },
  { additionalProperties: false },
)

export type SettingValues = Static<typeof Settings>

export interface Config extends SettingValues {
  /** No file, no server, loopback host, not production: simulated sources, demo keys, anonymous `basic`. */
  readonly demo: boolean
  /** Missing secrets may be made and kept in `dataDir`. */
  readonly mayMakeSecrets: boolean
  readonly file?: string
}

const LOOPBACK = /^(localhost|127(\.\d{1,3}){3}|::1|\[::1\])$/
const SECRETS = ['jwtSecret', 'adminApiKey', 'secretsKey'] as const
const settings = Compile(Settings)

/** `jwtSecret` → `JWT_SECRET`. */
export function environmentName(setting: string): string {
  return setting.replace(/[A-Z]/g, (c) => `_${c}`).toUpperCase()
}

/**
 * Environment over file over defaults; `NAME_FILE` names a file that holds the value of `NAME`. The settings file is `configFile`, else `FEEDGATE_CONFIG`, else `./feedgate.yaml` if it
 * is there. Throws `bad-setting` with one line that names the setting, its value (never a secret's) and what is accepted.
 */
export function loadConfig(env: Readonly<Record<string, string | undefined>>, configFile?: string): Config {
  const named = configFile ?? (env.FEEDGATE_CONFIG || undefined)
  const fromFile = readSettingsFile(named ?? './feedgate.yaml', named !== undefined)
  const raw: Record<string, unknown> = { ...fromFile }
  for (const name of Object.keys(Settings.properties)) {
    if (isFileOnly(name)) continue
    const value = fromEnvironment(env, environmentName(name))
    if (value !== undefined) raw[name] = fromText(name, value)
  }
  const asksAnonymousTier = raw.anonymousTier !== undefined
  for (const [name, schema] of Object.entries(Settings.properties)) {
    if (raw[name] === undefined && 'default' in schema) raw[name] = schema.default
    if ('properties' in schema) raw[name] = withDefaults(schema, raw[name])
  }
  check(raw)
  const values = raw as SettingValues
  checkTogether(values)
  const production = env.NODE_ENV === 'production'
  const loopback = LOOPBACK.test(values.host)
  const demo =
    fromFile === undefined &&
    !values.databaseUrl &&
    !values.kafkaBrokers &&
    !values.redisUrl &&
    loopback &&
    !production
  const mayMakeSecrets = loopback && !production
  if (!mayMakeSecrets) {
    for (const name of SECRETS) {
      if (values[name] === undefined)
        throw wrong(
          name,
          'not set',
          'a secret of at least 32 bytes (it is only made by itself on a loopback HOST outside NODE_ENV=production)',
        )
    }
  }
  return {
    ...values,
    ...(demo && !asksAnonymousTier ? { anonymousTier: 'basic' as const } : {}),
    demo,
    mayMakeSecrets,
    ...(fromFile === undefined ? {} : { file: named ?? './feedgate.yaml' }),
  }
}

function readSettingsFile(path: string, required: boolean): Record<string, unknown> | undefined {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code
    if (code === 'ENOENT' && !required) return undefined
    throw new FeedgateError(
      'bad-setting',
      `config file ${path} cannot be read (${code}): give the path of a readable YAML file`,
      { cause },
    )
  }
  try {
    const parsed: unknown = parseYaml(text, { maxAliasCount: 20 })
    if (parsed === null) return {}
    if (typeof parsed === 'object' && !Array.isArray(parsed)) return parsed as Record<string, unknown>
  } catch (cause) {
    const where = cause instanceof YAMLParseError ? (cause.message.split('\n')[0] ?? '') : 'not YAML'
    throw new FeedgateError('bad-setting', `config file ${path} is not valid YAML: ${where}`, { cause })
  }
  throw new FeedgateError(
    'bad-setting',
    `config file ${path} must be a mapping of settings, such as "port: 8080"`,
  )
}

/** `NAME`, or what the file that `NAME_FILE` names holds, without its last line feed: how containers are given secrets. */
function fromEnvironment(
  env: Readonly<Record<string, string | undefined>>,
  variable: string,
): string | undefined {
  const value = env[variable] || undefined
  const path = env[`${variable}_FILE`] || undefined
  if (path === undefined) return value
  if (value !== undefined)
    throw new FeedgateError(
      'bad-setting',
      `settings ${variable} and ${variable}_FILE are both set: accepted is one of them`,
    )
  try {
    return readFileSync(path, 'utf8').replace(/\r?\n$/, '') || undefined
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code
    throw new FeedgateError(
      'bad-setting',
      `setting ${variable}_FILE is ${JSON.stringify(path)}, which cannot be read (${code}): accepted is the path of a readable file`,
      { cause },
    )
  }
}

/** Lists and groups of settings have no form in the environment. */
export function isFileOnly(name: string): boolean {
  const { type } = Settings.properties[name as keyof typeof Settings.properties] as { type?: string }
  return type === 'array' || type === 'object'
}

/** What is no group is left as it is, for the check to name. */
function withDefaults(schema: TObject, given: unknown): unknown {
  if (given !== undefined && (typeof given !== 'object' || given === null || Array.isArray(given)))
    return given
  return { ...(Value.Create(schema) as object), ...given }
}

/** Environment values are text; the schema says which are numbers and which are yes or no. */
function fromText(name: string, value: string): unknown {
  const type = (Settings.properties[name as keyof typeof Settings.properties] as { type?: string }).type
  if (type === 'integer' && /^-?\d{1,15}$/.test(value)) return Number(value)
  if (type === 'number' && /^\d{1,15}(\.\d{1,15})?$/.test(value)) return Number(value)
  if (type === 'boolean' && (value === 'true' || value === 'false')) return value === 'true'
  return value
}

function check(raw: Record<string, unknown>): void {
  for (const name of Object.keys(raw)) {
    if (!Object.hasOwn(Settings.properties, name))
      throw new FeedgateError(
        'bad-setting',
        `unknown setting ${name}: accepted are ${Object.keys(Settings.properties).join(', ')}`,
      )
  }
  if (settings.Check(raw)) return
  const error = settings.Errors(raw)[0]
  const path = (error?.instancePath ?? '').split('/').slice(1)
  const missing = (error?.params as { requiredProperties?: string[] } | undefined)?.requiredProperties
  let schema: unknown = Settings
  for (const [depth, key] of path.entries()) {
    const parent = schema
    schema = descend(parent, key)
    const name = path.slice(0, depth + 1).join('.')
    if (schema === undefined)
      throw new FeedgateError('bad-setting', `unknown setting ${name}: accepted are ${accepted(parent)}`)
  }
  const name = path.join('.')
  if (missing)
    throw new FeedgateError('bad-setting', `setting ${name}.${missing[0]} is missing: it is required`)
  const value = path.reduce<unknown>((at, key) => (at as Record<string, unknown>)[key], raw)
  throw wrong(name, value, accepted(schema))
}

function descend(node: unknown, key: string): unknown {
  const schema = node as Partial<Record<'properties' | 'patternProperties', Record<string, unknown>>> & {
    items?: unknown
  }
  const named = schema?.properties?.[key] ?? Object.values(schema?.patternProperties ?? {})[0]
  return named ?? (/^\d+$/.test(key) ? schema?.items : undefined)
}

/** What a schema accepts, in words. */
function accepted(node: unknown): string {
  const schema = node as Record<string, unknown> | undefined
  if (!schema) return 'a value as the README lists it'
  if (Array.isArray(schema.anyOf))
    return (schema.anyOf as { const: string }[]).map((one) => one.const).join(', ')
  if (schema.properties) return Object.keys(schema.properties).join(', ')
  const limits: string[] = []
  if (schema.minimum !== undefined) limits.push(`from ${schema.minimum} to ${schema.maximum}`)
  if (schema.minLength !== undefined) limits.push(`of at least ${schema.minLength} characters`)
  const { minItems, maxItems } = schema
  if (minItems !== undefined)
    limits.push(`of ${minItems === maxItems ? '' : `${minItems} to `}${maxItems} items`)
  if (schema.pattern !== undefined) limits.push(`matching ${schema.pattern}`)
  const article = schema.type === 'integer' || schema.type === 'array' ? 'an' : 'a'
  return `${article} ${schema.type}${limits.length ? ` ${limits.join(', ')}` : ''}`
}

function wrong(name: string, value: unknown, accepts: string): FeedgateError {
  const secret = SECRETS.some((one) => one === name) || name.includes('.credentials')
  // A URL may hold a password.
  const shown =
    secret && value !== 'not set'
      ? '(hidden)'
      : JSON.stringify(value)?.replace(/:\/\/[^/"]*@/g, '://(hidden)@')
  const label = name.includes('.') ? name : `${environmentName(name)} (${name})`
  return new FeedgateError('bad-setting', `setting ${label} is ${shown}: accepted is ${accepts}`)
}

function checkTogether(values: SettingValues): void {
  for (const name of SECRETS) {
    const value = values[name]
    if (value !== undefined && Buffer.byteLength(value) < 32)
      throw wrong(name, value, 'a secret of at least 32 bytes')
  }
  if ((values.jwtPublicKey || values.jwksUrl) && !(values.jwtExternalIssuer && values.jwtAudience)) {
    const missing = values.jwtExternalIssuer ? 'jwtAudience' : 'jwtExternalIssuer'
    throw wrong(
      missing,
      'not set',
      'the value that tokens of the other issuer must carry, required with JWT_PUBLIC_KEY or JWKS_URL',
    )
  }
  const ids = new Set<string>()
  for (const [i, source] of (values.sources ?? []).entries()) {
    if (ids.has(source.id)) throw wrong(`sources.${i}.id`, source.id, 'an id that no other source has')
    ids.add(source.id)
    for (const field of ['url', 'restUrl'] as const) {
      if (source.sides && source[field] !== undefined)
        throw wrong(
          `sources.${i}.${field}`,
          source[field],
          'none where sides are given: each of them has its own',
        )
    }
    for (const [j, { channel, timeframe }] of (source.subscriptions ?? []).entries()) {
      const name = `sources.${i}.subscriptions.${j}.timeframe`
      const needed = CHANNELS[channel as Channel].timeframe
      if (needed && timeframe === undefined)
        throw wrong(name, 'not set', `one, such as 1m: ${channel} needs it`)
      if (!needed && timeframe !== undefined)
        throw wrong(name, timeframe, `none: ${channel} has no timeframes`)
    }
  }
}
