import { readFileSync } from 'node:fs'
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { captureCommand } from '../../src/commands/capture.ts'
import { playCommand } from '../../src/commands/play.ts'
import { FAULTS } from '../../src/player/faults.ts'
import {
  capture,
  closeAll,
  hasCaptures,
  play,
  recording,
  until,
  VenueClient,
} from '../player/venue-client.ts'

afterEach(async () => {
  vi.restoreAllMocks()
  await closeAll()
})

/** What a command printed. */
function output(): { out: string; err: string } {
  const seen = { out: '', err: '' }
  for (const [name, stream] of [
    ['out', process.stdout],
    ['err', process.stderr],
  ] as const)
    vi.spyOn(stream, 'write').mockImplementation((text) => {
      seen[name] += text
      return true
    })
  return seen
}

const call = (...args: string[]) => playCommand().exitOverride().parseAsync(args, { from: 'user' })
const record = (...args: string[]) => captureCommand().exitOverride().parseAsync(args, { from: 'user' })
const FRAME = '1618678133.29: {"event":"heartbeat"}'

describe('feedgate play', () => {
  it('says first where it listens, then how many frames it played, and goes on until it is interrupted', async () => {
    const seen = output()
    const file = await recording([FRAME, 'no recorded line', '', FRAME])
    const running = call(file, '--port', '0', '--speed', 'max')
    await until(() => seen.out.includes('listening'))
    expect(seen.out).toMatch(/^listening on ws:\/\/127\.0\.0\.1:\d+\nskipped 1 lines/)
    const client = await new VenueClient(/ws:\S+/.exec(seen.out)![0]).open()
    client.send({ event: 'subscribe', pair: ['XBT/USD'], subscription: { name: 'ticker' } })
    await until(() => seen.out.includes('played'))
    expect(seen.out).toMatch(/\nplayed 2 frames\n$/)
    expect(client.closeCode).toBeUndefined()
    process.emit('SIGINT')
    await running
    await until(() => client.closeCode !== undefined)
  })

  it('prints one JSON document with --json', async () => {
    const seen = output()
    const running = call(await recording([FRAME]), '--port', '0', '--speed', 'max', '--json')
    await until(() => seen.err.includes('listening'))
    const client = await new VenueClient(/ws:\S+/.exec(seen.err)![0]).open()
    client.send({ event: 'subscribe', pair: ['XBT/USD'], subscription: { name: 'ticker' } })
    await until(() => seen.out !== '')
    expect(JSON.parse(seen.out)).toMatchObject({ frames: 1, skippedLines: 0 })
    process.emit('SIGTERM')
    await running
  })

  it.each([
    ['--port 70000', '--port is "70000": accepted is a whole number from 0 to 65535'],
    ['--port 0 --speed fast', '--speed is "fast": accepted is a number above 0, or max'],
    ['--port 0 --faults drop,rain', `unknown fault "rain": accepted are ${Object.keys(FAULTS).join(', ')}`],
    ['--port 0 --seed -1', '--seed is "-1": accepted is a whole number from 0 to 4294967295'],
  ])('refuses %s with one sentence', async (args, message) => {
    const file = await recording([FRAME])
    await expect(call(file, ...args.split(' '))).rejects.toMatchObject({ code: 'bad-request', message })
  })

  it('refuses files that are not there or hold no recording', async () => {
    await expect(call('/no/such/file', '--port', '0')).rejects.toMatchObject({
      code: 'bad-request',
      message: '/no/such/file cannot be read (ENOENT): name a file of recorded frames',
    })
    const file = await recording(['hello', 'world'])
    await expect(call(file, '--port', '0')).rejects.toMatchObject({ code: 'bad-request' })
  })

  it('fails on a taken port', async () => {
    const { player } = await play([await recording([FRAME])])
    const again = call(await recording([FRAME]), '--port', String(player.port))
    await expect(again).rejects.toMatchObject({ code: 'port-unavailable' })
  })

  it('explains every fault in its help', () => {
    let help = ''
    const command = playCommand().configureOutput({ writeOut: (text) => (help += text) })
    command.outputHelp()
    for (const [name, what] of Object.entries(FAULTS)) expect(help).toContain(`${name.padEnd(14)}${what}`)
  })
})

describe('feedgate capture', () => {
  it.skipIf(!hasCaptures)('records what a venue sends, so that it can be played again', async () => {
    const { player } = await play([capture('binance.ws.txt'), capture('binance.rest.txt')])
    const out = join(await mkdtemp(join(tmpdir(), 'feedgate-capture-')), 'new.txt')
    const seen = output()
    const running = record(
      ...['--source', 'binance', '--channel', 'orderbook,ticker', '--symbols', 'NKN/USDT,BLZ/ETH'],
      ...['--url', player.url, '--rest-url', player.url.replace('ws:', 'http:'), '--out', out, '--json'],
    )
    await player.finished
    await new Promise((tick) => setTimeout(tick, 300))
    process.emit('SIGINT')
    await running
    const lines = readFileSync(out, 'utf8').trimEnd().split('\n')
    const recorded = readFileSync(capture('binance.ws.txt'), 'utf8')
    const frames = lines.flatMap((line) => /^\d+\.\d{6}: (\{"stream".*)$/.exec(line)?.[1] ?? [])
    expect(frames).toEqual([...recorded.matchAll(/^\d+\.\d+: (.*)$/gm)].map((match) => match[1]))
    expect(lines.some((line) => /^ws:\S+ <-> \d+\.\d{6}$/.test(line))).toBe(true)
    expect(lines.some((line) => /^ws:\S+ <- \d+\.\d{6}: \{"method":"SUBSCRIBE"/.test(line))).toBe(true)
    expect(
      lines.filter((line) => /^http:\S+\/depth\S+ -> \d+\.\d{6}: \{"lastUpdateId"/.test(line)),
    ).toHaveLength(2)
    expect(lines.filter((line) => /^http:\S+\/exchangeInfo -> /.test(line))).toHaveLength(1)
    expect(JSON.parse(seen.out)).toMatchObject({ file: out, frames: frames.length + 1, answers: 3 })
    const again = await play([out])
    expect(again.player.stats().skippedLines).toBe(0)
    await expect(
      record('--source', 'binance', '--channel', 'ticker', '--symbols', 'A/B', '--out', out),
    ).rejects.toMatchObject({ code: 'bad-request' })
  })

  it.each([
    [
      '--source nasdaq --channel ticker --symbols A/B',
      /^--source is "nasdaq": accepted are binance.*, coinbase, .*kraken/,
    ],
    ['--source kraken --channel weather --symbols A/B', /^--channel is "weather": kraken has ticker/],
    ['--source kraken --channel ohlcv --symbols A/B', /^--timeframe is missing: kraken has 1m/],
    ['--source kraken --channel ticker --symbols BTC', /cannot name the symbol BTC/],
    ['--source kraken --channel orderbook --symbols A/B --limit none', /^--limit is "none"/],
  ])('refuses %s with one sentence', async (args, message) => {
    await expect(record(...args.split(' '))).rejects.toMatchObject({
      code: 'bad-request',
      message: expect.stringMatching(message),
    })
  })

  it('fails when the venue cannot be reached', async () => {
    const out = join(await mkdtemp(join(tmpdir(), 'feedgate-capture-')), 'new.txt')
    output()
    await expect(
      record(
        ...[
          '--source',
          'kraken',
          '--channel',
          'ticker',
          '--symbols',
          'A/B',
          '--url',
          'ws://127.0.0.1:1',
          '--out',
          out,
        ],
      ),
    ).rejects.toMatchObject({ code: 'venue-unavailable' })
  })
})
