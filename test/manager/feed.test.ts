import { describe, expect, it } from 'vitest'
import type { Connector, DecodedEvent, Link, Subscription } from '../../src/connectors/connector.ts'
import { venueConnector } from '../../src/connectors/venue-connector.ts'
import { venue as okx } from '../../src/connectors/venues/okx.ts'
import { Feed } from '../../src/manager/feed.ts'
import { PATIENCE } from '../../src/manager/patience.ts'
import type { TopicWriter, Writers } from '../../src/manager/topic-writer.ts'

const WANTED: Subscription = { channel: 'funding', symbol: 'BTC/USDT:USDT' }
const RATE: DecodedEvent = { kind: 'event', ...WANTED, payload: { type: 'funding', rate: '0.0001' } }

/** A feed of OKX, what it asks of its link, and what its topic would get. */
function feedOf(connector: Connector) {
  const asked: string[] = []
  const written: unknown[] = []
  const writer = {
    epoch: null,
    topic: { class: 'state' },
    write: (payload: unknown) => void written.push(payload),
  } as unknown as TopicWriter
  const link: Link = {
    subscribe: () => void asked.push('subscribe'),
    unsubscribe: () => void asked.push('unsubscribe'),
    pause: () => {},
    resume: () => {},
    close: () => {},
  }
  const feed = new Feed(WANTED, {
    patience: PATIENCE,
    source: 'okx',
    connector,
    options: { source: 'okx' },
    writers: { of: () => writer } as unknown as Writers,
    positions: { load: async () => {}, last: () => undefined, stored: () => {}, close: () => {} },
    now: () => 1,
    unknownSymbol: () => {},
  })
  feed.ask(link)
  return { feed, asked, written }
}

describe('a subscription of which the venue says something at least so often', () => {
  it('is asked for again when it says nothing for longer, and only then', () => {
    const { feed, asked, written } = feedOf(venueConnector(okx))
    feed.received(RATE, 1, 'current')
    expect(written).toHaveLength(1)
    const heard = performance.now()
    expect(feed.sweep(heard + 149_000)).toBe(false)
    expect(asked).toEqual([])
    expect(feed.sweep(heard + 151_000)).toBe(true)
    expect(asked).toEqual(['unsubscribe', 'subscribe'])
    // The answer to that is waited for as for any.
    expect(feed.sweep(heard + 152_000)).toBe(false)
  })

  it('may be silent for ever where the venue promises nothing', () => {
    const { feed, asked } = feedOf({ ...venueConnector(okx), quietMs: () => undefined })
    feed.received(RATE, 1, 'current')
    expect(feed.sweep(performance.now() + 9_000_000)).toBe(false)
    expect(asked).toEqual([])
  })
})
