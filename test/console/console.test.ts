import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync, statSync, utimesSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { type Browser, type BrowserContextOptions, chromium, type Page } from 'playwright-core'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'

const BROWSERS = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome']
const executablePath = BROWSERS.find((path) => existsSync(path))
const reason = executablePath ? '' : ` (skipped: none of ${BROWSERS.join(', ')} is installed)`

const dataDir = mkdtempSync(join(tmpdir(), 'feedgate-console-'))
let gateway: ChildProcess
let url = ''
let premiumKey = ''
let browser: Browser
let page: Page

const build = () => execFileSync(process.execPath, ['scripts/build-console.mjs'], { encoding: 'utf8' })
const made = () => statSync('dist/console/index.html').mtimeMs

it('bundles the console again only when a source is newer, and says nothing', () => {
  build()
  const first = made()
  expect(build()).toBe('')
  expect(made()).toBe(first)
  const now = new Date()
  utimesSync('console/main.ts', now, now)
  expect(build()).toBe('')
  expect(made()).toBeGreaterThan(first)
})

describe.skipIf(!executablePath)(
  `the console in a browser, on the running program${reason}`,
  { timeout: 60_000 },
  () => {
    beforeAll(async () => {
      gateway = spawn(process.execPath, ['dist/main.js', 'start'], {
        env: { PATH: process.env.PATH, PORT: '0', DATA_DIR: dataDir, LOG_LEVEL: 'warn' },
        stdio: ['ignore', 'pipe', 'inherit'],
      })
      const ready = greeting(gateway)
      browser = await chromium.launch({ executablePath: executablePath as string, args: ['--no-sandbox'] })
      ;({ url, premiumKey } = await ready)
    }, 60_000)

    afterEach(() => page?.context().close())

    afterAll(async () => {
      await browser?.close()
      gateway?.kill('SIGTERM')
      await new Promise((resolve) =>
        gateway?.exitCode === null ? gateway.once('exit', resolve) : resolve(0),
      )
      rmSync(dataDir, { recursive: true, force: true })
    })

    it('shows connected sources, moving prices, candles, a book and odds, and talks to its own host only', async () => {
      const { errors, hosts } = await open()
      await page.waitForSelector('#link[data-state="live"]')
      await page.waitForFunction(() => {
        const cards = [...document.querySelectorAll<HTMLElement>('#sources .card')]
        return cards.length === 4 && cards.every((card) => card.dataset.state === 'connected')
      })
      const last = page.locator('tr[data-symbol="BTC/USDT"] td.strong')
      const before = await last.textContent()
      expect(before).toMatch(/^\d+\.\d\d$/)
      await page.waitForFunction(
        (text) => document.querySelector('tr[data-symbol="BTC/USDT"] td.strong')?.textContent !== text,
        before,
      )
      await page.waitForFunction(() => Number(document.getElementById('chart')?.dataset.candles) > 0)
      expect(await page.locator('#chart canvas').count()).toBeGreaterThan(0)
      expect(await page.locator('#chart').getAttribute('aria-label')).toMatch(/BTC\/USDT, \w+: \d+ candles/)
      await page.waitForSelector('#book[data-levels="20"]')
      // Both sides in one look: the book moves between two.
      const ladder = page.locator('#asks td:nth-child(2), #bids td:nth-child(2)')
      const prices = (await ladder.allTextContents()).map(Number)
      expect(prices).toHaveLength(20)
      expect(prices).toEqual(prices.toSorted((a, b) => b - a))
      await page.waitForFunction(() => document.querySelectorAll('.market .odd').length >= 5)
      for (const odd of await page.locator('.market .odd').allTextContents())
        expect(odd).toMatch(/^\d+\.\d\d$/)
      await page.waitForFunction(() => Number(document.getElementById('rate')?.textContent) > 50)
      expect(errors).toEqual([])
      expect([...hosts]).toEqual([new URL(url).host])
    })

    it('follows the keyboard to another symbol, timeframe and match', async () => {
      const { errors } = await open()
      await page.getByRole('button', { name: 'Show ETH/USDT of demo-crypto' }).press('Enter')
      await page.waitForFunction(() => document.getElementById('chart-title')?.textContent === 'ETH/USDT')
      await page.getByRole('button', { name: '1s', exact: true }).press('Enter')
      await page.waitForFunction(() => Number(document.getElementById('chart')?.dataset.candles) >= 2)
      expect(await page.locator('#chart').getAttribute('aria-label')).toContain('ETH/USDT, 1s')
      await page.getByLabel('Match').selectOption('MATCH_002')
      await page.waitForFunction(() =>
        document.getElementById('odds-note')?.textContent?.startsWith('MATCH_002'),
      )
      await page.getByLabel('Filter prices by symbol or source').fill('eur')
      await page.waitForFunction(() => document.querySelectorAll('#price-rows tr').length === 1)
      expect(errors).toEqual([])
    })

    it('is dark when the system is, light when told so, and remembers it', async () => {
      await open({ colorScheme: 'dark' })
      expect(await brightness()).toBeLessThan(60)
      await page.getByRole('button', { name: 'Dark' }).click()
      expect(await brightness()).toBeGreaterThan(200)
      await page.reload()
      expect(await brightness()).toBeGreaterThan(200)
      expect(await page.getByRole('button', { name: 'Dark' }).getAttribute('aria-pressed')).toBe('false')
    })

    it('fits a phone without scrolling sideways', async () => {
      await open({ viewport: { width: 360, height: 740 } })
      await page.waitForSelector('#book[data-levels="20"]')
      expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBe(360)
    })

    it('comes back by itself, with its subscriptions, when the connection is lost', async () => {
      let connections = 0
      await open({}, async () => {
        await page.routeWebSocket(/\/ws$/, (client) => {
          client.connectToServer()
          if (++connections === 1) setTimeout(() => void client.close({ code: 4100 }), 1_500)
        })
      })
      await expect.poll(() => connections, { timeout: 30_000 }).toBe(2)
      await page.waitForSelector('#link[data-state="live"]')
      await page.waitForFunction(() => Number(document.getElementById('rate')?.textContent) > 50)
      await page.waitForSelector('#book[data-levels="20"]')
    })

    it('renews its token on the live connection before it ends', async () => {
      let tokens = 0
      let connections = 0
      await open({}, async () => {
        await page.route('**/console/token', async (route) => {
          tokens++
          const { accessToken } = (await (await route.fetch()).json()) as { accessToken: string }
          await route.fulfill({ json: { accessToken, expiresIn: 2 } })
        })
        page.on('websocket', () => connections++)
      })
      await expect.poll(() => tokens, { timeout: 30_000 }).toBeGreaterThan(3)
      await page.waitForFunction(() => Number(document.getElementById('rate')?.textContent) > 50)
      expect(await page.locator('#link').getAttribute('data-state')).toBe('live')
      expect(connections).toBe(1)
    })

    it('asks for an API key where the gateway gives no token, and tells when the key is refused', async () => {
      await open({}, async () => {
        await page.route('**/console/token', (route) =>
          route.fulfill({ status: 404, json: { title: 'Not found' } }),
        )
      })
      const key = page.getByLabel('API key')
      await key.fill(`fg_premium_${'x'.repeat(32)}`)
      await key.press('Enter')
      await page.waitForFunction(() => document.getElementById('sign-in-error')?.textContent !== '')
      expect(await page.locator('#link').getAttribute('data-state')).toBe('signed-out')
      await key.fill(premiumKey)
      await key.press('Enter')
      await page.waitForSelector('#link[data-state="live"]')
      await page.waitForFunction(() => document.querySelectorAll('#price-rows tr').length > 5)
      expect(await page.evaluate(() => JSON.stringify({ ...localStorage, ...sessionStorage }))).not.toContain(
        'fg_',
      )
    })
  },
)

/** A page of its own in a fresh profile; what it complained about and whom it asked. */
async function open(options: BrowserContextOptions = {}, prepare?: () => Promise<void>) {
  const errors: string[] = []
  const hosts = new Set<string>()
  page = await (await browser.newContext(options)).newPage()
  page.on('console', (message) => {
    if (message.type() === 'error' || message.type() === 'warning') errors.push(message.text())
  })
  page.on('pageerror', (error) => errors.push(error.message))
  page.on('request', (request) => {
    if (!request.url().startsWith('data:')) hosts.add(new URL(request.url()).host)
  })
  page.on('websocket', (socket) => hosts.add(new URL(socket.url()).host))
  await prepare?.()
  await page.goto(url)
  return { errors, hosts }
}

/** Of the page's background, 0 to 255. */
function brightness(): Promise<number> {
  return page.evaluate(() => {
    const [r = 0, g = 0, b = 0] = (getComputedStyle(document.body).backgroundColor.match(/\d+/g) ?? []).map(
      Number,
    )
    return (r + g + b) / 3
  })
}

/** The URL, which the first line holds, and the premium key among the lines after it. */
async function greeting(program: ChildProcess): Promise<{ url: string; premiumKey: string }> {
  let found = ''
  for await (const line of createInterface({ input: program.stdout as NodeJS.ReadableStream })) {
    found ||= line.match(/http:\/\/[^\s/]+/)?.[0] ?? ''
    const key = line.match(/fg_premium_[A-Za-z0-9]+/)?.[0]
    if (found && key) {
      program.stdout?.resume()
      return { url: found, premiumKey: key }
    }
  }
  throw new Error('the program ended before it was ready')
}
