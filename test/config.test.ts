import { mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { environmentName, loadConfig } from '../src/config.ts'

function file(text: string): string {
  const path = join(mkdtempSync(join(tmpdir(), 'feedgate-config-')), 'settings.yaml')
  writeFileSync(path, text)
  return path
}

const SECRETS = {
  JWT_SECRET: 'j'.repeat(32),
  ADMIN_API_KEY: 'a'.repeat(32),
  SECRETS_KEY: 's'.repeat(32),
}

describe('settings', () => {
  it('are demo mode when nothing is set: loopback, anonymous clients as basic', () => {
    expect(loadConfig({})).toMatchObject({
      port: 8080,
      host: '127.0.0.1',
      demo: true,
      anonymousTier: 'basic',
    })
  })

  it('take the environment over the file over the defaults', () => {
    const path = file('port: 9000\nlogLevel: debug\n')
    expect(loadConfig({ PORT: '9001' }, path)).toMatchObject({
      port: 9001,
      logLevel: 'debug',
      host: '127.0.0.1',
    })
    expect(loadConfig({ FEEDGATE_CONFIG: path })).toMatchObject({ port: 9000, file: path })
  })

  it('keep an anonymous tier that was asked for in demo mode', () => {
    expect(loadConfig({ ANONYMOUS_TIER: 'none' }).anonymousTier).toBe('none')
  })

  it.each([
    ['a config file', {}, 'port: 1\n'],
    ['NODE_ENV=production', { ...SECRETS, NODE_ENV: 'production' }, undefined],
    ['another host', { ...SECRETS, HOST: '0.0.0.0' }, undefined],
    ['a database', { DATABASE_URL: 'postgres://localhost/x' }, undefined],
  ])('are not demo mode with %s', (_what, env, text) => {
    expect(loadConfig(env, text === undefined ? undefined : file(text))).toMatchObject({
      demo: false,
      anonymousTier: 'none',
    })
  })

  it('ask for each secret outside loopback and in production', () => {
    expect(() => loadConfig({ HOST: '0.0.0.0' })).toThrow(/JWT_SECRET.*not set/)
    const { SECRETS_KEY: _left, ...rest } = SECRETS
    expect(() => loadConfig({ ...rest, NODE_ENV: 'production' })).toThrow(/SECRETS_KEY.*not set/)
    expect(loadConfig({ ...SECRETS, NODE_ENV: 'production' }).mayMakeSecrets).toBe(false)
  })

  it.each([
    [{ PORT: '80a' }, /PORT \(port\) is "80a".*from 0 to 65535/],
    [{ PORT: '70000' }, /PORT.*70000/],
    [{ TRACE_RATIO: '2' }, /TRACE_RATIO \(traceRatio\) is 2.*from 0 to 1/],
    [{ OTEL_EXPORTER_OTLP_ENDPOINT: 'collector:4318' }, /OTEL_EXPORTER_OTLP_ENDPOINT.*https\?/],
    [{ ANONYMOUS_TIER: 'gold' }, /ANONYMOUS_TIER.*"gold".*none, basic, premium, institutional/],
    [{ JWT_EXTERNAL_ADMIN: 'yes' }, /JWT_EXTERNAL_ADMIN.*"yes".*boolean/],
    [{ DATABASE_URL: 'mysql://x' }, /DATABASE_URL.*mysql/],
    [{ JWT_PUBLIC_KEY: '-----BEGIN PUBLIC KEY-----' }, /JWT_EXTERNAL_ISSUER.*required/],
    [{ JWKS_URL: 'https://x/jwks', JWT_EXTERNAL_ISSUER: 'x' }, /JWT_AUDIENCE.*required/],
  ])('refuse %o in one line that names the setting and what is accepted', (env, message) => {
    expect(() => loadConfig(env)).toThrow(message)
    expect(() => loadConfig(env)).toThrow(/^[^\n]*$/)
  })

  it('count a secret in bytes', () => {
    expect(loadConfig({ JWT_SECRET: 'ä'.repeat(16) }).jwtSecret).toBe('ä'.repeat(16))
    expect(() => loadConfig({ JWT_SECRET: 'ä'.repeat(15) })).toThrow(/JWT_SECRET.*32 bytes/)
  })

  it('take a value from the file that NAME_FILE names, as containers are given secrets', () => {
    const secret = file(`${'j'.repeat(32)}\n`)
    const url = file('postgres://feedgate:hunter2@timescaledb/feedgate\n')
    expect(
      loadConfig({ ...SECRETS, JWT_SECRET: '', JWT_SECRET_FILE: secret, HOST: '0.0.0.0' }).jwtSecret,
    ).toBe('j'.repeat(32))
    expect(loadConfig({ DATABASE_URL_FILE: url })).toMatchObject({
      databaseUrl: 'postgres://feedgate:hunter2@timescaledb/feedgate',
      demo: false,
    })
  })

  it('refuse a NAME_FILE that cannot be read, that is set beside NAME, or that holds a short secret', () => {
    expect(() => loadConfig({ JWT_SECRET_FILE: '/nowhere/jwt' })).toThrow(
      /^setting JWT_SECRET_FILE is "\/nowhere\/jwt", which cannot be read \(ENOENT\): [^\n]*readable file$/,
    )
    expect(() => loadConfig({ JWT_SECRET: 'j'.repeat(32), JWT_SECRET_FILE: file('x') })).toThrow(
      /JWT_SECRET and JWT_SECRET_FILE are both set/,
    )
    expect(() => loadConfig({ JWT_SECRET_FILE: file('hunter2\n') })).toThrow(
      /^(?!.*hunter2).*hidden.*32 bytes/,
    )
  })

  it.each([
    ['sides: [{ url: ws://a }]', /sources\.0\.sides is .*accepted is an array of 2 items$/],
    ['sides: [{ url: http://a }, { url: ws://b }]', /sources\.0\.sides\.0\.url.*http:/],
    ['sides: [{}, { via: ws://b:8080 }]', /sources\.0\.sides\.1\.via.*ws:.*https\?/],
    ['sides: [{}, { via: "http://me:hunter2@b:8080" }]', /^(?!.*hunter2).*sources\.0\.sides\.1\.via/],
    ['via: http://b:8080', /unknown setting sources\.0\.via/],
    ['sides: [{ url: ws://me:hunter2@a }]', /^(?!.*hunter2).*array of 2 items$/],
    [
      'url: ws://c\n    sides: [{ url: ws://a }, { url: ws://b }]',
      /sources\.0\.url.*none where sides are given/,
    ],
  ])('refuse wrong sides of a source: %s', (sides, message) => {
    const path = file(`sources:\n  - id: x\n    kind: kraken\n    ${sides}\n`)
    expect(() => loadConfig({}, path)).toThrow(message)
    expect(() => loadConfig({}, path)).toThrow(/^[^\n]*$/)
  })

  it('take the sides of a source as nodes, and where a node lets others go', () => {
    const path = file(
      'tunnelTo: [stream.binance.com:9443]\nsources:\n  - id: binance\n    sides: [{}, { via: http://ingest-2:8080 }]\n',
    )
    expect(loadConfig({}, path)).toMatchObject({
      tunnelTo: ['stream.binance.com:9443'],
      sources: [{ sides: [{}, { via: 'http://ingest-2:8080' }] }],
    })
    expect(() => loadConfig({}, file('tunnelTo: [stream.binance.com]\n'))).toThrow(/tunnelTo\.0/)
  })

  it('never show the password in a URL', () => {
    expect(() => loadConfig({ DATABASE_URL: 'mysql://me:hunter2@host/x' })).toThrow(
      /^(?!.*hunter2).*mysql:\/\/\(hidden\)@host\/x/,
    )
  })

  it('take an empty variable for none', () => {
    expect(loadConfig({ ANONYMOUS_TIER: '' })).toMatchObject({ demo: true, anonymousTier: 'basic' })
  })

  it('never show the value of a secret', () => {
    expect(() => loadConfig({ JWT_SECRET: 'hunter2' })).toThrow(/^(?!.*hunter2).*JWT_SECRET.*hidden/)
  })

  it.each([
    ['prot: 1\n', /unknown setting prot: accepted are port/],
    ['sources:\n  - { id: a, kinds: x }\n', /unknown setting sources\.0\.kinds: accepted are id, kind/],
    ['sources:\n  - { kind: binance }\n', /sources\.0\.id is missing/],
    ['sources:\n  - { id: a }\n  - { id: a }\n', /sources\.1\.id is "a".*no other source/],
    [
      'sources:\n  - { id: a, subscriptions: [{ channel: smoke, symbols: [X] }] }\n',
      /channel is "smoke".*ticker, trades/,
    ],
    [
      'sources:\n  - { id: a, subscriptions: [{ channel: ohlcv, symbols: [X] }] }\n',
      /sources\.0\.subscriptions\.0\.timeframe is "not set".*such as 1m/,
    ],
    [
      'sources:\n  - { id: a, subscriptions: [{ channel: ticker, symbols: [X], timeframe: 1m }] }\n',
      /timeframe is "1m".*ticker has no timeframes/,
    ],
    ['sources:\n  - { id: a, url: "http://x" }\n', /sources\.0\.url is "http:\/\/x"/],
    [
      'sources:\n  - { id: a, credentials: { apiKey: 271828182 } }\n',
      /^(?!.*271828182).*credentials\.apiKey is \(hidden\).*a string/,
    ],
    ['- 1\n- 2\n', /must be a mapping/],
    ['port: [\n', /not valid YAML/],
  ])('refuse the file %j', (text, message) => {
    expect(() => loadConfig({}, file(text))).toThrow(message)
  })

  it('name a config file that cannot be read', () => {
    expect(() => loadConfig({}, '/nowhere/settings.yaml')).toThrow(
      /\/nowhere\/settings\.yaml cannot be read \(ENOENT\)/,
    )
  })

  it('are named alike in the environment', () => {
    expect(environmentName('jwtExternalIssuer')).toBe('JWT_EXTERNAL_ISSUER')
  })
})
