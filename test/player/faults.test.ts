import { readFileSync } from 'node:fs'
import { afterAll, describe, expect, it } from 'vitest'
import { OrderBook } from '../../src/market/order-book.ts'
import { FAULTS, type Fault } from '../../src/player/faults.ts'
import {
  capture,
  closeAll,
  connect,
  hasCaptures,
  type Played,
  play,
  recording,
  rest,
  settled,
  until,
  VenueClient,
} from './venue-client.ts'

// Most of their time tests wait for the venue's second: they run together.
afterAll(closeAll)

const crc = (bids: [string, string][], asks: [string, string][]): number => {
  const book = new OrderBook()
  book.reset(bids, asks)
  return book.krakenChecksum()
}

/** Kraken v1 and v2, Coinbase and Binance recordings of one symbol, small enough to be read. */
function krakenLines(count = 20): string[] {
  const asks: [string, string][] = [['101.0', '1.00000000']]
  const lines = [
    '1600000000.1: [7,{"as":[["101.0","1.00000000","1600000000.000000"]],"bs":[["100.0","0.00500000","1600000000.000000"]]},"book-10","XBT/USD"]',
  ]
  for (let at = 1; at <= count; at++) {
    const size = `0.0050000${at % 10}`
    lines.push(
      `1600000000.${200 + at}: [7,{"b":[["100.0","${size}","1600000001.00000${at % 10}"]],"c":"${crc([['100.0', size]], asks)}"},"book-10","XBT/USD"]`,
    )
  }
  return lines
}

function kraken2Lines(count = 20): string[] {
  const frame = (type: string, size: string) =>
    `{"channel":"book","type":"${type}","data":[{"symbol":"BTC/USD","bids":[{"price":100.0,"qty":${size}}],"asks":[${type === 'snapshot' ? '{"price":101.0,"qty":1.00000000}' : ''}],"checksum":${crc([['100.0', size]], [['101.0', '1.00000000']])},"timestamp":"2026-01-01T00:00:00.000000Z"}]}`
  const lines = [`1600000000.1: ${frame('snapshot', '0.00005000')}`]
  for (let at = 1; at <= count; at++)
    lines.push(`1600000000.${200 + at}: ${frame('update', `0.0000510${at % 10}`)}`)
  return lines
}

function coinbaseLines(count = 20): string[] {
  const lines = [
    '1600000000.1: {"type":"snapshot","product_id":"BTC-USD","asks":[["101","1"]],"bids":[["100","1"]]}',
  ]
  for (let at = 1; at <= count; at++)
    lines.push(
      `1600000000.${200 + at}: {"type":"match","trade_id":${at},"maker_order_id":"a","taker_order_id":"b","side":"sell","size":"0.0004","price":"100","product_id":"BTC-USD","sequence":${at},"time":"2026-01-01T00:00:00.000000Z"}`,
    )
  return lines
}

function binanceLines(count = 20): string[] {
  const lines = [
    'https://api.binance.com/api/v3/depth?symbol=BTCUSDT&limit=1000 -> 1600000000.0: {"lastUpdateId":10,"bids":[["100","1"]],"asks":[["101","1"]]}',
  ]
  for (let at = 1; at <= count; at++)
    lines.push(
      `1600000000.${200 + at}: {"stream":"btcusdt@depth@100ms","data":{"e":"depthUpdate","E":1600000000000,"s":"BTCUSDT","U":${10 + at},"u":${10 + at},"b":[["100","${at}.5"]],"a":[]}}`,
    )
  return lines
}

const V1 = { event: 'subscribe', pair: ['XBT/USD'], subscription: { name: 'book', depth: 10 } }
const V2 = { method: 'subscribe', params: { channel: 'book', symbol: ['BTC/USD'], depth: 10 }, req_id: 1 }
const COINBASE = { type: 'subscribe', product_ids: ['BTC-USD'], channels: ['matches', 'level2_batch'] }
const BINANCE = { method: 'SUBSCRIBE', params: ['btcusdt@depth@100ms'], id: 1 }

interface Run extends Played {
  client: VenueClient
  /** Frames of the recording. */
  recorded: string[]
  /** Frames sent that the client did not ask for by name: no acknowledgement, no heartbeat. */
  data: () => string[]
}

const OWN = /"(event|method|result)":|"type":"subscriptions"|"channel":"(status|heartbeat)"/

async function run(lines: string[], request: object, ...faults: Fault[]): Promise<Run> {
  const played = await play([await recording(lines)], { faults })
  const client = await connect(played.player)
  client.send(request)
  const recorded = lines.flatMap((line) => /^\d+\.\d+: (.*)$/.exec(line)?.[1] ?? [])
  return { ...played, client, recorded, data: () => client.frames.filter((frame) => !OWN.test(frame)) }
}

async function whole(lines: string[], request: object, ...faults: Fault[]): Promise<Run> {
  const one = await run(lines, request, ...faults)
  await one.player.finished
  await settled(one.player, one.client)
  return one
}

const said = (one: Played, fault: Fault) => one.log.filter((line) => line.startsWith(`fault ${fault}: `))

describe.concurrent('faults of single frames', () => {
  it('drop leaves out one message', async () => {
    const one = await whole(krakenLines(), V1, 'drop')
    const dropped = one.recorded.findIndex((frame, at) => frame !== one.data()[at])
    expect(dropped).toBeGreaterThan(3)
    expect(one.data()).toEqual(one.recorded.toSpliced(dropped, 1))
    expect(said(one, 'drop')).toEqual(['fault drop: book|XBT/USD'])
  })

  it('duplicate sends three messages twice, one behind the other', async () => {
    const one = await whole(binanceLines(80), BINANCE, 'duplicate')
    const doubles = one.data().filter((frame, at) => frame === one.data()[at - 1])
    expect(doubles).toHaveLength(3)
    expect([...new Set(one.data())]).toEqual(one.recorded)
    expect(said(one, 'duplicate')).toHaveLength(3)
  })

  it('reorder changes the places of two messages of a stream', async () => {
    const one = await whole(coinbaseLines(), COINBASE, 'reorder')
    const ids = one.data().flatMap((frame) => JSON.parse(frame).trade_id ?? [])
    expect(ids).toHaveLength(20)
    const wrong = ids.findIndex((id, at) => id !== at + 1)
    expect([ids[wrong], ids[wrong + 1]]).toEqual([wrong + 2, wrong + 1])
    expect(ids.toSorted((a, b) => a - b)).toEqual(ids.map((_, at) => at + 1))
  })

  it.each([
    ['v1', krakenLines, V1],
    ['v2', kraken2Lines, V2],
  ] as const)(
    'corrupt changes one digit of Kraken %s, so that the checksum does not hold',
    async (_, lines, request) => {
      const one = await whole(lines(), request, 'corrupt')
      expect(one.data()).toHaveLength(one.recorded.length)
      const changed = one.data().filter((frame, at) => frame !== one.recorded[at])
      expect(changed).toHaveLength(1)
      const original = one.recorded[one.data().indexOf(changed[0]!)]!
      expect([...changed[0]!].filter((c, at) => c !== original[at])).toHaveLength(1)
    },
  )

  it('two-maps keeps the book and its checksum', async () => {
    const one = await whole(krakenLines(80), V1, 'two-maps')
    const two = one.data().filter((frame) => JSON.parse(frame).length === 5)
    expect(two).toHaveLength(3)
    for (const frame of two) {
      const [, first, second] = JSON.parse(frame)
      expect(first.a).toEqual([['101.0', '1.00000000', '1600000000.000000']])
      expect(crc(second.b, first.a)).toBe(Number(second.c))
    }
  })

  it('absurd gives a time of the year 1, and another message an impossible size', async () => {
    const one = await whole(coinbaseLines(60), COINBASE, 'absurd')
    expect(one.data().filter((frame) => frame.includes('"time":"0001-01-01T00:00:00.000000Z"'))).toHaveLength(
      1,
    )
    expect(one.data().filter((frame) => frame.includes('"size":"0.-10000"'))).toHaveLength(1)
  })

  it('big-id moves every id above 2^53, and keeps them contiguous', async () => {
    const one = await whole(binanceLines(), BINANCE, 'big-id')
    const ids = one.data().map((frame) => /"U":(\d+),"u":(\d+)/.exec(frame)!.slice(1).map(BigInt))
    expect(ids[0]![0]).toBe(2n ** 53n + 11n)
    for (const [at, [first]] of ids.slice(1).entries()) expect(first).toBe(ids[at]![1]! + 1n)
    const body = await rest(one.player, '/api/v3/depth?symbol=BTCUSDT').then((response) => response.text())
    expect(body).toContain(`"lastUpdateId":${2n ** 53n + 10n},`)
  })

  it.each([
    ['Binance', binanceLines, BINANCE, /"\d\.\d+e\+0\d"/],
    ['Kraken v2', kraken2Lines, V2, /"qty":5\.10\de-05/],
  ] as const)(
    'exponent writes a size of %s with an exponent and every digit',
    async (_, lines, request, form) => {
      const one = await whole(lines(80), request, 'exponent')
      const changed = one.data().filter((frame) => form.test(frame))
      expect(changed).toHaveLength(3)
      for (const frame of changed) expect(() => JSON.parse(frame)).not.toThrow()
    },
  )

  it.each([
    ['kraken-v1', krakenLines, V1],
    ['kraken', kraken2Lines, V2],
    ['coinbase', coinbaseLines, COINBASE],
    ['binance', binanceLines, BINANCE],
  ] as const)(
    'unknown-type sends %s clients what nobody knows, beside all that was recorded',
    async (_, lines, request) => {
      const one = await whole(lines(80), request, 'unknown-type')
      expect(one.client.frames.filter((frame) => /[wW]hisper/.test(frame))).toHaveLength(3)
      expect(one.client.frames.filter((frame) => one.recorded.includes(frame))).toEqual(one.recorded)
    },
  )
})

describe.concurrent('faults of subscriptions and snapshots', () => {
  it('old-snapshot by REST is older than every message, then comes the recorded one', async () => {
    const one = await run(binanceLines(), BINANCE, 'old-snapshot')
    const ids = []
    for (let request = 0; request < 2; request++)
      ids.push(
        (await rest(one.player, '/api/v3/depth?symbol=BTCUSDT').then((response) => response.json()))
          .lastUpdateId,
      )
    expect(ids).toEqual([10 - 1_000_000, 10])
  })

  it('old-snapshot in a stream leaves out what follows it; a new subscription gets a good one', async () => {
    const one = await whole(krakenLines(), V1, 'old-snapshot')
    expect(one.data()[0]).toBe(one.recorded[0])
    expect(one.data()[1]).not.toBe(one.recorded[1])
    expect(one.data().slice(1)).toEqual(one.recorded.slice(2))
    one.client.send(V1)
    await until(() => one.data().length === one.recorded.length)
    expect(JSON.parse(one.data().at(-1)!)[1].bs[0][1]).toBe('0.00500000')
  })

  it('zombie acknowledges, is silent, and sends again after a new subscription', async () => {
    const one = await whole(krakenLines(), V1, 'zombie')
    expect(one.data()).toEqual([])
    expect(one.client.messages().some((message) => message.event === 'subscriptionStatus')).toBe(true)
    one.client.send(V1)
    await until(() => one.data().length === 1)
    expect(said(one, 'zombie')).toEqual(['fault zombie: book|XBT/USD'])
  })

  it('bad-symbol refuses the second symbol of Kraken, and serves the first', async () => {
    const one = await whole(krakenLines(), { ...V1, pair: ['XBT/USD', 'ETH/USD'] }, 'bad-symbol')
    const statuses = one.client.messages().filter((message) => message.event === 'subscriptionStatus')
    expect(statuses.map(({ pair, status }) => [pair, status])).toEqual([
      ['XBT/USD', 'subscribed'],
      ['ETH/USD', 'error'],
    ])
    expect(one.data()).toEqual(one.recorded)
  })

  it('bad-symbol voids the whole message at Coinbase', async () => {
    const one = await run(coinbaseLines(), { ...COINBASE, product_ids: ['BTC-USD', 'ETH-USD'] }, 'bad-symbol')
    await until(() => one.client.frames.length === 1)
    expect(one.client.messages()[0]).toMatchObject({
      type: 'error',
      reason: 'ETH-USD is not a valid product',
    })
    one.client.send(COINBASE)
    await one.player.finished
    await until(() => one.data().length === 22)
  })

  it('bad-symbol is acknowledged by Binance and stays silent, and REST refuses it', async () => {
    const one = await run(
      binanceLines(),
      { ...BINANCE, params: ['ethusdt@depth', 'btcusdt@depth@100ms'] },
      'bad-symbol',
    )
    await one.player.finished
    await settled(one.player, one.client)
    expect(one.client.frames).toEqual(['{"result":null,"id":1}'])
    expect((await rest(one.player, '/api/v3/depth?symbol=BTCUSDT')).status).toBe(400)
  })
})

describe.concurrent('faults of connections', () => {
  it('cut resets in the middle of a frame; the frame comes whole after the reconnect', async () => {
    const one = await run(binanceLines(), BINANCE, 'cut')
    await until(() => one.client.closeCode !== undefined)
    expect(one.client.closeCode).toBe(1006)
    const before = one.data()
    expect(before.length).toBeGreaterThan(3)
    const again = await connect(one.player)
    again.send(BINANCE)
    await one.player.finished
    await until(() => before.length + again.frames.length === one.recorded.length + 1)
    expect([...before, ...again.frames.slice(1)]).toEqual(one.recorded)
  })

  it('shutdown is announced, data goes on, and the connection ends 3 s later', async () => {
    const one = await run(binanceLines(), BINANCE, 'shutdown')
    await until(() => one.client.frames.some((frame) => frame.includes('"e":"serverShutdown"')))
    await until(() => one.client.frames.length === 22)
    expect(one.client.closeCode).toBeUndefined()
    await until(() => one.client.closeCode !== undefined)
  })

  it('pongs-only answers pings and nothing else; the rest comes after a reconnect', async () => {
    const one = await run(krakenLines(), V1, 'pongs-only')
    await until(() => said(one, 'pongs-only').length === 1)
    await settled(one.player, one.client)
    const before = one.data()
    one.client.send({ event: 'ping', reqid: 5 })
    one.client.send(V1)
    await until(() => one.client.frames.includes('{"event":"pong","reqid":5}'))
    await new Promise((tick) => setTimeout(tick, 1_500))
    expect(one.client.frames.at(-1)).toBe('{"event":"pong","reqid":5}')
    const again = await connect(one.player)
    again.send(V1)
    await one.player.finished
    await until(() => again.frames.includes(one.recorded.at(-1)!))
    const after = again.frames.filter((frame) => frame.startsWith('['))
    // A made snapshot, then what had not been sent.
    expect([...before, ...after.slice(1)]).toEqual(one.recorded)
  })

  it('half-open reads and writes nothing more, and stays connected', async () => {
    const one = await run(krakenLines(), V1, 'half-open')
    await until(() => said(one, 'half-open').length === 1)
    await settled(one.player, one.client)
    const { length } = one.client.frames
    let pongs = 0
    one.client.socket.on('pong', () => pongs++)
    one.client.socket.ping()
    one.client.send({ event: 'ping' })
    await new Promise((tick) => setTimeout(tick, 1_500))
    expect([one.client.frames.length, pongs, one.client.closeCode]).toEqual([length, 0, undefined])
    const again = await connect(one.player)
    again.send(V1)
    await one.player.finished
  })

  it.each(['429', '418', '451'] as const)(
    '%s refuses two handshakes and two REST requests',
    async (fault) => {
      const played = await play([await recording(binanceLines())], { faults: [fault] })
      for (let attempt = 0; attempt < 2; attempt++) {
        const client = new VenueClient(played.player.url)
        const status = new Promise((resolve) => {
          client.socket.on('unexpected-response', (_, response) =>
            resolve([response.statusCode, response.headers['retry-after']]),
          )
        })
        expect(await status).toEqual([Number(fault), '1'])
        const answer = await rest(played.player, '/api/v3/depth?symbol=BTCUSDT')
        expect([answer.status, answer.headers.get('retry-after')]).toEqual([Number(fault), '1'])
      }
      await connect(played.player)
      expect((await rest(played.player, '/api/v3/depth?symbol=BTCUSDT')).status).toBe(200)
    },
  )

  it('quiet holds one symbol back while others and heartbeats go on, and loses nothing', async () => {
    const lines = [...krakenLines(), ...coinbaseLines(1)]
    const one = await play([await recording(krakenLines()), await recording(lines.slice(-1))], {
      faults: ['quiet'],
      quietMs: 3_000,
    })
    const client = await connect(one.player)
    client.send(V1)
    await until(() => said(one, 'quiet').length === 1)
    await settled(one.player, client)
    expect(client.frames.filter((frame) => frame.startsWith('[')).length).toBeLessThan(15)
    await until(() => client.frames.includes('{"event":"heartbeat"}'))
    await one.player.finished
    await settled(one.player, client)
    expect(client.frames.filter((frame) => frame.startsWith('['))).toEqual(
      krakenLines().map((line) => line.slice(line.indexOf(': ') + 2)),
    )
  })
})

describe.skipIf(!hasCaptures)('a fault schedule', { concurrent: true }, () => {
  const PAIRS = [
    'WAVES/EUR',
    'XMR/USD',
    'KSM/XBT',
    'GRT/ETH',
    'SC/EUR',
    'ETH/CHF',
    'OCEAN/XBT',
    'OMG/USD',
    'XBT/CHF',
    'ADA/XBT',
  ]

  it('is the same for the same seed, and another for another', async () => {
    const schedules: string[][] = []
    for (const seed of [1, 1, 2]) {
      const one = await play([capture('kraken-v1.book.ws.txt')], {
        seed,
        faults: ['drop', 'duplicate', 'reorder', 'corrupt', 'two-maps'],
      })
      const client = await connect(one.player)
      client.send({ ...V1, pair: PAIRS, subscription: { name: 'book', depth: 1000 } })
      await one.player.finished
      schedules.push(one.log)
      expect(one.log.length).toBe(9)
    }
    expect(schedules[0]).toEqual(schedules[1])
    expect(schedules[0]).not.toEqual(schedules[2])
  })

  it('never touches the books that snapshots are made from', async () => {
    const lines = readFileSync(capture('kraken-v1.book.ws.txt'), 'utf8')
    const one = await play([capture('kraken-v1.book.ws.txt')], {
      faults: ['drop', 'corrupt', 'reorder', 'old-snapshot', 'absurd'],
    })
    const client = await connect(one.player)
    client.send({ ...V1, pair: PAIRS, subscription: { name: 'book', depth: 1000 } })
    await one.player.finished
    const last = [...lines.matchAll(/"c":"(\d+)"\},"book-1000","([^"]+)"/g)]
    const late = await connect(one.player)
    late.send({ ...V1, pair: PAIRS })
    await until(() => late.frames.filter((frame) => frame.includes('"as"')).length === 10)
    for (const frame of late.frames.filter((text) => text.includes('"as"'))) {
      const [, { as, bs }, , pair] = JSON.parse(frame)
      expect(String(crc(bs, as)), pair).toBe(last.findLast((match) => match[2] === pair)![1])
    }
  })
})

it('says which faults no venue of the recording can have', async () => {
  const { log } = await play([await recording(coinbaseLines())], {
    faults: ['corrupt', 'two-maps', 'old-snapshot', 'drop'],
  })
  expect(log).toEqual([
    'fault two-maps: no venue of this recording can have it',
    'fault corrupt: no venue of this recording can have it',
    'fault old-snapshot: no venue of this recording can have it',
  ])
})

it('has a line of explanation for every fault', () => {
  for (const what of Object.values(FAULTS)) expect(what).not.toContain('\n')
})
