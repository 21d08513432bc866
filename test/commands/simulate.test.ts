import { afterEach, describe, expect, it, vi } from 'vitest'
import { simulateCommand } from '../../src/commands/simulate.ts'
import { EXCHANGE_FAULTS } from '../../src/exchange/exchange.ts'
import { until, VenueClient } from '../player/venue-client.ts'

afterEach(() => vi.restoreAllMocks())

const call = (...args: string[]) => simulateCommand().exitOverride().parseAsync(args, { from: 'user' })

describe('feedgate simulate', () => {
  it('says first where it listens, serves its markets, and lets faults happen by turns until it is interrupted', async () => {
    const seen = { out: '', err: '' }
    const keep = (name: 'out' | 'err') => (text: unknown) => {
      seen[name] += String(text)
      return true
    }
    vi.spyOn(process.stdout, 'write').mockImplementation(keep('out'))
    vi.spyOn(process.stderr, 'write').mockImplementation(keep('err'))
    const running = call(
      ...['--venue', 'kraken', '--port', '0', '--symbols', 'BTC/USD,ETH/USD', '--rate', '200'],
      ...['--faults', 'unknown-type,quiet', '--every', '0.2'],
    )
    await until(() => seen.out.includes('\n'))
    const url = /^listening on (ws:\/\/127\.0\.0\.1:\d+)\n$/.exec(seen.out)?.[1]
    const client = await new VenueClient(url!).open()
    client.send({ method: 'subscribe', params: { channel: 'trade', symbol: ['BTC/USD', 'ETH/USD'] } })
    await until(() => client.frames.some((frame) => frame.includes('"channel":"whisper"')))
    await until(() => seen.err.includes('fault quiet: '))
    process.emit('SIGINT')
    await running
    await until(() => client.closeCode !== undefined)
    expect(seen.err).toContain('fault unknown-type: ')
  })

  it.each([
    ['--venue nasdaq --port 0', /^venue is "nasdaq": accepted are binance/],
    ['--venue kraken --port 70000', /^--port is "70000"/],
    ['--venue kraken --port 0 --rate 0', /^--rate is "0": accepted is a number above 0/],
    ['--venue kraken --port 0 --symbols BTC', /cannot have the symbol "BTC"/],
    ['--venue kraken --port 0 --faults gremlins', /^unknown fault "gremlins": accepted are/],
  ])('refuses %s with one sentence', async (args, message) => {
    await expect(call(...args.split(' '))).rejects.toMatchObject({ message: expect.stringMatching(message) })
  })

  it('explains every fault in its help', () => {
    let help = ''
    simulateCommand()
      .configureOutput({
        writeOut: (text) => {
          help += text
        },
      })
      .outputHelp()
    for (const [name, what] of Object.entries(EXCHANGE_FAULTS))
      expect(help).toContain(`${name.padEnd(14)}${what}`)
  })
})
