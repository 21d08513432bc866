import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { WebSocket } from 'ws'
import { now } from '../src/clock.ts'
import { micros, SYMBOLS } from './venue.ts'

/** What a client got of one event. Times in µs; of a bare frame only the first three are known. */
export interface Arrival {
  readonly symbol: number
  readonly id: number
  /** From the venue's write to the client's read, by the monotonic clock. */
  readonly whole: number
  readonly seq: number
  readonly receivedTime: number
  readonly publishedTime: number
  readonly sentTime: number
  readonly arrived: number
}

const COLUMNS = [
  'symbol',
  'id',
  'whole',
  'seq',
  'receivedTime',
  'publishedTime',
  'sentTime',
  'arrived',
] as const

/** One client a symbol, all in one process of their own. */
export class Listeners {
  readonly #child: ChildProcess

  private constructor(child: ChildProcess) {
    this.#child = child
  }

  get pid(): number {
    return this.#child.pid!
  }

  /** Resolves when all have subscribed. `keys`: API keys, in turns. */
  static async start(program: string, url: string, keys: readonly string[]): Promise<Listeners> {
    const child = fork(program, ['--part', 'listeners', '--to', url, '--keys', keys.join()], {
      serialization: 'advanced',
    })
    const [ready] = await Promise.race([once(child, 'message'), once(child, 'exit')])
    if (ready !== 'ready') throw new Error('the clients ended')
    return new Listeners(child)
  }

  /** What came since the last call. */
  async arrivals(): Promise<Arrival[]> {
    this.#child.send('report')
    const [columns] = (await once(this.#child, 'message')) as [number[]]
    const arrivals: Arrival[] = []
    for (let at = 0; at < columns.length; at += COLUMNS.length)
      arrivals.push(
        Object.fromEntries(COLUMNS.map((name, n) => [name, columns[at + n]])) as unknown as Arrival,
      )
    return arrivals
  }

  end(): void {
    this.#child.kill('SIGKILL')
  }
}

interface Frame {
  readonly type?: string
  readonly rejected?: readonly unknown[]
  readonly seq?: number
  readonly receivedTime?: number
  readonly publishedTime?: number
  readonly sentTime?: number
  readonly id: string
  readonly price: string
  /** Of a bare frame. */
  readonly data?: { readonly a: number; readonly p: string }
}

/** The child. */
export async function listen(url: string, keys: readonly string[]): Promise<void> {
  let columns: number[] = []
  let subscribed = 0
  const take = (symbol: number, frame: Frame) => {
    const read = micros()
    if (frame.data) columns.push(symbol, frame.data.a, read - Number(frame.data.p), 0, 0, 0, 0, 0)
    else if (frame.type === 'trade') {
      columns.push(symbol, Number(frame.id), read - Number(frame.price), frame.seq!)
      columns.push(frame.receivedTime!, frame.publishedTime!, frame.sentTime!, now())
    } else if (frame.type === 'subscribed') {
      if (frame.rejected?.length) throw new Error(`rejected: ${JSON.stringify(frame.rejected)}`)
      if (++subscribed === SYMBOLS.length) process.send!('ready')
    } else if (frame.type === 'error' || frame.type === 'slow' || frame.type === 'resync')
      console.error('a client was told', frame)
  }
  for (const [symbol, name] of SYMBOLS.entries()) {
    const key = keys[symbol % keys.length]
    const socket = new WebSocket(url, {
      perMessageDeflate: false,
      ...(key && { headers: { 'x-api-key': key } }),
    })
    socket.on('message', (data: Buffer) => take(symbol, JSON.parse(data.toString()) as Frame))
    await once(socket, 'open')
    socket.send(JSON.stringify({ type: 'subscribe', channel: 'trades', symbols: [`${name}/USDT`] }))
  }
  process.on('message', () => {
    process.send!(columns)
    columns = []
  })
}
