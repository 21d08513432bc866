import { execFileSync, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer, type IncomingMessage, request } from 'node:http'
import {
  type AddressInfo,
  createServer as createTcpServer,
  type Socket,
  type Server as TcpServer,
} from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Duplex } from 'node:stream'
import { setTimeout as delay } from 'node:timers/promises'
import { createServer as createTlsServer, type TLSSocket } from 'node:tls'
import { afterEach, describe, expect, it } from 'vitest'
import { venueConnector } from '../src/connectors/venue-connector.ts'
import { venue as binance } from '../src/connectors/venues/binance.ts'
import { authority, openTunnel, type Passage, serveTunnels } from '../src/tunnel.ts'
import { until } from './manager/venue-world.ts'

const SECRET = 'a secret of the tests, long enough for one'
const FREE: Passage = { waitMs: () => 0, spend: () => () => {} }
const stops: (() => unknown)[] = []

afterEach(async () => {
  for (const stop of stops.splice(0).toReversed()) await stop()
})

async function listening(server: TcpServer): Promise<number> {
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', () => done()))
  return (server.address() as AddressInfo).port
}

/** Says back what it hears. */
async function venue(onSocket: (socket: Socket) => void = (socket) => socket.pipe(socket)) {
  const sockets: Socket[] = []
  const server = createTcpServer({ allowHalfOpen: true }, (socket) => {
    sockets.push(socket)
    socket.on('error', () => {})
    onSocket(socket)
  })
  const port = await listening(server)
  stops.push(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return { port, sockets }
}

async function node(passage: (to: string) => Passage | undefined) {
  const server = createServer((_, response) => response.end('no tunnel'))
  const refusals: string[] = []
  const log = {
    debug: () => {},
    info: () => {},
    warn: (fields: object) => refusals.push(JSON.stringify(fields)),
    error: () => {},
  }
  const end = serveTunnels(server, { secret: SECRET, log, passage })
  const port = await listening(server)
  stops.push(() => {
    end()
    server.close().closeAllConnections()
  })
  return { url: `http://127.0.0.1:${port}`, port, end, refusals }
}

async function opened(via: string, port: number): Promise<Duplex> {
  const socket = await openTunnel(via, SECRET, '127.0.0.1', port)
  stops.push(() => socket.destroy())
  return socket.on('error', () => {})
}

/** The status that a node answers to a request of somebody who writes it by hand. */
async function connectBy(
  port: number,
  to: string,
  headers: Record<string, string>,
): Promise<number | undefined> {
  const asked = request({ host: '127.0.0.1', port, method: 'CONNECT', path: to, headers, agent: false })
  asked.on('error', () => {})
  asked.end()
  const [response, socket] = (await once(asked, 'connect')) as [IncomingMessage, Socket]
  socket.destroy()
  return response.statusCode
}

describe('a tunnel', () => {
  it('passes bytes both ways, as many as there are, and no more than the reader takes', async () => {
    const there = await venue()
    const { url } = await node(() => FREE)
    const socket = await opened(url, there.port)
    const sent = Buffer.alloc(64 * 1024 * 1024, 'feedgate ')
    const heard: Buffer[] = []
    socket.pause()
    let written = 0
    const write = async () => {
      for (let at = 0; at < sent.length; at += 65_536) {
        if (!socket.write(sent.subarray(at, at + 65_536))) await once(socket, 'drain')
        written = at
      }
    }
    const writing = write()
    // Nobody reads: sockets and streams become full, and the writer waits.
    for (let before = -1; written > before; await delay(400)) before = written
    expect(written).toBeLessThan(sent.length - 65_536)
    socket.on('data', (chunk: Buffer) => heard.push(chunk)).resume()
    await writing
    await until('all of it', () => heard.reduce((sum, { length }) => sum + length, 0) === sent.length)
    expect(Buffer.concat(heard).equals(sent)).toBe(true)
  })

  it('ends at both ends, whichever ends first; what was sent before still comes', async () => {
    const there = await venue((socket) => socket.once('data', () => socket.end('the last words')))
    const { url } = await node(() => FREE)
    const one = await opened(url, there.port)
    const words: string[] = []
    one.on('data', (chunk) => words.push(String(chunk)))
    one.write('speak')
    await once(one, 'close')
    expect(words.join('')).toBe('the last words')

    const other = await opened(url, there.port)
    other.destroy()
    await until(
      'the venue hears of it',
      () => there.sockets[1]?.readableEnded || there.sockets[1]?.destroyed || false,
    )

    const third = await opened(url, there.port)
    await until('it is there', () => there.sockets.length === 3)
    there.sockets[2]!.resetAndDestroy()
    await once(third, 'close')
  })

  it('ends with the node that serves it', async () => {
    const there = await venue()
    const { url, end } = await node(() => FREE)
    const socket = await opened(url, there.port)
    end()
    await once(socket.resume(), 'close')
    await expect(opened(url, there.port)).rejects.toThrow(/the node (cannot be reached|refuses)/)
  })

  it('leads nowhere but to addresses of sources', async () => {
    const there = await venue()
    const { url, refusals } = await node((to) => (to === 'stream.example:443' ? FREE : undefined))
    await expect(opened(url, there.port)).rejects.toMatchObject({
      code: 'venue-unavailable',
      message: 'the node refuses: none of its sources is at this address',
    })
    expect(there.sockets).toHaveLength(0)
    expect(refusals).toEqual([`{"to":"127.0.0.1:${there.port}","refusal":"403"}`])
  })

  it('is for nodes that know the secret, for the address that was asked for, and for a minute', async () => {
    const there = await venue()
    const taken: string[] = []
    const { port } = await node((to) => {
      taken.push(to)
      return FREE
    })
    const to = `127.0.0.1:${there.port}`
    const server = createServer()
    const tokens: string[] = []
    server.on('connect', ({ headers }: IncomingMessage, socket: Duplex) => {
      tokens.push(headers['proxy-authorization']!)
      socket.destroy()
    })
    const thief = await listening(server)
    stops.push(() => server.close())
    await openTunnel(`http://127.0.0.1:${thief}`, SECRET, '127.0.0.1', there.port).catch(() => {})
    await openTunnel(`http://127.0.0.1:${thief}`, 'another secret', '127.0.0.1', there.port).catch(() => {})
    const [right, foreign] = tokens as [string, string]
    expect(right).not.toContain(SECRET)
    const [expiry, signature] = right.slice('Bearer '.length).split('.') as [string, string]
    const wrong = [
      foreign,
      `Bearer 0${expiry}.${signature}`,
      `Bearer ${Number(expiry) + 1}.${signature}`,
      `Bearer ${Number(expiry) - 3_600}.${signature}`,
      `Bearer ${expiry}.${signature.slice(1)}`,
      `Bearer ${expiry}.${'A'.repeat(43)}`,
      `Basic ${Buffer.from('a:b').toString('base64')}`,
      'Bearer ',
    ]
    for (const header of wrong)
      expect(await connectBy(port, to, { 'proxy-authorization': header }), header).toBe(407)
    expect(await connectBy(port, to, {})).toBe(407)
    expect(await connectBy(port, 'elsewhere:443', { 'proxy-authorization': right })).toBe(407)
    expect(there.sockets).toHaveLength(0)
    expect(await connectBy(port, to, { 'proxy-authorization': right })).toBe(200)
    expect(there.sockets).toHaveLength(1)
  })

  it('waits for its turn where the venue counts connections', async () => {
    const there = await venue()
    let waitMs = 4_200
    let spent = 0
    let arrived = 0
    const spend = () => {
      spent++
      return () => void arrived++
    }
    const { url } = await node(() => ({ waitMs: () => waitMs, spend }))
    await expect(opened(url, there.port)).rejects.toMatchObject({ retryAfterMs: 5_000 })
    expect(spent).toBe(0)
    waitMs = 0
    await opened(url, there.port)
    expect([spent, arrived]).toEqual([1, 1])
  })

  it('says that a venue, or the node itself, cannot be reached', async () => {
    const there = await venue()
    const { url } = await node(() => FREE)
    await expect(opened(url, 1)).rejects.toThrow('the node refuses: it cannot reach the venue')
    await expect(opened('http://127.0.0.1:1', there.port)).rejects.toThrow(
      'the node cannot be reached: ECONNREFUSED',
    )
  })
})

/** Why a connection over the tunnel to a venue of TLS ended. */
function connectOverTls(via: string, port: number): Promise<string> {
  const url = `wss://localhost:${port}`
  const connect = (host: string, to: number) => openTunnel(via, SECRET, host, to)
  return new Promise((resolve) => {
    const link = venueConnector(binance).open(
      '',
      { source: 'x', url, via: { node: via, connect } },
      {
        opened: () => link.close('opened'),
        decoded: () => {},
        ended: ({ reason }) => resolve(reason),
      },
    )
  })
}

it.skipIf(spawnSync('openssl', ['version']).status !== 0)(
  'TLS is with the venue, whose certificate is judged by the node that asked (needs openssl)',
  async () => {
    const folder = mkdtempSync(join(tmpdir(), 'feedgate-tls-'))
    stops.push(() => rmSync(folder, { recursive: true }))
    const [key, cert] = [join(folder, 'key.pem'), join(folder, 'cert.pem')]
    const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost']
    const made = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '1']
    execFileSync('openssl', ['req', '-x509', ...made, ...subject, '-keyout', key, '-out', cert], {
      stdio: 'ignore',
    })
    const names: unknown[] = []
    const requests: string[] = []
    const server = createTlsServer({ key: readFileSync(key), cert: readFileSync(cert) }, (socket) => {
      names.push((socket as TLSSocket & { servername?: string }).servername)
      socket
        .on('error', () => {})
        .once('data', (data) => {
          requests.push(String(data).split('\r\n')[0]!)
          socket.end('HTTP/1.1 451 Unavailable\r\ncontent-length: 0\r\n\r\n')
        })
    })
    const port = await listening(server)
    stops.push(() => server.close())
    const { url } = await node(() => FREE)
    expect(await connectOverTls(url, port)).toBe('cannot connect: DEPTH_ZERO_SELF_SIGNED_CERT')
    expect(requests).toEqual([])
    process.env.NODE_TLS_REJECT_UNAUTHORIZED = '0'
    stops.push(() => delete process.env.NODE_TLS_REJECT_UNAUTHORIZED)
    expect(await connectOverTls(url, port)).toBe('refused: HTTP 451')
    expect(requests).toEqual(['GET /stream HTTP/1.1'])
    expect(names).toContain('localhost')
  },
)

it('addresses are named with their port', () => {
  expect(authority('wss://stream.binance.com:9443/ws')).toBe('stream.binance.com:9443')
  expect(authority('wss://fstream.binance.com/x')).toBe('fstream.binance.com:443')
  expect(authority('ws://[::1]:9443')).toBe('[::1]:9443')
  expect(authority('ws://127.0.0.1')).toBe('127.0.0.1:80')
  expect(authority('nothing')).toBeUndefined()
})
