import { createHmac } from 'node:crypto'
import { chmod, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  ADMIN_KEY,
  Client,
  createKey,
  type Gateway,
  preparedFolder,
  rest,
  run,
  startGateway,
  temporaryFolder,
  until,
} from './program.ts'

const SECRET = 'test-jwt-secret-of-more-than-32-bytes'

function jwt(header: object, claims: object, secret = SECRET): string {
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')
  const text = `${part(header)}.${part(claims)}`
  return `${text}.${createHmac('sha256', secret).update(text).digest('base64url')}`
}
const inAnHour = () => Math.floor(Date.now() / 1000) + 3600
const HS256 = { alg: 'HS256', typ: 'JWT' }

describe('a wrong call or setting', () => {
  async function expectOneLine(args: string[], env: Record<string, string>, code: number, text: RegExp) {
    const output = await run(args, env)
    expect(output.stderr.trim().split('\n')).toHaveLength(1)
    expect(output.stderr).toMatch(text)
    expect(output.code).toBe(code)
    return output.stderr
  }

  it('names an unknown key of the config file and what is accepted', async () => {
    const file = join(await temporaryFolder(), 'settings.yaml')
    await writeFile(file, 'prot: 8080\n')
    await expectOneLine(['start', '--config', file], {}, 2, /unknown setting prot: accepted are port, host/)
  })

  it('names an unknown key of a source', async () => {
    const file = join(await temporaryFolder(), 'settings.yaml')
    await writeFile(file, 'sources:\n  - { id: binance, knid: binance }\n')
    await expectOneLine(
      ['start', '--config', file],
      {},
      2,
      /unknown setting sources\.0\.knid: accepted are id, kind/,
    )
  })

  it('names an unknown kind of source', async () => {
    const file = join(await temporaryFolder(), 'settings.yaml')
    await writeFile(file, 'sources:\n  - { id: nowhere, kind: nowhere }\n')
    const dataDir = await temporaryFolder()
    await expectOneLine(
      ['start', '--config', file],
      { DATA_DIR: dataDir, PORT: '0', LOG_LEVEL: 'silent' },
      2,
      /nowhere.*binance.*kraken/,
    )
  })

  it.each([
    ['channel: funding, symbols: [BTC/USDT]', /market, funding of .*no channel funding: accepted are ticker/],
    [
      'channel: ohlcv, symbols: [BTC/USDT], timeframe: 7q',
      /market, ohlcv of .*no timeframe 7q: accepted are 1s/,
    ],
    ['channel: trades, symbols: [NOSLASH]', /market, trades of NOSLASH: a symbol is/],
  ])('names what a source of the file cannot have: %s', async (subscription, message) => {
    const file = join(await temporaryFolder(), 'settings.yaml')
    await writeFile(file, `sources: [{ id: market, kind: simulator, subscriptions: [{ ${subscription} }] }]`)
    const env = { DATA_DIR: await temporaryFolder(), PORT: '0', LOG_LEVEL: 'silent' }
    await expectOneLine(['start', '--config', file], env, 2, message)
  })

  it('names a setting that is no number', async () => {
    await expectOneLine(['start'], { PORT: 'eighty' }, 2, /PORT.*"eighty".*from 0 to 65535/)
  })

  it('does not print a secret that is too short', async () => {
    const output = await run(['start'], { JWT_SECRET: 'short-secret' })
    expect(output.code).toBe(2)
    expect(output.stderr).toMatch(/JWT_SECRET.*32/)
    expect(output.stderr).not.toContain('short-secret')
  })

  it('asks for the secrets outside loopback', async () => {
    await expectOneLine(['start'], { HOST: '0.0.0.0' }, 2, /JWT_SECRET.*not set/)
  })

  it('says that a port is taken', async () => {
    const server = createServer().listen(0, '127.0.0.1')
    await new Promise((done) => server.once('listening', done))
    const { port } = server.address() as { port: number }
    const dataDir = await temporaryFolder()
    await expectOneLine(
      ['start'],
      { PORT: String(port), DATA_DIR: dataDir, LOG_LEVEL: 'silent' },
      1,
      /port \d+ .*taken/,
    )
    server.close()
  })

  it.each([[['migrate']], [['keys', 'list']]])('says that the database does not answer: %s', async (args) => {
    const dataDir = await temporaryFolder()
    const env = { DATABASE_URL: 'postgres://u:very-secret@127.0.0.1:1/x', DATA_DIR: dataDir }
    const output = await expectOneLine(args, env, 1, /the database does not answer .*DATABASE_URL/)
    expect(output).not.toContain('very-secret')
  })

  it('says which engines a process with some of the roles needs', async () => {
    const env = { DATABASE_URL: 'postgres://127.0.0.1:1/x', DATA_DIR: await temporaryFolder() }
    await expectOneLine(['start', '--roles', 'ingest'], env, 2, /--roles lacks .*KAFKA_BROKERS, REDIS_URL/)
  })

  it('says that the data directory cannot be written', async () => {
    const file = join(await temporaryFolder(), 'a-file')
    await writeFile(file, '')
    await chmod(file, 0o400)
    await expectOneLine(['start'], { DATA_DIR: join(file, 'data') }, 2, /DATA_DIR.*cannot be written/)
  })

  it('says which options a command has', async () => {
    const output = await run(['start', '--prot', '1'])
    expect(output.code).toBe(2)
    expect(output.stderr).toMatch(/unknown option '--prot'/)
  })

  it('says which faults the player has', async () => {
    await expectOneLine(['play', 'x.txt', '--port', '0', '--faults', 'gremlins'], {}, 2, /gremlins.*corrupt/)
  })
})

describe('a running gateway', () => {
  let gateway: Gateway
  let dataDir: string
  let watcher: Client

  beforeAll(async () => {
    dataDir = await preparedFolder()
    gateway = await startGateway({ dataDir, env: { JWT_SECRET: SECRET, ANONYMOUS_TIER: 'none' } })
    const key = await createKey(gateway, 'institutional')
    watcher = await new Client(`${gateway.url}/ws`, { 'x-api-key': key }).open()
    watcher.send({ type: 'subscribe', channel: 'trades', symbols: ['BTC/USDT'] })
    await watcher.waitFor((message) => message.type === 'trade')
  })
  afterAll(() => gateway.end('SIGKILL'))

  const admin = (act: string, body: object | string) =>
    rest<{ code: string; detail: string }>(gateway, `/market-data/websocket/${act}`, {
      method: 'POST',
      body: typeof body === 'string' ? body : JSON.stringify(body),
    })

  it('answers 422 for an unknown exchange, channel, timeframe and symbol, and says what is accepted', async () => {
    expect(await admin('connect', { exchangeId: 'nowhere' })).toMatchObject({
      status: 422,
      body: { code: 'unknown-exchange' },
    })
    expect(
      await admin('subscribe', { exchangeId: 'demo-crypto', channel: 'smoke', symbol: 'BTC/USDT' }),
    ).toMatchObject({
      status: 422,
      body: { code: 'unknown-channel' },
    })
    const timeframe = await admin('subscribe', {
      exchangeId: 'demo-crypto',
      channel: 'ohlcv',
      symbol: 'BTC/USDT',
      timeframe: '7m',
    })
    expect(timeframe).toMatchObject({ status: 422, body: { code: 'unknown-timeframe' } })
    expect(timeframe.body.detail).toContain('1m')
    expect(
      await admin('subscribe', { exchangeId: 'demo-crypto', channel: 'trades', symbol: 'NOSLASH' }),
    ).toMatchObject({
      status: 422,
      body: { code: 'unknown-symbol' },
    })
    expect(
      await admin('unsubscribe', { exchangeId: 'nobody', channel: 'trades', symbol: 'A/B' }),
    ).toMatchObject({ status: 404 })
  })

  it('answers malformed JSON and oversize bodies with one problem document', async () => {
    expect(await admin('connect', '{"exchangeId":')).toMatchObject({
      status: 400,
      body: { code: 'bad-request' },
    })
    expect(await admin('connect', { exchangeId: 'x'.repeat(1_000_000) })).toMatchObject({ status: 413 })
    expect(await admin('connect', { exchangeId: 'demo-crypto', surprise: 1 })).toMatchObject({ status: 400 })
  })

  it('answers a plain request to a WebSocket path with a problem document', async () => {
    for (const path of ['/ws', '/ws/odds', '/ws/status'])
      expect(await rest<{ code: string }>(gateway, path)).toMatchObject({
        status: 400,
        body: { code: 'bad-request' },
      })
  })

  it('tells a socket what was wrong with its message, and goes on', async () => {
    const key = await createKey(gateway, 'premium')
    const client = await new Client(`${gateway.url}/ws`, { 'x-api-key': key }).open()
    client.send('{"type":')
    await client.waitFor((message) => message.type === 'error' && message.code === 400)
    client.send({ type: 'subscribe', id: 7, channel: 'smoke', symbols: ['BTC/USDT'] })
    await client.waitFor((message) => message.type === 'error' && message.code === 422 && message.id === 7)
    client.send({ type: 'ping' })
    await client.waitFor((message) => message.type === 'pong')
    client.close()
  })

  it('closes a socket that sends 1 MB, with 1009', async () => {
    const key = await createKey(gateway, 'premium')
    const client = await new Client(`${gateway.url}/ws`, { 'x-api-key': key }).open()
    client.send({ type: 'ping', padding: 'x'.repeat(1_000_000) })
    expect(await client.closed).toBe(1009)
  })

  it.each([
    ['expired', jwt(HS256, { sub: 'a', exp: 1 }), 4003],
    [
      'unsigned',
      `${jwt({ alg: 'none' }, { sub: 'a', exp: inAnHour() }).split('.').slice(0, 2).join('.')}.`,
      4001,
    ],
    ['of another issuer', jwt(HS256, { sub: 'a', exp: inAnHour(), iss: 'elsewhere' }), 4001],
    ['signed by another secret', jwt(HS256, { sub: 'a', exp: inAnHour() }, 'another-secret'), 4001],
    ['without an end', jwt(HS256, { sub: 'a' }), 4001],
  ])('refuses a token that is %s', async (_what, token, close) => {
    const client = new Client(`${gateway.url}/ws?access_token=${token}`)
    expect(await client.closed).toBe(close)
    const answer = await fetch(`${gateway.url}/v1/sources`, { headers: { authorization: `Bearer ${token}` } })
    expect(answer.status).toBe(401)
    expect(answer.headers.get('content-type')).toContain('application/problem+json')
  })

  it('takes a token that is right in all of this', async () => {
    const token = jwt(HS256, { sub: 'good', exp: inAnHour(), iss: 'feedgate' })
    const answer = await fetch(`${gateway.url}/v1/sources`, { headers: { authorization: `Bearer ${token}` } })
    expect(answer.status).toBe(200)
  })

  it('keeps its data directory to itself, and lets commands of the same user in through its admin API', async () => {
    const second = await run(['start'], { DATA_DIR: dataDir, PORT: '0', LOG_LEVEL: 'silent' })
    expect(second.stderr.trim().split('\n')).toHaveLength(1)
    expect(second).toMatchObject({ code: 1, stderr: expect.stringContaining('in use') })
    const made = await run(['keys', 'create', '--tenant', 'cli', '--tier', 'premium', '--json'], {
      DATA_DIR: dataDir,
    })
    expect(made.code).toBe(0)
    const key = JSON.parse(made.stdout) as Record<string, string>
    expect(Object.keys(key)).toEqual(['id', 'key', 'prefix', 'tenant', 'tier'])
    expect(key.key).toMatch(/^fg_premium_[A-Za-z0-9]{32,}$/)
    const client = await new Client(`${gateway.url}/ws`, { 'x-api-key': key.key! }).open()
    client.send({ type: 'list' })
    await client.waitFor((message) => message.type === 'subscriptions')
    client.close()
  })

  it('disturbed nobody meanwhile, and logged no secret', async () => {
    const before = watcher.ofType('trade').length
    await until(() => watcher.ofType('trade').length > before)
    const trades = watcher.ofType('trade')
    for (let i = 1; i < trades.length; i++) expect(trades[i]!.seq).toBe((trades[i - 1]!.seq as number) + 1)
    expect(gateway.stderr).not.toContain(ADMIN_KEY)
    expect(gateway.stderr).not.toContain('eyJ')
  })
})
