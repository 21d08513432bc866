import { readFileSync } from 'node:fs'
import { deflateRawSync } from 'node:zlib'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { Client, type Gateway, preparedFolder, startGateway, until } from './program.ts'
import { CLOSE, CONTINUATION, frame, PING, PONG, RawSocket, TEXT, UPGRADE } from './raw-socket.ts'

/** Against the real program: each attack is answered, and a client that behaves goes on getting every event. */
let gateway: Gateway
let watcher: Client
let memoryBefore = 0
const open = new Set<RawSocket>()

beforeAll(async () => {
  // A small heap: who could make the program hold much would end it.
  const env = { NODE_OPTIONS: '--max-old-space-size=160' }
  gateway = await startGateway({ dataDir: await preparedFolder(), env })
  watcher = await new Client(`${gateway.url}/ws`, {
    'x-api-key': 'test-admin-key-of-more-than-32-bytes',
  }).open()
  watcher.send({ type: 'subscribe', channel: 'trades', symbols: ['BTC/USDT'] })
  await watcher.waitFor(({ type }) => type === 'trade')
  memoryBefore = residentMegabytes()
})
afterEach(async () => {
  for (const socket of open) socket.socket.destroy()
  open.clear()
  const before = watcher.ofType('trade').length
  await until(() => watcher.ofType('trade').length > before)
})
afterAll(() => gateway.end('SIGKILL'))

const raw = () => {
  const socket = new RawSocket(gateway.url)
  open.add(socket)
  return socket
}
const residentMegabytes = () =>
  Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${gateway.child.pid}/status`, 'utf8'))?.[1]) / 1_024

describe('a handshake', () => {
  const without = (name: string) => UPGRADE.filter((line) => !line.startsWith(name))

  it.each<[string, readonly string[]]>([
    ['without a key', ['GET /ws HTTP/1.1', ...without('Sec-WebSocket-Key')]],
    [
      'with a key that is too short',
      ['GET /ws HTTP/1.1', ...without('Sec-WebSocket-Key'), 'Sec-WebSocket-Key: YQ=='],
    ],
    [
      'of an old version',
      ['GET /ws HTTP/1.1', ...without('Sec-WebSocket-Version'), 'Sec-WebSocket-Version: 7'],
    ],
    ['without a version', ['GET /ws HTTP/1.1', ...without('Sec-WebSocket-Version')]],
    ['by POST', ['POST /ws HTTP/1.1', ...UPGRADE, 'Content-Length: 0']],
    ['without an upgrade', ['GET /ws HTTP/1.1', 'Host: localhost']],
    ['to something else', ['GET /ws HTTP/1.1', ...without('Upgrade'), 'Upgrade: h2c']],
    ['with a subprotocol that is no token', ['GET /ws HTTP/1.1', ...UPGRADE, 'Sec-WebSocket-Protocol: a,,b']],
    [
      'with an extension that cannot be read',
      [
        'GET /ws?compress=true HTTP/1.1',
        ...UPGRADE,
        'Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits=99',
      ],
    ],
    ['on another path', ['GET /v1/sources HTTP/1.1', ...UPGRADE]],
  ])('%s is refused', async (_what, lines) => {
    const answer = await raw().request(lines)
    expect(answer).toMatch(/^HTTP\/1\.1 (400|404|405|426) /)
    expect(answer).not.toMatch(/node_modules|\.js:\d|at .*\(/)
  })

  it('that stops half-way, 200 times, keeps nobody else out', async () => {
    for (let n = 0; n < 100; n++) {
      raw()
      raw().write('GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nX-Slow: ')
    }
    const one = await raw().upgrade()
    one.write(frame(TEXT, '{"type":"ping","id":1}'))
    await until(() => one.frames().some(({ payload }) => payload.includes('"pong"')))
  })
})

describe('a request', () => {
  it.each<[string, readonly string[], RegExp]>([
    [
      'with 20 KB of headers',
      ['GET /healthz HTTP/1.1', 'Host: localhost', `X-A: ${'a'.repeat(20_000)}`],
      /^HTTP\/1\.1 400 /,
    ],
    [
      'with 5,000 headers',
      ['GET /healthz HTTP/1.1', 'Host: localhost', ...Array.from({ length: 5_000 }, (_, n) => `X${n}: 1`)],
      /^HTTP\/1\.1 400 /,
    ],
    [
      'with a URL of 20 KB',
      [`GET /healthz?${'a'.repeat(20_000)} HTTP/1.1`, 'Host: localhost'],
      /^HTTP\/1\.1 400 /,
    ],
    [
      'with two lengths',
      ['POST /auth/token HTTP/1.1', 'Host: localhost', 'Content-Length: 5', 'Content-Length: 6'],
      /^HTTP\/1\.1 400 /,
    ],
    [
      'with a length and chunks',
      ['POST /auth/token HTTP/1.1', 'Host: localhost', 'Content-Length: 5', 'Transfer-Encoding: chunked'],
      /^HTTP\/1\.1 400 /,
    ],
    [
      'with a chunk that is none',
      [
        'POST /auth/token HTTP/1.1',
        'Host: localhost',
        'Content-Type: application/json',
        'Transfer-Encoding: chunked',
        '',
        'zz',
      ],
      /^HTTP\/1\.1 (400|401) /,
    ],
    ['with a space before its colon', ['GET /healthz HTTP/1.1', 'Host : localhost'], /^HTTP\/1\.1 400 /],
    ['with a NUL in its path', ['GET /heal\0thz HTTP/1.1', 'Host: localhost'], /^HTTP\/1\.1 400 /],
    ['by a method that there is not', ['STEAL /healthz HTTP/1.1', 'Host: localhost'], /^HTTP\/1\.1 400 /],
    ['by TRACE', ['TRACE /healthz HTTP/1.1', 'Host: localhost', 'X-Api-Key: reflect-me'], /^HTTP\/1\.1 404 /],
    [
      'by OPTIONS',
      ['OPTIONS /admin/keys HTTP/1.1', 'Host: localhost', 'Origin: http://evil'],
      /^HTTP\/1\.1 404 /,
    ],
    ['by PROPFIND', ['PROPFIND / HTTP/1.1', 'Host: localhost'], /^HTTP\/1\.1 404 /],
    [
      'by another method in a header',
      ['POST /v1/sources HTTP/1.1', 'Host: localhost', 'X-HTTP-Method-Override: GET', 'Content-Length: 0'],
      /^HTTP\/1\.1 404 /,
    ],
    [
      'for another host',
      ['GET http://evil.example/healthz HTTP/1.1', 'Host: evil.example'],
      /^HTTP\/1\.1 (200|400|404) /,
    ],
    ['for everything', ['GET * HTTP/1.1', 'Host: localhost'], /^HTTP\/1\.1 (200|400|404) /],
  ])('%s is answered once, and with no secret', async (_what, lines, status) => {
    const answer = await raw().request(lines)
    expect(answer).toMatch(status)
    expect(answer.match(/HTTP\/1\.1 /g)).toHaveLength(1)
    expect(answer).not.toContain('reflect-me')
    expect(answer).not.toMatch(/access-control-allow|node_modules|\.js:\d/i)
    if (!answer.startsWith('HTTP/1.1 200')) expect(answer).toContain('application/problem+json')
  })

  it('for a tunnel is not answered at all, or refused', async () => {
    const answer = await raw().request(['CONNECT evil.example:443 HTTP/1.1', 'Host: evil.example'])
    expect(answer).not.toMatch(/^HTTP\/1\.1 2/)
  })

  it('that wants another protocol is answered in this one, and ends', async () => {
    const h2c = ['Host: localhost', 'Connection: Upgrade', 'Upgrade: h2c']
    expect(await raw().request(['GET /healthz HTTP/1.1', ...h2c])).toMatch(/^HTTP\/1\.1 (200|400|404) /)
    const body = ['Content-Type: application/json', 'Content-Length: 2']
    const socket = raw()
    expect(await socket.request(['POST /auth/ticket HTTP/1.1', ...h2c, ...body], '{}')).toMatch(
      /^HTTP\/1\.1 4/,
    )
    await socket.ended
  })

  it.each([
    '/../../../../etc/passwd',
    '/%2e%2e/%2e%2e/%2e%2e/etc/passwd',
    '/..%2f..%2f..%2fetc%2fpasswd',
    '/assets/../../package.json',
    '/assets/..%5c..%5cpackage.json',
    '//etc/passwd',
    '/docs/static/../../../package.json',
    '/docs/static/%2e%2e/%2e%2e/%2e%2e/package.json',
    '/docs/static/..%2f..%2f..%2fpackage.json',
    '/docs/%252e%252e/package.json',
    '/.env',
    '/index.html%00.png',
    '/index.html/../../main.js',
    '/main.js',
    '/%c0%ae%c0%ae/package.json',
  ])('for %s gets nothing', async (path) => {
    const answer = await raw().request([`GET ${path} HTTP/1.1`, 'Host: localhost'])
    expect(answer).toMatch(/^HTTP\/1\.1 (400|403|404) /)
    expect(answer).not.toMatch(/root:|"dependencies"|import /)
  })
})

describe('a frame', () => {
  const part = (opcode: number, payload: string) => frame(opcode, payload, { fin: false })
  const reason = (code: number, text: Buffer | string = '') => {
    const head = Buffer.alloc(2)
    head.writeUInt16BE(code)
    return frame(CLOSE, Buffer.concat([head, Buffer.from(text)]))
  }

  it.each<[string, readonly Buffer[], number]>([
    ['that is not masked', [frame(TEXT, '{"type":"ping"}', { mask: false })], 1002],
    ['with the bit of compression, which nobody asked for', [frame(TEXT, 'x', { rsv: 4 })], 1002],
    ['with the second reserved bit', [frame(TEXT, 'x', { rsv: 2 })], 1002],
    ['with the third reserved bit', [frame(TEXT, 'x', { rsv: 1 })], 1002],
    ['of a reserved opcode', [frame(0x3, 'x')], 1002],
    ['of a reserved control opcode', [frame(0xb)], 1002],
    ['that goes on from nothing', [frame(CONTINUATION, 'x')], 1002],
    ['that begins within a message', [part(TEXT, 'a'), frame(TEXT, 'b')], 1002],
    ['that is a ping in parts', [part(PING, 'a')], 1002],
    ['that is a ping of 126 bytes', [frame(PING, 'x'.repeat(126))], 1002],
    ['that is a close of 1 byte', [frame(CLOSE, 'x')], 1002],
    ['that closes with 1005', [reason(1005)], 1002],
    ['that closes with 999', [reason(999)], 1002],
    ['that closes with a reason that is no UTF-8', [reason(1000, Buffer.from([0xff]))], 1007],
    ['with text that is no UTF-8', [frame(TEXT, Buffer.from([0x22, 0xc3, 0x28, 0x22]))], 1007],
    [
      'with half a character in each part',
      [part(TEXT, ''), frame(CONTINUATION, Buffer.from([0xed, 0xa0, 0x80]))],
      1007,
    ],
    ['that announces 2^63 bytes', [frame(TEXT, '', { length: 2n ** 63n })], 1009],
    ['that announces 257 KiB', [frame(TEXT, '', { length: 257n * 1_024n })], 1009],
    ['that is 17 KiB of a stranger', [frame(TEXT, 'x'.repeat(17 * 1_024))], 1009],
    [
      'in parts that make 300 KiB',
      [part(TEXT, 'x'), ...Array.from({ length: 5 }, () => part(CONTINUATION, 'x'.repeat(60_000)))],
      1009,
    ],
    [
      'in 20,000 parts of 1 byte',
      [part(TEXT, 'x'), ...Array.from({ length: 20_000 }, () => part(CONTINUATION, 'x'))],
      1008,
    ],
    [
      'in 20,000 parts of nothing',
      [part(TEXT, ''), ...Array.from({ length: 20_000 }, () => part(CONTINUATION, ''))],
      1008,
    ],
  ])('%s ends its connection with the right code', async (_what, frames, code) => {
    const socket = await raw().upgrade()
    socket.write(Buffer.concat(frames))
    expect(await socket.closeCode()).toBe(code)
  })

  it('that unpacks to 100 MB is stopped at 256 KiB, before and after it is known who is there', async () => {
    const bomb = deflateRawSync(Buffer.alloc(100 * 1_048_576, ' '), { level: 9 })
    expect(bomb.length).toBeLessThan(200_000)
    for (const headers of [[], ['X-Api-Key: test-admin-key-of-more-than-32-bytes']]) {
      const socket = await raw().upgrade(
        '/ws?compress=true',
        'Sec-WebSocket-Extensions: permessage-deflate',
        ...headers,
      )
      socket.write(frame(TEXT, bomb, { rsv: 4 }))
      expect(await socket.closeCode()).toBe(1009)
    }
  })

  it('that does not unpack ends its connection', async () => {
    const socket = await raw().upgrade('/ws?compress=true', 'Sec-WebSocket-Extensions: permessage-deflate')
    socket.write(frame(TEXT, Buffer.alloc(1_000, 0xff), { rsv: 4 }))
    expect(await socket.closeCode()).toBe(1007)
  })

  it.each([
    ['pings, whose pongs nobody reads', PING],
    ['pongs that nobody asked for', PONG],
  ])('after frame of %s is heard out, and takes no memory', async (_what, opcode) => {
    const before = residentMegabytes()
    const socket = await raw().upgrade()
    socket.socket.pause()
    const many = Buffer.concat(Array.from({ length: 1_000 }, () => frame(opcode, 'x'.repeat(125))))
    for (let sent = 0; sent < 300 && socket.socket.writable; sent++) {
      if (!socket.socket.write(many))
        await Promise.race([
          socket.ended,
          new Promise((go) => socket.socket.once('drain', go)),
          new Promise((go) => setTimeout(go, 200)),
        ])
    }
    expect(residentMegabytes() - before).toBeLessThan(100)
  })
})

it('after all of this the program holds no more than before, and logged nothing of it', () => {
  const trades = watcher.ofType('trade')
  for (let n = 1; n < trades.length; n++) expect(trades[n]!.seq).toBe((trades[n - 1]!.seq as number) + 1)
  expect(gateway.child.exitCode).toBeNull()
  expect(residentMegabytes() - memoryBefore).toBeLessThan(400)
  expect(gateway.stderr).not.toMatch(/"level":"?(error|50)/)
})
