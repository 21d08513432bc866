import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import type { Decoded } from '../../../src/connectors/connector.ts'
import type { Venue } from '../../../src/connectors/venue.ts'

/** Frames of the venues' shapes, one a line, and beside them what they must be decoded to, reviewed by hand. */
const FIXTURES = new URL('../../fixtures/', import.meta.url)
const VENUES = new URL('../../../src/connectors/venues/', import.meta.url)
const SYMBOLS = [
  ...['BTC/USD', 'BTC/USDT', 'ETH/USDT', 'ETH/BTC', 'BTC/EUR', 'DOGE/USD', 'MATIC/USD'],
  ...['BTC/USDT:USDT', 'ETH/USDT:USDT', 'BTC/USDC:USDC', 'BTC/USD:BTC'],
  ...['BTC/USDT:USDT-261225', 'BTC/USDC:USDC-261225', 'BTC/USD:BTC-261225'],
]

const modules = await Promise.all(
  readdirSync(VENUES)
    .filter((file) => file.endsWith('.ts'))
    .map(async (file) => {
      const { venue } = (await import(new URL(file, VENUES).href)) as { venue?: Venue }
      return { name: file.slice(0, -3), venue }
    }),
)
/** What several venues share is a file too. */
const venues = modules.filter((one): one is { name: string; venue: Venue } => one.venue !== undefined)

const ROUTES_OF_MARKETS = new Set<string | undefined>(['spot', 'linear', 'inverse'])

/** As the fixtures write it: without absent fields, and ids above 2^53 as digits and an `n`. */
function plain(updates: readonly Decoded[]): unknown {
  return JSON.parse(
    JSON.stringify(updates, (_, value) => (typeof value === 'bigint' ? `${value}n` : value)),
  ) as unknown
}

/** Answers of what is polled, all as asked for one symbol. */
const POLLED = /^polled-(\w+)\.txt$/

/** Where a venue has routes for its markets, a name is one on its route alone: the file is called as the route. */
function decoderOf(venue: Venue, file = '') {
  const polled = venue.polled?.find(({ channel }) => channel === POLLED.exec(file)?.[1])
  if (polled) {
    const symbol = SYMBOLS.find((one) => venue.venueSymbol(one) !== undefined)!
    return (body: string) => [polled.decode(body, symbol)]
  }
  const symbols = new Map<string, string>()
  for (const symbol of SYMBOLS) {
    const name = venue.venueSymbol(symbol)
    const route = venue.route?.({ channel: 'trades', symbol })
    const isOfRoute = !ROUTES_OF_MARKETS.has(route) || file.startsWith(route ?? '')
    if (name !== undefined && (isOfRoute || (file === 'malformed.txt' && route === 'spot')))
      symbols.set(name, symbol)
  }
  const decoder = venue.createDecoder({
    symbolOf: (name) => symbols.get(name),
    venueSymbols: () => symbols.keys(),
  })
  return (frame: string) => {
    const updates: Decoded[] = []
    decoder.decode(frame, (update) => updates.push(update))
    return updates
  }
}

describe.each(venues)('$name', ({ name, venue }) => {
  const folder = new URL(`${name}/`, FIXTURES)
  const files = existsSync(folder) ? readdirSync(folder).filter((file) => file.endsWith('.txt')) : []

  it('is named as its file, and has fixtures of right and of malformed frames', () => {
    expect(venue.id).toBe(name)
    expect(files.length).toBeGreaterThan(1)
    expect(files).toContain('malformed.txt')
    expect(files.filter((file) => POLLED.test(file))).toEqual(
      (venue.polled ?? []).map(({ channel }) => `polled-${channel}.txt`),
    )
  })

  it.each(files)('decodes %s as reviewed', (file) => {
    const frames = readFileSync(new URL(file, folder), 'utf8').trimEnd().split('\n')
    const reviewed = JSON.parse(readFileSync(new URL(file.replace('.txt', '.json'), folder), 'utf8'))
    const decode = decoderOf(venue, file)
    expect(frames.map((frame) => plain(decode(frame)))).toEqual(reviewed)
  })

  it.each(files.filter((file) => file !== 'malformed.txt'))(
    'decodes %s spelt with white space alike',
    (file) => {
      const decode = decoderOf(venue, file)
      const decodeSpaced = decoderOf(venue, file)
      for (const frame of readFileSync(new URL(file, folder), 'utf8').trimEnd().split('\n')) {
        const spaced = frame.replaceAll('":', '": ').replaceAll('},{', '} , {')
        expect(plain(decodeSpaced(spaced)), frame).toEqual(plain(decode(frame)))
      }
    },
  )

  it('throws at nothing, be it a megabyte of garbage', () => {
    const decode = decoderOf(venue)
    const frames = files.flatMap((file) => readFileSync(new URL(file, folder), 'utf8').trimEnd().split('\n'))
    const garbage = [
      '',
      ' ',
      '{}',
      '[]',
      'null',
      '7',
      '"',
      '[[[',
      '{"a":'.repeat(10_000),
      '['.repeat(1_000_000),
    ]
    for (const frame of [...garbage, 'x'.repeat(1_000_000), `{"e":"${'y'.repeat(1_000_000)}"}`])
      expect(decode(frame).every(({ kind }) => ['malformed', 'ignored'].includes(kind))).toBe(true)
    for (const frame of frames) {
      for (let cut = 1; cut < frame.length; cut += 7) expect(() => decode(frame.slice(0, cut))).not.toThrow()
    }
  })
})
