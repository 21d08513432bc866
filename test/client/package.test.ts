import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, readFile, symlink, writeFile } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { chromium } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  createKey,
  type Gateway,
  preparedFolder,
  ROOT,
  startGateway,
  temporaryFolder,
} from '../whole/program.ts'

const execute = promisify(execFile)
const BROWSERS = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome']
const executablePath = BROWSERS.find((path) => existsSync(path))
const reason = executablePath ? '' : ` (skipped: none of ${BROWSERS.join(', ')} is installed)`

/** Of somebody who installed what `npm pack` makes: nothing of this repository but `ws`, which Node 20 needs. */
let folder: string
let gateway: Gateway
let apiKey: string
const packed: string[] = []

beforeAll(async () => {
  folder = await temporaryFolder()
  const { stdout } = await execute('npm', ['pack', '--json', '--pack-destination', folder], {
    cwd: join(ROOT, 'client'),
  })
  const [{ filename, files }] = JSON.parse(stdout) as [{ filename: string; files: { path: string }[] }]
  packed.push(...files.map(({ path }) => path))
  const installed = join(folder, 'node_modules/@feedgate/client')
  await mkdir(installed, { recursive: true })
  await execute('tar', ['-xzf', join(folder, filename), '--strip-components=1', '-C', installed])
  await symlink(join(ROOT, 'node_modules/ws'), join(folder, 'node_modules/ws'))
  await writeFile(join(folder, 'package.json'), '{"type":"module"}')
  gateway = await startGateway({ dataDir: await preparedFolder() })
  apiKey = await createKey(gateway, 'premium')
}, 60_000)
afterAll(() => gateway?.end())

it('has its code, its types, a README and a licence, and nothing else', () => {
  expect(packed).toEqual(expect.arrayContaining(['dist/index.js', 'dist/index.d.ts', 'README.md', 'LICENSE']))
  expect(
    packed.filter((path) => !/^(dist\/[\w-]+\.(js|d\.ts)|README\.md|LICENSE|package\.json)$/.test(path)),
  ).toEqual([])
})

it('is used from plain Node', async () => {
  const program = `
    import { FeedgateClient } from '@feedgate/client'
    import { WebSocket } from 'ws'
    const client = new FeedgateClient({ url: ${JSON.stringify(gateway.url)}, WebSocket })
    for await (const item of client.subscribe({ channel: 'ticker', symbols: ['BTC/USDT'] })) {
      console.log(item.type, item.symbol, item.last)
      break
    }
    client.close()`
  await writeFile(join(folder, 'program.js'), program)
  const { stdout } = await execute(process.execPath, ['program.js'], { cwd: folder, timeout: 20_000 })
  expect(stdout).toMatch(/^ticker BTC\/USDT \d+\.\d+$/m)
})

const TYPED = `
  import { FeedgateClient, type Notice, type StreamItem } from '@feedgate/client'
  const client = new FeedgateClient({ url: 'http://localhost:8080' })
  for await (const item of client.subscribe({ channel: 'ticker', symbols: ['*'] }))
    if (item.type === 'ticker') item.last satisfies string | undefined
    else item.type satisfies 'gap' | 'hole' | 'resync' | 'unrecovered'
  client.subscribe({ channel: 'trades', symbols: ['*'], from: 0 }, (item) => {
    if (item.type === 'trade') [item.price, item.size, item.side] satisfies [string, string, 'buy' | 'sell' | 'unknown']
  })
  client.book({ source: 'a', symbol: 'b', depth: 25 }).bestBid satisfies readonly [string, string] | undefined
  client.on('notice', (notice: Notice) => notice.type)
  export type Candles = StreamItem<'ohlcv'>
  // @ts-expect-error there is no such channel
  client.subscribe({ channel: 'tickers', symbols: ['*'] })
  // @ts-expect-error a book has a source
  client.book({ symbol: 'b' })`

it.each([
  ['node16', 'node16'],
  ['bundler', 'esnext'],
])(
  'has types where modules are resolved as %s',
  async (moduleResolution, module) => {
    await writeFile(join(folder, 'typed.ts'), TYPED)
    const options = ['--noEmit', '--strict', '--target', 'es2022', '--lib', 'es2022,dom', '--types', '']
    const args = [...options, '--module', module, '--moduleResolution', moduleResolution, 'typed.ts']
    const { stdout } = await execute(join(ROOT, 'node_modules/.bin/tsc'), args, { cwd: folder }).catch(
      (error: { stdout: string }) => error,
    )
    expect(stdout).toBe('')
  },
  60_000,
)

describe.skipIf(!executablePath)(`in a browser${reason}`, () => {
  let server: Server
  afterAll(() => server?.close())

  it('is loaded by <script type=module> as it was packed', async () => {
    const response = await fetch(`${gateway.url}/auth/ticket`, {
      method: 'POST',
      headers: { 'x-api-key': apiKey },
    })
    const { ticket } = (await response.json()) as { ticket: string }
    const page = `<!doctype html><title>prices</title><output></output><script type="module">
      import { FeedgateClient } from './node_modules/@feedgate/client/dist/index.js'
      const client = new FeedgateClient({ url: '${gateway.url}', ticket: () => '${ticket}' })
      for await (const item of client.subscribe({ channel: 'ticker', symbols: ['BTC/USDT'] }))
        document.querySelector('output').textContent = item.symbol + ' ' + item.last
    </script>`
    server = createServer(async (request, answer) => {
      const isPage = request.url === '/'
      answer.setHeader('content-type', isPage ? 'text/html' : 'text/javascript')
      answer.end(isPage ? page : await readFile(join(folder, request.url!)).catch(() => ''))
    })
    await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
    const browser = await chromium.launch({
      executablePath: executablePath as string,
      args: ['--no-sandbox'],
    })
    try {
      const tab = await browser.newPage()
      const errors: string[] = []
      tab.on('pageerror', (error) => errors.push(error.message))
      await tab.goto(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`)
      await tab.getByText(/^BTC\/USDT \d+\.\d+$/).waitFor({ timeout: 20_000 })
      expect(errors).toEqual([])
    } finally {
      await browser.close()
    }
  }, 60_000)
})
