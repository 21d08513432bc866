/**
 * What the encodings of `/ws` make of real events: bytes an event and µs of CPU an event, by capture, one event a frame
 * and in arrays of 10 and 100. What is made is shared by all clients of a shape, so a client costs its bytes alone.
 *
 *   node scripts/bench.mjs encodings [--captures DIR] [--rounds 5]
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import type { Venue } from '../src/connectors/venue.ts'
import { venue as binance } from '../src/connectors/venues/binance.ts'
import { venue as coinbase } from '../src/connectors/venues/coinbase.ts'
import { venue as krakenV1 } from '../src/connectors/venues/kraken-v1.ts'
import { Deflater } from '../src/gateway/ws/deflate.ts'
import { ENCODINGS, type Encoding } from '../src/gateway/ws/encoding.ts'
import { encodeEvent } from '../src/market/encode.ts'
import { topicOf } from '../src/market/topic.ts'

const { values: options } = parseArgs({
  options: {
    captures: { type: 'string', default: process.env.CAPTURES_DIR ?? '../shared/captures' },
    rounds: { type: 'string', default: '5' },
  },
})

const CAPTURES: Readonly<Record<string, Venue>> = {
  'binance.ws.txt': binance,
  'coinbase.ws.txt': coinbase,
  'kraken-v1.book.ws.txt': krakenV1,
  'kraken-v1.trade.ws.txt': krakenV1,
}

/** Bytes of every event of a capture, as they are stored. Books are taken as they come: nothing is proven here. */
function eventsOf(file: string, venue: Venue): Buffer[] {
  const bodies: Buffer[] = []
  const decoder = venue.createDecoder({ symbolOf: (name) => name, venueSymbols: () => [] })
  for (const line of readFileSync(join(options.captures, file), 'utf8').split('\n')) {
    const match = /^(\d+)\.(\d+): (.*)$/.exec(line)
    if (!match) continue
    const receivedTime = Number(match[1]) * 1e6 + Number(match[2]!.slice(0, 6))
    decoder.decode(match[3]!, (update) => {
      if (update.kind !== 'event' && update.kind !== 'book') return
      const { symbol, sourceTime } = update
      const envelope = {
        ...{ epoch: 1_700_000_000_000_000, seq: bodies.length + 1, sourceTime },
        ...{ receivedTime, publishedTime: receivedTime + 20 },
      }
      if (update.kind === 'event') {
        const topic = topicOf(venue.id, update.channel, symbol, update.timeframe)
        bodies.push(encodeEvent(topic, envelope, update.payload).bytes)
      } else {
        const { bids, asks, snapshot } = update
        const kind = snapshot ? 'snapshot' : 'delta'
        const payload = { type: 'orderbook', kind, bids, asks, depth: 1_000 } as const
        bodies.push(encodeEvent(topicOf(venue.id, 'orderbook', symbol), envelope, payload).bytes)
      }
    })
  }
  return bodies
}

const TAIL = ',"sentTime":1700000000000000}'

/** Bytes of the frames of all events. `clock` lets the deflater's budget be spent without waiting for it. */
function framed(bodies: readonly Buffer[], encoding: Encoding, array: number, deflate: boolean): number {
  let ms = 0
  const deflater = new Deflater(() => ms)
  const send = (frame: Buffer) => {
    ms += 1_000
    return deflate ? deflater.frame(frame).length : frame.length
  }
  let bytes = 0
  for (let at = 0; at < bodies.length; at += array) {
    // New buffers: what is packed is kept with the bytes of the event.
    const frames = bodies.slice(at, at + array).map((body) => encoding.event(Buffer.from(body), TAIL))
    bytes += send(array === 1 ? frames[0]! : encoding.array(frames))
  }
  return bytes
}

function microsAnEvent(run: () => unknown, events: number): number {
  run()
  const times: number[] = []
  for (let round = 0; round < Number(options.rounds); round++) {
    const before = process.cpuUsage()
    run()
    const { user, system } = process.cpuUsage(before)
    times.push((user + system) / events)
  }
  return times.sort((one, other) => one - other)[Math.floor(times.length / 2)]!
}

const [json, messagePack] = ENCODINGS as [Encoding, Encoding]
for (const [file, venue] of Object.entries(CAPTURES)) {
  const bodies = eventsOf(file, venue)
  console.log(`${file}: ${bodies.length} events`)
  const rows: Record<string, Record<string, number>> = {}
  for (const array of [1, 10, 100])
    for (const [name, encoding, deflate] of [
      ['JSON', json, false],
      ['MessagePack', messagePack, false],
      ['JSON, compressed', json, true],
      ['MessagePack, compressed', messagePack, true],
    ] as const) {
      const run = () => framed(bodies, encoding, array, deflate)
      rows[`${name}, ${array === 1 ? 'single' : `arrays of ${array}`}`] = {
        'bytes an event': Math.round(run() / bodies.length),
        'µs an event': Math.round(microsAnEvent(run, bodies.length) * 10) / 10,
      }
    }
  console.table(rows)
}
