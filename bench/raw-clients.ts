/**
 * Clients as cheap as they can be, in a process of their own: raw sockets that shake hands, subscribe, and from then on
 * count bytes. Those that time also read when each message was sent, which stands in it as the price.
 */
import { fork } from 'node:child_process'
import { connect, type Socket } from 'node:net'
import { Asked } from './asked.ts'
import { micros } from './venue.ts'

export interface Crowd {
  readonly port: number
  readonly clients: number
  /** What each wants, see `symbolsOf`. */
  readonly symbols: number
  readonly each: number
  /** They time their messages. */
  readonly timing: boolean
}

/** They connect so many at a time. */
const AT_ONCE = 50
/** A message that is split between two reads is counted and not timed. */
const SENT_AT = Buffer.from('"price":"')

/** Seeded, so that every process knows who wants what: `each` different ones of `symbols`. */
export function symbolsOf(client: number, { symbols, each }: Pick<Crowd, 'symbols' | 'each'>): number[] {
  if (each >= symbols) return Array.from({ length: symbols }, (_, symbol) => symbol)
  const chosen = new Set<number>()
  let state = client + 1
  while (chosen.size < each) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    chosen.add((state >>> 8) % symbols)
  }
  return [...chosen]
}

export const symbolName = (symbol: number) => `S${String(symbol).padStart(3, '0')}/USDT`

/** The process of the clients: answers `connect`, `bytes` and `times`. */
export function beClients(): void {
  let bytes = 0
  let times: number[] = []
  const count = (chunk: Buffer) => {
    bytes += chunk.length
  }
  const time = (chunk: Buffer) => {
    const at = micros()
    count(chunk)
    for (let from = chunk.indexOf(SENT_AT); from >= 0; from = chunk.indexOf(SENT_AT, from)) {
      from += SENT_AT.length
      const end = chunk.indexOf(0x22, from)
      if (end < 0) return
      times.push(at - Number(chunk.toString('latin1', from, end)))
    }
  }
  const tasks = {
    connect: async (crowd: Crowd) => {
      for (let first = 0; first < crowd.clients; first += AT_ONCE) {
        const some = Array.from(
          { length: Math.min(AT_ONCE, crowd.clients - first) },
          (_, index) => first + index,
        )
        const sockets = await Promise.all(some.map((client) => join(crowd, client)))
        for (const socket of sockets) socket.on('data', crowd.timing ? time : count)
      }
    },
    bytes: () => bytes,
    times: () => {
      const taken = times
      times = []
      return taken
    },
  }
  Asked.answer(tasks)
}

export class RawClients extends Asked {
  constructor() {
    super(fork(process.argv[1]!, ['--part', 'clients'], { serialization: 'advanced' }))
  }

  connect(crowd: Crowd): Promise<void> {
    return this.ask('connect', crowd)
  }

  /** All together, so far. */
  bytes(): Promise<number> {
    return this.ask('bytes')
  }

  /** µs from `micros()` in the message's price to the read, since it was asked last. */
  times(): Promise<number[]> {
    return this.ask('times')
  }
}

/** Resolves when it is subscribed. */
function join(crowd: Crowd, client: number): Promise<Socket> {
  const socket = connect(crowd.port, '127.0.0.1')
  socket.write(
    'GET /ws HTTP/1.1\r\nHost: bench\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n' +
      'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n',
  )
  const symbols = symbolsOf(client, crowd).map(symbolName)
  const subscribe = maskedFrame(
    JSON.stringify({ type: 'subscribe', channel: 'trades', symbols, snapshot: false }),
  )
  return new Promise((done) => {
    let text = ''
    let asked = false
    socket.on('error', () => {})
    socket.on('data', function greet(chunk: Buffer) {
      text += chunk.toString('latin1')
      if (!asked && text.includes('\r\n\r\n')) {
        asked = true
        socket.write(subscribe)
      }
      if (!text.includes('"type":"subscribed"')) return
      socket.off('data', greet)
      done(socket)
    })
  })
}

/** Masked with zeros, which changes nothing. */
function maskedFrame(text: string): Buffer {
  const header =
    text.length < 126 ? [0x81, 0x80 | text.length] : [0x81, 0x80 | 126, text.length >> 8, text.length & 0xff]
  return Buffer.concat([Buffer.from([...header, 0, 0, 0, 0]), Buffer.from(text)])
}
