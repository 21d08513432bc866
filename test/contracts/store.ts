import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { encodeEvent } from '../../src/market/encode.ts'
import type { EncodedEvent } from '../../src/market/encoded-event.ts'
import type { BookPayload, Level, Payload, Trade } from '../../src/market/event.ts'
import { OrderBook } from '../../src/market/order-book.ts'
import { type Topic, topicOf } from '../../src/market/topic.ts'
import { signals } from '../../src/signals.ts'
import type { HistoryQuery, LatestQuery, Store, StoredCandle, StoredEvent } from '../../src/store/store.ts'
import {
  book,
  candle,
  freshTopic,
  gap,
  positionOf,
  price,
  START,
  series,
  status,
  trade,
  tradesOf,
} from './events.ts'

const MINUTE = 60_000_000

/** What every store does. `open` gives one that is empty; it is used by all the tests, each with topics of its own. */
export function describeStore(name: string, open: () => Promise<Store>): void {
  describe(`store ${name}`, () => {
    let store: Store

    beforeAll(async () => {
      store = await open()
      await store.ready()
    }, 60_000)
    afterAll(() => store?.close())

    const record = (events: readonly EncodedEvent[]) => store.record({ events, deadLetters: [] })

    async function allPages(query: Omit<HistoryQuery, 'cursor'>): Promise<StoredEvent[]> {
      const items: StoredEvent[] = []
      let cursor: string | null = null
      do {
        const page = await store.history({ ...query, ...(cursor === null ? {} : { cursor }) })
        expect(page.items.length).toBeLessThanOrEqual(query.limit)
        items.push(...page.items)
        cursor = page.next
      } while (cursor !== null)
      return items
    }

    async function count(table: string, topic: string): Promise<number> {
      const { rows } = await store.sql.query<{ n: number }>(
        `select count(*)::integer as n from ${table} e join topics t on t.id = e.topic_id where t.name = $1`,
        [topic],
      )
      return rows[0]!.n
    }

    describe('recording', () => {
      it('gives back every kind of event byte for byte', async () => {
        const topics: [Topic, Payload][] = [
          [freshTopic('ticker'), { type: 'ticker', bid: '0.00000100', askSize: '12345678901234567890.10' }],
          [freshTopic('trades'), trade('t"\\1\u00e9\u{1F600}', '-37.63', '5.100')],
          [freshTopic('orderbook'), book('snapshot', [['1.0', '2.00']], [['1.10', '3']], 25)],
          [freshTopic('ohlcv', '1m'), candle('1m', START, { trades: 3, quoteVolume: '1.50' })],
          [topicOf('venue', 'odds', 'MATCH_B'), price('HOME', '1.850')],
          [topicOf('venue', 'status', 'demo/CONV_001'), status('demo', 'CONV_001')],
          [
            topicOf('venue', 'source', 'venue'),
            { type: 'source', state: 'connected', reason: 'open', attempt: 0 },
          ],
          [freshTopic('funding'), { type: 'funding', rate: '0.0001', markPrice: '1.0' }],
          [freshTopic('ticker'), gap('ticker')],
        ]
        const events = topics.map(([topic, payload]) => series(topic)(payload))
        await record(events)
        for (const event of events) {
          const { channel, source, subject } = event.topic
          const { items } = await store.history({ channel, source, subject, limit: 10 })
          expect(items).toEqual([
            {
              topic: event.topic,
              epoch: event.epoch,
              seq: event.seq,
              receivedTime: event.receivedTime,
              body: event.bytes.toString(),
            },
          ])
        }
      })

      it('gives back trades and tickers byte for byte, in the usual shape or not, with their numbers beside', async () => {
        const digits = (min: number, max: number) =>
          fc.string({ unit: fc.constantFrom(...'0123456789'), minLength: min, maxLength: max })
        const decimal = fc
          .tuple(fc.constantFrom('', '-'), digits(1, 25), fc.option(digits(1, 20)))
          .map(([sign, whole, rest]) => `${sign}${whole}${rest === null ? '' : `.${rest}`}`)
        const id = fc.option(fc.string({ unit: 'grapheme', minLength: 1, maxLength: 12 }), { nil: undefined })
        const trades = fc.record({
          type: fc.constant('trade' as const),
          id: id.filter((text) => !text?.includes('\0')),
          price: decimal,
          size: decimal,
          side: fc.constantFrom('buy' as const, 'sell' as const, 'unknown' as const),
        })
        const fields = ['bid', 'bidSize', 'ask', 'askSize', 'last', 'open', 'high', 'low', 'volume'] as const
        const tickers = fc.record(
          {
            type: fc.constant('ticker' as const),
            ...Object.fromEntries(fields.map((field) => [field, decimal])),
          },
          { requiredKeys: ['type'] },
        )
        const envelopes = fc.record({
          late: fc.constantFrom(-1, 0, 1, 3_000_000_000),
          published: fc.constantFrom(0, 7, -5, 5_000_000_000),
          flags: fc.constantFrom(undefined, [], ['simulated'], ['backfilled', 'simulated']),
          venueSeq: fc.constantFrom(undefined, [1, 2], [0, 9_007_199_254_740_993n]),
          prevSeq: fc.constantFrom(undefined, undefined, undefined, 4),
        })
        const samples = fc.sample(fc.tuple(fc.oneof(trades, tickers), envelopes), { numRuns: 600, seed: 5 })
        const ticker = freshTopic('ticker')
        const trading = freshTopic('trades')
        const events = samples.map(([payload, { late, published, ...rest }], i) => {
          const receivedTime = START + i * 10
          const envelope = {
            ...{ epoch: START, seq: i + 1, receivedTime, publishedTime: receivedTime + published },
            ...(late === 0 ? {} : { sourceTime: receivedTime - late }),
            ...Object.fromEntries(Object.entries(rest).filter(([, value]) => value !== undefined)),
          }
          const topic = payload.type === 'trade' ? trading : ticker
          return encodeEvent(topic, envelope, payload as Payload)
        })
        await record(events)
        for (const topic of [ticker, trading]) {
          const { items } = await store.history({
            channel: topic.channel,
            subject: topic.subject,
            limit: 1_000,
          })
          const expected = events.filter((event) => event.topic === topic)
          expect(items.map((event) => event.body)).toEqual(expected.map((event) => event.bytes.toString()))
        }
        const { rows } = await store.sql.query<{ price: string; id: string | null; compact: boolean }>(
          'select price::text, trade_id as id, body is null as compact from events_trade e join topics t on t.id = topic_id where name = $1 order by seq',
          [trading.id],
        )
        const sent = events.filter((event) => event.topic === trading).map((event) => event.payload as Trade)
        expect(rows.map((row) => row.id ?? undefined)).toEqual(sent.map((one) => one.id))
        expect(rows.filter((row) => row.compact).length).toBeGreaterThan(rows.length / 20)
        // As numeric prints it: no needless zeros in front, no negative zero.
        const printed = (text: string) => {
          const plain = text.replace(/^(-?)0+(?=\d)/, '$1')
          return /[1-9]/.test(plain) ? plain : plain.replace('-', '')
        }
        expect(rows.map((row) => row.price)).toEqual(sent.map((one) => printed(one.price)))
      })

      it('stores an event once, however often and in whatever company it comes', async () => {
        const events = [...tradesOf(freshTopic('trades'), 50), ...tradesOf(freshTopic('ticker'), 50)]
        await record(events.slice(0, 60))
        await record(events)
        await record([...events, ...events].reverse())
        expect(await count('events_trade', events[0]!.topic.id)).toBe(50)
        expect(await count('events_ticker', events[99]!.topic.id)).toBe(50)
      })

      it('stores all of a batch or nothing of it', async () => {
        const good = tradesOf(freshTopic('trades'), 10)
        const bad = series(freshTopic('ticker'))({ type: 'ticker', bid: 'no number' })
        await expect(record([...good, bad])).rejects.toMatchObject({ code: '22P02' })
        expect(await count('events_trade', good[0]!.topic.id)).toBe(0)
        await record(good)
        expect(await count('events_trade', good[0]!.topic.id)).toBe(10)
      })

      it('stores where the bus goes on together with the rows', async () => {
        const events = tradesOf(freshTopic('trades'), 1)
        const bad = series(freshTopic('ticker'))({ type: 'ticker', bid: 'no number' })
        const stand = () => store.offsets('recorder', ['md.trade/0', 'md.trade/1'])
        const at = (from: string, to: string) => new Map([['md.trade/0', { from, to }]])
        await store.record({ events, deadLetters: [], offsets: at('16', '17') })
        await expect(
          store.record({ events: [bad], deadLetters: [], offsets: at('17', '18') }),
        ).rejects.toMatchObject({ code: '22P02' })
        expect(await stand()).toEqual(new Map([['md.trade/0', '17']]))
        await store.record({ events: [], deadLetters: [], offsets: at('17', '19') })
        expect(await stand()).toEqual(new Map([['md.trade/0', '19']]))
        expect(await store.offsets('relay', ['md.trade/0'])).toEqual(new Map())
      })

      it('refuses, whole, a batch that begins where its partition does not stand: another recorder has it', async () => {
        const batch = (topic: string, ...ranges: [string, string, string][]) => ({
          events: tradesOf(topicOf('fenced', 'trades', topic), 5),
          deadLetters: [],
          offsets: new Map(ranges.map(([partition, from, to]) => [partition, { from, to }])),
        })
        await store.record(batch('A', ['md.book/0', '0', '10'], ['md.book/1', '5', '7']))
        for (const [from, to] of [
          ['0', '5'],
          ['9', '11'],
          ['11', '12'],
        ] as const)
          await expect(
            store.record(batch('B', ['md.book/1', '7', '8'], ['md.book/0', from, to])),
          ).rejects.toMatchObject({ code: 'fenced' })
        expect(await count('events_trade', 'fenced|trades|B')).toBe(0)
        expect(await store.offsets('recorder', ['md.book/0', 'md.book/1'])).toEqual(
          new Map([
            ['md.book/0', '10'],
            ['md.book/1', '7'],
          ]),
        )
        // Committed, and the answer lost: the recorder tries again.
        await store.record(batch('A', ['md.book/0', '0', '10']))
        expect(await count('events_trade', 'fenced|trades|A')).toBe(5)
      })

      it('lets one of two recorders with the same partition win', async () => {
        const outcomes = await Promise.allSettled(
          ['one', 'two', 'three', 'four'].map((who, i) =>
            store.record({
              events: tradesOf(topicOf('race', 'trades', who), 100),
              deadLetters: [],
              offsets: new Map([['md.race/0', { from: '0', to: String(i + 1) }]]),
            }),
          ),
        )
        const won = outcomes.findIndex(({ status }) => status === 'fulfilled')
        expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
        expect(await store.offsets('recorder', ['md.race/0'])).toEqual(new Map([['md.race/0', `${won + 1}`]]))
        const stored = await store.history({ channel: 'trades', source: 'race', limit: 1_000 })
        expect(stored.items).toHaveLength(100)
      })

      it('leaves out what an owner says that was replaced, and tells of it', async () => {
        const topic = freshTopic('trades')
        const old = series(topic, START)
        const next = series(topic, START + 10)
        const other = series(freshTopic('trades'), START)
        const fenced: unknown[] = []
        const off = signals.eventFenced.on((fact) => fenced.push(fact))
        const before = old(trade('1'))
        const after = next(trade('2'), { receivedTime: START + 100 })
        const late = [old(trade('3'), { receivedTime: START + 200 }), old(trade('4'))]
        await record([before])
        await record([after, late[0]!, other(trade('1'))])
        await record([late[1]!, next(trade('5'), { receivedTime: START + 300 })])
        off()
        expect(fenced).toEqual([
          { source: 'venue', channel: 'trades' },
          { source: 'venue', channel: 'trades' },
        ])
        const { items } = await store.history({ channel: 'trades', subject: topic.subject, limit: 10 })
        expect(items.map(({ epoch, seq }) => [epoch - START, seq])).toEqual([
          [0, 1],
          [10, 1],
          [10, 2],
        ])
      })

      it('keeps dead letters with their bytes and reason', async () => {
        const bytes = Buffer.from([0, 1, 255, 34, 92])
        await store.record({
          events: [],
          deadLetters: [
            {
              source: 'venue',
              channel: 'trades',
              receivedTime: START,
              reason: 'price is no number: \0"',
              bytes,
            },
          ],
        })
        const { rows } = await store.sql.query<{ bytes: Uint8Array; reason: string; subject: string | null }>(
          "select bytes, reason, subject from dead_letters where source = 'venue'",
        )
        expect(rows).toHaveLength(1)
        expect(Buffer.from(rows[0]!.bytes).equals(bytes)).toBe(true)
        expect(rows[0]).toMatchObject({ reason: 'price is no number: \uFFFD"', subject: null })
      })

      it('shows people who use SQL the names, the numbers and the µs', async () => {
        const next = series(freshTopic('trades'))
        const event = next(trade('7', '60000.10', '0.0010'), {
          receivedTime: START + 123_457,
          sourceTime: START + 1,
        })
        await record([event])
        const { rows } = await store.sql.query<Record<string, unknown>>(
          `select source, symbol, time::text, received_time::text, price, size, side, id from trades
           where symbol = $1`,
          [event.topic.subject],
        )
        expect(rows).toEqual([
          {
            source: 'venue',
            symbol: event.topic.subject,
            side: 'buy',
            id: '7',
            price: '60000.10',
            size: '0.0010',
            time: '2024-01-01 00:00:00.000001+00',
            received_time: '2024-01-01 00:00:00.123457+00',
          },
        ])
        for (const view of [
          'tickers',
          'candles',
          'order_book_events',
          'odds_prices',
          'odds_markets',
          'known_gaps',
        ])
          await store.sql.query(`select * from ${view} limit 1`)
        for (const view of ['message_statuses', 'source_states'])
          await store.sql.query(`select * from ${view} limit 1`)
      })
    })

    describe('history', () => {
      it('pages through events of the same time in different topics, none lost and none double', async () => {
        const source = 'paging'
        const events = ['A', 'B', 'C'].flatMap((symbol) => {
          const next = series(topicOf(source, 'trades', `${symbol}/USDT`))
          return Array.from({ length: 40 }, (_, i) =>
            next(trade(`${i}`), { receivedTime: START + 10 * (i >> 1) + (i & 1) }),
          )
        })
        // Recorded in another order than read, and the topics named in another order than first met.
        await record(events.toReversed())
        const expected = events
          .toSorted(
            (a, b) => a.receivedTime - b.receivedTime || (a.topic.id < b.topic.id ? -1 : 1) || a.seq - b.seq,
          )
          .map(positionOf)
        for (const limit of [1, 7, 120, 1_000]) {
          const read = await allPages({ channel: 'trades', source, limit })
          expect(read.map(positionOf)).toEqual(expected)
        }
      })

      it('takes `from` and leaves `to` out, to the µs', async () => {
        const events = tradesOf(freshTopic('trades'), 10)
        await record(events)
        const read = await allPages({
          channel: 'trades',
          subject: events[0]!.topic.subject,
          limit: 3,
          from: events[2]!.receivedTime,
          to: events[7]!.receivedTime,
        })
        expect(read.map((event) => event.seq)).toEqual([3, 4, 5, 6, 7])
      })

      it('keeps to the sources, the timeframe and the tenant that are asked for', async () => {
        const one = topicOf('alpha', 'ohlcv', 'ETH/USDT', '1m')
        const two = topicOf('alpha', 'ohlcv', 'ETH/USDT', '5m')
        const three = topicOf('beta', 'ohlcv', 'ETH/USDT', '1m')
        const ours = topicOf('alpha', 'status', 'ours/CONV_T')
        const theirs = topicOf('alpha', 'status', 'theirs/CONV_T')
        await record([
          ...[one, two, three].map((topic) => series(topic)(candle(topic.timeframe!, START))),
          series(ours)(status('ours', 'CONV_T')),
          series(theirs)(status('theirs', 'CONV_T')),
        ])
        const found = async (query: Omit<HistoryQuery, 'limit'>) =>
          (await allPages({ ...query, limit: 10 })).map((event) => event.topic)
        expect(await found({ channel: 'ohlcv', subject: 'ETH/USDT', timeframe: '1m' })).toEqual([one, three])
        expect(await found({ channel: 'ohlcv', subject: 'ETH/USDT', sources: ['beta'] })).toEqual([three])
        expect(await found({ channel: 'ohlcv', subject: 'ETH/USDT', sources: [] })).toEqual([])
        expect(await found({ channel: 'status', subject: 'CONV_T', tenant: 'ours' })).toEqual([ours])
        expect(await found({ channel: 'status', subject: 'theirs/CONV_T', tenant: 'ours' })).toEqual([])
        expect(await found({ channel: 'status', subject: 'CONV_T' })).toEqual([ours, theirs])
        expect(await found({ channel: 'ticker', subject: 'NO/SUCH' })).toEqual([])
      })

      it('refuses a cursor that no page gave', async () => {
        const forged = [
          [1, 'x', 1],
          [1, 2, 3, 4],
          [-1, 'a', 1, 1],
          [1e20, 'a', 1, 1],
          [1, 'a\0', 1, 1],
          {},
          null,
        ]
        const cursors = [
          '',
          '%',
          'abc',
          ...forged.map((one) => Buffer.from(JSON.stringify(one)).toString('base64url')),
        ]
        for (const cursor of cursors)
          await expect(store.history({ channel: 'trades', limit: 1, cursor })).rejects.toMatchObject({
            code: 'bad-request',
          })
      })
    })

    describe('candles', () => {
      async function allCandles(
        subject: string,
        timeframe: string,
        more: { from?: number; to?: number } = {},
      ) {
        const items: StoredCandle[] = []
        let cursor: string | null = null
        do {
          const query = { source: 'venue', subject, timeframe, limit: 7, ...more }
          const page = await store.candles({ ...query, ...(cursor === null ? {} : { cursor }) })
          expect(page.items.length).toBeLessThanOrEqual(7)
          items.push(...page.items)
          cursor = page.next
        } while (cursor !== null)
        return items
      }

      it('are what the trades say, by their own time, whatever order they came in', async () => {
        const next = series(freshTopic('trades'))
        // A fixed sequence: pseudo-random times over 40 minutes with a quiet hour in the middle.
        let state = 7
        const random = () => {
          state = (state * 48_271) % 2_147_483_647
          return state / 2_147_483_647
        }
        const events = Array.from({ length: 3_000 }, (_, i) => {
          const at = Math.floor(random() * 40 * MINUTE)
          const sourceTime = START + at + (at > 20 * MINUTE ? 60 * MINUTE : 0)
          return next(trade(String(i), (100 + random()).toFixed(2), random().toFixed(3)), { sourceTime })
        })
        await record(events)
        const { subject } = events[0]!.topic
        for (const [timeframe, seconds] of [
          ['1s', 1],
          ['15s', 15],
          ['1m', 60],
          ['7m', 420],
          ['1h', 3_600],
        ] as const)
          expect(await allCandles(subject, timeframe)).toEqual(naiveCandles(events, timeframe, seconds))
      })

      it('open inside the time asked for and are whole', async () => {
        const next = series(freshTopic('trades'))
        const events = Array.from({ length: 60 }, (_, i) =>
          next(trade(String(i)), { sourceTime: START + i * 10_000_000 }),
        )
        await record(events)
        const read = await allCandles(events[0]!.topic.subject, '1m', {
          from: START + 1,
          to: START + 3 * MINUTE + 1,
        })
        expect(read.map((one) => one.openTime)).toEqual([1, 2, 3].map((i) => START + i * MINUTE))
        expect(read.map((one) => one.trades)).toEqual([6, 6, 6])
      })

      it('count a trade id once, and trades without an id each', async () => {
        const next = series(freshTopic('trades'))
        const at = { sourceTime: START + 5 }
        const ids = ['1', '2', '1', undefined, undefined, '2']
        const events = ids.map((id) => next(trade(id, '10.0', '1.5'), at))
        await record(events)
        expect(await allCandles(events[0]!.topic.subject, '1m')).toMatchObject([{ trades: 4, volume: '6.0' }])
      })

      it('begin on Monday when they are of weeks', async () => {
        const next = series(freshTopic('trades'))
        const event = next(trade('1'), { sourceTime: START + 6 * 24 * 60 * MINUTE })
        await record([event])
        expect(await allCandles(event.topic.subject, '1w')).toMatchObject([{ openTime: START }])
      })

      it('are the newest of the venue where it has them, before trades, before finer ones of the venue', async () => {
        const minutes = freshTopic('ohlcv', '1m')
        const { subject } = minutes
        const fives = topicOf('venue', 'ohlcv', subject, '5m')
        const trades = topicOf('venue', 'trades', subject)
        const nextMinute = series(minutes)
        const nextFive = series(fives)
        const nextTrade = series(trades)
        await record([
          nextFive(candle('5m', START, { close: '1.0', closed: false })),
          nextFive(candle('5m', START, { close: '2.0', volume: '7.0' })),
          nextTrade(trade('1', '3.0'), { sourceTime: START + 1 }),
          nextTrade(trade('2', '4.0'), { sourceTime: START + 5 * MINUTE }),
          ...Array.from({ length: 15 }, (_, i) =>
            nextMinute(
              candle('1m', START + i * MINUTE, {
                open: `${i}.0`,
                close: `${i}.5`,
                high: `${i + 90}.0`,
                trades: 2,
              }),
            ),
          ),
        ])
        expect(await allCandles(subject, '5m')).toMatchObject([
          { openTime: START, close: '2.0', volume: '7.0', origin: 'venue', closed: true },
          { openTime: START + 5 * MINUTE, close: '4.0', trades: 1, origin: 'computed' },
          {
            openTime: START + 10 * MINUTE,
            open: '10.0',
            high: '104.0',
            low: '9.0',
            close: '14.5',
            volume: '25.00',
            trades: 10,
            origin: 'computed',
            closed: true,
          },
        ])
        // 300s is 5m by another name; 2m is made of the 1m candles where there were no trades.
        expect(await allCandles(subject, '300s', { to: START + 1 })).toMatchObject([
          { close: '2.0', timeframe: '300s' },
        ])
        expect(await allCandles(subject, '2m', { from: START + 12 * MINUTE })).toMatchObject([
          { open: '12.0', close: '13.5', trades: 4 },
          { open: '14.0', close: '14.5', trades: 2 },
        ])
      })

      it('are not closed before their time is over', async () => {
        const now = Math.floor(Date.now() / 1_000) * 1_000_000
        const next = series(freshTopic('trades'))
        const event = next(trade('1'), { sourceTime: now, receivedTime: now })
        await record([event])
        expect(await allCandles(event.topic.subject, '3660d')).toMatchObject([{ closed: false }])
      })

      it('refuse what is no timeframe', async () => {
        for (const timeframe of ['', '1', '0m', '-1m', '1M', '1.5h', '1y', '99999999999m', '4000d', "1m'"])
          await expect(
            store.candles({ source: 'venue', subject: 'X', timeframe, limit: 1 }),
          ).rejects.toMatchObject({ code: 'unknown-timeframe' })
      })
    })

    describe('a book at a time', () => {
      it('is what its events had made of it then', async () => {
        const topic = freshTopic('orderbook')
        const next = series(topic)
        const levels = (from: number, step: number): Level[] =>
          Array.from({ length: 50 }, (_, i) => [(from + i * step).toFixed(1), '1.00'])
        const events = [next(book('snapshot', levels(99.9, -0.1), levels(100.1, 0.1)))]
        // Over three minutes: images of the whole book are made on the way.
        for (let i = 0; i < 3_000; i++) {
          const level: Level = [(95 + (i % 49) / 10).toFixed(1), i % 5 === 0 ? '0' : `${i}.0`]
          const receivedTime = START + i * 65_000
          events.push(next(book('delta', [level], []), { receivedTime }))
        }
        for (let i = 0; i < events.length; i += 500) await record(events.slice(i, i + 500))
        expect(await count('book_images', topic.id)).toBeGreaterThan(3)
        for (const at of [0, 1, 499, 1_500, 2_718, 3_000]) {
          const replayed = new OrderBook()
          for (const event of events.slice(0, at + 1)) {
            const payload = event.payload as BookPayload
            if (payload.kind === 'snapshot') replayed.reset(payload.bids, payload.asks)
            else replayed.apply(payload.bids, payload.asks)
          }
          const { epoch, seq, receivedTime } = events[at]!
          expect(await store.bookAt(topic, receivedTime)).toEqual({
            epoch,
            seq,
            receivedTime,
            depth: 0,
            bids: replayed.top('bids', 1_000),
            asks: replayed.top('asks', 1_000),
          })
        }
        expect(await store.bookAt(topic, events[0]!.receivedTime - 1)).toBeUndefined()
      })

      it('is unknown from a gap to the next snapshot', async () => {
        const next = series(freshTopic('orderbook'))
        const events = [
          next(book('snapshot', [['10', '1']], [])),
          next(book('delta', [['9', '1']], [])),
          next(gap('orderbook')),
          next(book('delta', [['8', '1']], [])),
          next(book('snapshot', [['7', '1']], [])),
        ]
        await record(events)
        const books = []
        for (const event of events)
          books.push((await store.bookAt(event.topic, event.receivedTime))?.bids.length)
        expect(books).toEqual([1, 2, undefined, undefined, 1])
      })

      it('takes a level away when a delta says so and not before, whatever the depth', async () => {
        const next = series(freshTopic('orderbook'))
        const events = [
          next(
            book(
              'snapshot',
              [
                ['10', '1'],
                ['9', '1'],
              ],
              [],
              2,
            ),
          ),
          next(book('delta', [['9.5', '1']], [], 2)),
          next(book('delta', [['9.5', '0']], [], 2)),
        ]
        await record(events)
        expect(await store.bookAt(events[0]!.topic, START + 100)).toMatchObject({
          bids: [
            ['10', '1'],
            ['9', '1'],
          ],
          depth: 2,
        })
      })
    })

    describe('where topics end', () => {
      it('is known by source: position, time, and of trades the newest ids', async () => {
        const source = 'ends'
        const trades = topicOf(source, 'trades', 'A')
        const ticker = topicOf(source, 'ticker', 'A')
        const next = series(trades)
        const events = Array.from({ length: 300 }, (_, i) =>
          next(trade(String(i)), { sourceTime: START - i }),
        )
        events.push(next(trade(undefined)), next(gap('trades')))
        const tick = series(ticker)({ type: 'ticker', bid: '1.0' })
        await record([...events.slice(100), tick])
        await record(events.slice(0, 100))
        const last = events.at(-1)!
        expect(await store.positions(source)).toEqual(
          new Map([
            [
              trades.id,
              {
                epoch: START,
                seq: last.seq,
                receivedTime: last.receivedTime,
                tradeIds: Array.from({ length: 256 }, (_, i) => String(i + 44)),
              },
            ],
            [ticker.id, { epoch: START, seq: 1, receivedTime: tick.receivedTime }],
          ]),
        )
        expect(await store.positions('nowhere')).toEqual(new Map())
      })
    })

    describe('the newest of each topic', () => {
      it('is its last value, whatever gap followed; of candles the two newest, of odds each market and price', async () => {
        const source = 'newest'
        const topic = (channel: Topic['channel'], subject: string, timeframe?: string) =>
          series(topicOf(source, channel, subject, timeframe))
        const ticker = topic('ticker', 'A')
        const trades = topic('trades', 'A')
        const minutes = topic('ohlcv', 'A', '1m')
        const odds = topic('odds', 'MATCH_L')
        const funding = topic('funding', 'A')
        const snapshot = topic('orderbook', 'A')
        const expected = [
          ticker({ type: 'ticker', bid: '1.0' }, { receivedTime: START + 1 }),
          trades(trade('2'), { receivedTime: START + 2 }),
          minutes(candle('1m', START + MINUTE, { close: '2' }), { receivedTime: START + 1_003 }),
          minutes(candle('1m', START, { close: '3' }), { receivedTime: START + 1_004 }),
          odds(price('HOME', '1.5'), { receivedTime: START + 5_000 }),
          odds(price('AWAY', '2.5'), { receivedTime: START + 5_001 }),
          funding({ type: 'funding', rate: '0.1' }, { receivedTime: START + 6_000 }),
        ]
        const older = series(topicOf(source, 'ohlcv', 'B', '5m'))
        await record([
          ...expected,
          ticker(gap('ticker')),
          snapshot(book('snapshot', [['1', '1']], [])),
          older(candle('5m', START)),
        ])
        const bodies = async (query: LatestQuery) =>
          (await store.latest({ source, ...query })).map((event) => event.body)
        const text = (...events: EncodedEvent[]) => events.map((event) => event.bytes.toString())
        expect((await bodies({ subject: 'A' })).toSorted()).toEqual(
          text(...[...expected.slice(0, 4), expected[6]!]).toSorted(),
        )
        expect(await bodies({ channel: 'odds' })).toEqual(text(expected[4]!, expected[5]!))
        expect(await bodies({ channel: 'ohlcv', timeframe: '1m' })).toEqual(text(expected[2]!, expected[3]!))
        expect(await bodies({ channel: 'orderbook' })).toEqual([])
        expect(await bodies({ channel: 'status' })).toEqual([])
        expect(await store.latest({ channel: 'ticker', source: 'nowhere' })).toEqual([])
      })

      it('is found as it was at a time', async () => {
        const source = 'then'
        const subject = 'MATCH_T'
        const ticker = series(topicOf(source, 'ticker', subject))
        const minutes = series(topicOf(source, 'ohlcv', subject, '1m'))
        const odds = series(topicOf(source, 'odds', subject))
        const events = [
          ticker({ type: 'ticker', bid: '1.0' }, { receivedTime: START + 1 }),
          ticker({ type: 'ticker', bid: '2.0' }, { receivedTime: START + 10 }),
          minutes(candle('1m', START), { receivedTime: START + 2 }),
          minutes(candle('1m', START, { close: '9' }), { receivedTime: START + 11 }),
          odds(price('HOME', '1.5'), { receivedTime: START + 3 }),
          odds(price('AWAY', '2.5'), { receivedTime: START + 4 }),
          odds(price('HOME', '1.6'), { receivedTime: START + 12 }),
        ]
        await record(events)
        const then = async (before: number) =>
          (await store.latest({ source, before })).map((event) => event.body).toSorted()
        const text = (...at: number[]) => at.map((index) => events[index]!.bytes.toString()).toSorted()
        expect(await then(START + 10)).toEqual(text(0, 2, 4, 5))
        expect(await then(START + 13)).toEqual(text(1, 3, 5, 6))
        expect(await then(START + 1)).toEqual([])
      })

      it('is found of each of many topics', async () => {
        const source = 'many'
        const events = Array.from({ length: 400 }, (_, i) => {
          const next = series(topicOf(source, 'ticker', `S${i}`))
          return Array.from({ length: 25 }, (_, n) => next({ type: 'ticker', bid: `${n}.0` }))
        })
        for (let i = 0; i < events.length; i += 100) await record(events.slice(i, i + 100).flat())
        const found = await store.latest({ channel: 'ticker', source })
        expect(found.map((event) => event.body).toSorted()).toEqual(
          events.map((of) => of.at(-1)!.bytes.toString()).toSorted(),
        )
      })
    })

    it('finds gaps by the time of the hole, beside their place in the history of the topic', async () => {
      const next = series(freshTopic('trades'))
      const holes = [1, 2, 3].map((i) =>
        next(gap('trades', START + i * MINUTE, START + (i + 1) * MINUTE - 1)),
      )
      await record([next(trade('1')), ...holes, next(trade('2'))])
      const { subject } = holes[0]!.topic
      const found = await store.gaps({ subject, from: START + 2 * MINUTE, to: START + 3 * MINUTE, limit: 10 })
      expect(found.items.map((event) => event.body)).toEqual([holes[1]!.bytes.toString()])
      const first = await store.gaps({ subject, limit: 2 })
      const second = await store.gaps({ subject, limit: 2, cursor: first.next! })
      expect([...first.items, ...second.items].map((event) => event.seq)).toEqual(
        holes.map((event) => event.seq),
      )
      expect(second.next).toBeNull()
      expect(await allPages({ channel: 'trades', subject, limit: 10 })).toHaveLength(5)
    })

    it('keeps the newest of each market and price of an odds event, and never an older one', async () => {
      const eventId = 'MATCH_NOW'
      const one = series(topicOf('alpha', 'odds', eventId))
      const two = series(topicOf('beta', 'odds', eventId))
      const old = one(price('HOME', '1.50'))
      const events = [one(price('HOME', '1.85')), one(price('AWAY', '4.2')), two(price('HOME', '1.90'))]
      await record([old, ...events])
      await record([old])
      const current = async (sources?: string[]) =>
        (await store.oddsCurrent(eventId, sources)).map((event) => event.body).toSorted()
      expect(await current()).toEqual(events.map((event) => event.bytes.toString()).toSorted())
      expect(await current(['beta'])).toEqual([events[2]!.bytes.toString()])
      expect(await store.oddsCurrent('MATCH_NONE')).toEqual([])
    })

    it('lets statements of a transaction commit together or not at all, and others wait their turn', async () => {
      await store.sql.query('create table notes (n integer)')
      const failing = store.sql.transaction(async (tx) => {
        await tx.query('insert into notes values (1)')
        await tx.query('select pg_sleep(0.05)')
        throw new Error('changed my mind')
      })
      const other = store.sql.query('insert into notes values ($1)', [2])
      await expect(failing).rejects.toThrow('changed my mind')
      await other
      expect((await store.sql.query('select n from notes')).rows).toEqual([{ n: 2 }])
    })

    it('has nothing to complain of', () => {
      expect(store.fault()).toBeUndefined()
    })
  })
}

/** By hand: each bucket's trades sorted by their own time, then by their place in the topic. */
function naiveCandles(events: readonly EncodedEvent[], timeframe: string, seconds: number): StoredCandle[] {
  const width = seconds * 1_000_000
  const buckets = new Map<number, EncodedEvent[]>()
  for (const event of events) {
    const openTime = Math.floor(event.eventTime / width) * width
    buckets.set(openTime, [...(buckets.get(openTime) ?? []), event])
  }
  return [...buckets]
    .sort(([a], [b]) => a - b)
    .map(([openTime, of]) => {
      const trades = of
        .toSorted((a, b) => a.eventTime - b.eventTime || a.seq - b.seq)
        .map((event) => event.payload as { price: string; size: string })
      const prices = trades.map((one) => one.price).toSorted((a, b) => Number(a) - Number(b))
      const volume = trades.reduce((sum, one) => sum + BigInt(one.size.replace('.', '')), 0n)
      return {
        source: 'venue',
        symbol: of[0]!.topic.subject,
        timeframe,
        openTime,
        open: trades[0]!.price,
        high: prices.at(-1)!,
        low: prices[0]!,
        close: trades.at(-1)!.price,
        volume: `${volume / 1_000n}.${String(volume % 1_000n).padStart(3, '0')}`,
        trades: trades.length,
        closed: true,
        origin: 'computed' as const,
      }
    })
}
