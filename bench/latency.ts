/**
 * From a venue's frame to a client's socket: a loopback venue sends Binance trades on 100 symbols, the real program
 * (a child process) takes them through its connector, manager, bus, cache and hub, and 100 clients in another process
 * listen to one topic each. Beside it, in the same run and shape, a bare `ws` relay that parses a frame for its stream
 * and sends it on. Each frame carries the venue's send time (µs of the machine's monotonic clock) as its price.
 *
 *   npm run bench:latency [-- --seconds 60 --rates 1000,10000 --clients 100]
 */
import { type ChildProcess, fork, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { WebSocket, WebSocketServer } from 'ws'
import { micros, SYMBOLS, Venue } from './venue.ts'

const ADMIN_KEY = 'bench-admin-key-of-more-than-32-bytes'

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '60' },
    rates: { type: 'string', default: '1000,10000' },
    clients: { type: 'string', default: '100' },
    part: { type: 'string' },
    url: { type: 'string' },
    keys: { type: 'string' },
  },
})

/** Child: the bare relay. */
function relay(venueUrl: string): void {
  const byStream = new Map<string, Set<WebSocket>>()
  const upstream = new WebSocket(`${venueUrl}/stream`)
  upstream.on('message', (data: Buffer) => {
    const text = data.toString()
    const { stream } = JSON.parse(text) as { stream?: string }
    for (const client of byStream.get(stream ?? '') ?? []) client.send(text)
  })
  const server = new WebSocketServer({ port: 0, host: '127.0.0.1', perMessageDeflate: false }, () => {
    process.send!({ url: `ws://127.0.0.1:${(server.address() as { port: number }).port}` })
  })
  server.on('connection', (client) => {
    client.on('message', (data) => {
      const { symbols } = JSON.parse(String(data)) as { symbols: string[] }
      const stream = `${symbols[0]!.replace('/', '').toLowerCase()}@aggTrade`
      byStream.set(stream, (byStream.get(stream) ?? new Set()).add(client))
      client.send('{"type":"subscribed"}')
    })
  })
}

/** Child: the clients; answers a request with the latencies since the last one. */
async function clients(url: string, keys: readonly string[]): Promise<void> {
  let latencies: number[] = []
  let ready = 0
  for (let i = 0; i < Number(values.clients); i++) {
    const key = keys[i % Math.max(keys.length, 1)]
    const socket = new WebSocket(url, {
      perMessageDeflate: false,
      ...(key ? { headers: { 'x-api-key': key } } : {}),
    })
    socket.on('open', () =>
      socket.send(
        JSON.stringify({
          type: 'subscribe',
          channel: 'trades',
          symbols: [`${SYMBOLS[i % SYMBOLS.length]}/USDT`],
        }),
      ),
    )
    socket.on('message', (data: Buffer) => {
      const received = micros()
      const text = data.toString('latin1')
      const at = text.indexOf('"price":"')
      const from = at < 0 ? text.indexOf('"p":"') + 5 : at + 9
      if (from < 9 && at < 0) {
        if (text.includes('"subscribed"') && ++ready === Number(values.clients))
          process.send!({ ready: true })
        return
      }
      latencies.push(received - Number(text.slice(from, text.indexOf('"', from))))
    })
    socket.on('error', (error) => {
      console.error(`client: ${error.message}`)
      process.exit(1)
    })
    await once(socket, 'open')
  }
  process.on('message', () => {
    process.send!({ latencies })
    latencies = []
  })
}

function part(name: string, options: string[]): ChildProcess {
  return fork(fileURLToPath(import.meta.url), ['--part', name, '--clients', values.clients, ...options], {
    serialization: 'advanced',
  })
}

function message<T>(child: ChildProcess): Promise<T> {
  return once(child, 'message').then(([answer]) => answer as T)
}

async function startGateway(venueUrl: string): Promise<{ child: ChildProcess; url: string; keys: string[] }> {
  const folder = mkdtempSync(join(tmpdir(), 'feedgate-bench-'))
  const config = join(folder, 'settings.yaml')
  const symbols = JSON.stringify(SYMBOLS.map((symbol) => `${symbol}/USDT`))
  writeFileSync(
    config,
    `sources:\n  - { id: binance, kind: binance, url: "${venueUrl}", restUrl: "${venueUrl.replace('ws', 'http')}", subscriptions: [{ channel: trades, symbols: ${symbols} }] }\n`,
  )
  const main = fileURLToPath(new URL('../../dist/main.js', import.meta.url))
  const child = spawn(process.execPath, [main, 'start', '--config', config], {
    env: {
      PATH: process.env.PATH,
      PORT: '0',
      DATA_DIR: join(folder, 'data'),
      LOG_LEVEL: 'warn',
      ADMIN_API_KEY: ADMIN_KEY,
    },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const url = await new Promise<string>((done) => {
    createInterface({ input: child.stdout! }).on('line', (line) => {
      const match = /(http:\/\/[^/\s]+)/.exec(line)
      if (match) done(match[1]!)
    })
  })
  const keys: string[] = []
  for (let i = 0; i < Math.ceil(Number(values.clients) / 50); i++) {
    const answer = await fetch(`${url}/admin/keys`, {
      method: 'POST',
      headers: { 'x-api-key': ADMIN_KEY, 'content-type': 'application/json' },
      body: JSON.stringify({ tenant: 'bench', tier: 'institutional' }),
    })
    keys.push(((await answer.json()) as { key: string }).key)
  }
  // Every topic is live before anything is measured.
  for (;;) {
    const status = await fetch(`${url}/readyz`)
    if (status.ok) break
    await new Promise((tick) => setTimeout(tick, 200))
  }
  return { child, url: `${url.replace('http', 'ws')}/ws`, keys }
}

interface Figures {
  name: string
  rate: number
  sent: number
  received: number
  p50: number
  p99: number
  max: number
  cpu: number
}

/** CPU seconds of a process so far, by the kernel. */
function cpuSeconds(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' ')
  return (Number(fields[11]) + Number(fields[12])) / 100
}

async function measure(
  name: string,
  venue: Venue,
  server: ChildProcess,
  listeners: ChildProcess,
): Promise<Figures[]> {
  const rows: Figures[] = []
  for (const rate of values.rates.split(',').map(Number)) {
    await venue.run(rate, 2)
    await new Promise((tick) => setTimeout(tick, 1_000))
    listeners.send('report')
    await message(listeners)
    const cpu = cpuSeconds(server.pid!)
    await venue.run(rate, Number(values.seconds))
    const used = cpuSeconds(server.pid!) - cpu
    await new Promise((tick) => setTimeout(tick, 1_000))
    listeners.send('report')
    const { latencies } = await message<{ latencies: number[] }>(listeners)
    const sorted = Float64Array.from(latencies).sort()
    const at = (share: number) =>
      sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN
    rows.push({
      name,
      rate,
      sent: venue.sent,
      received: sorted.length,
      p50: at(0.5) / 1_000,
      p99: at(0.99) / 1_000,
      max: at(1) / 1_000,
      cpu: used / Number(values.seconds),
    })
  }
  return rows
}

async function main(): Promise<void> {
  const rows: Figures[] = []
  for (const name of ['feedgate', 'bare ws relay']) {
    const venue = await new Venue().listening()
    const server =
      name === 'feedgate'
        ? await startGateway(venue.url)
        : await (async () => {
            const child = part('relay', ['--url', venue.url])
            const { url } = await message<{ url: string }>(child)
            return { child, url, keys: [] as string[] }
          })()
    const listeners = part('clients', ['--url', server.url, '--keys', server.keys.join(',')])
    await message(listeners)
    rows.push(...(await measure(name, venue, server.child, listeners)))
    listeners.kill('SIGKILL')
    server.child.kill('SIGKILL')
    venue.close()
  }
  console.log(
    `\nvenue frame to client socket, ${values.clients} clients of one topic each of ${SYMBOLS.length}, ${values.seconds} s\n`,
  )
  console.log('                 events/s      sent  received   p50 ms   p99 ms   max ms   cores')
  for (const row of rows) {
    console.log(
      `${row.name.padEnd(16)} ${String(row.rate).padStart(8)} ${String(row.sent).padStart(9)} ${String(row.received).padStart(9)} ${row.p50.toFixed(2).padStart(8)} ${row.p99.toFixed(2).padStart(8)} ${row.max.toFixed(2).padStart(8)} ${row.cpu.toFixed(2).padStart(7)}`,
    )
  }
  process.exit(0)
}

if (values.part === 'relay') relay(values.url!)
else if (values.part === 'clients') await clients(values.url!, values.keys ? values.keys.split(',') : [])
else await main()
