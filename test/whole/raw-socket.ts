import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { until } from './program.ts'

export const UPGRADE = [
  'Host: localhost',
  'Upgrade: websocket',
  'Connection: Upgrade',
  'Sec-WebSocket-Version: 13',
  `Sec-WebSocket-Key: ${randomBytes(16).toString('base64')}`,
]

export const TEXT = 0x1
export const CONTINUATION = 0x0
export const CLOSE = 0x8
export const PING = 0x9
export const PONG = 0xa

/** One frame as a client may not send it; by default as it may. */
export function frame(
  opcode: number,
  payload: string | Buffer = '',
  options: { fin?: boolean; rsv?: number; mask?: boolean; length?: bigint } = {},
): Buffer {
  const { fin = true, rsv = 0, mask = true } = options
  const body = Buffer.from(payload)
  const length = options.length ?? BigInt(body.length)
  const head = [(fin ? 0x80 : 0) | (rsv << 4) | opcode]
  const size = Buffer.alloc(8)
  size.writeBigUInt64BE(length)
  if (length < 126n) head.push(Number(length))
  else if (length < 65_536n) head.push(126, ...size.subarray(6))
  else head.push(127, ...size)
  head[1]! |= mask ? 0x80 : 0
  // A mask of zeros leaves the payload as it is.
  return Buffer.concat([Buffer.from(head), mask ? Buffer.alloc(4) : Buffer.alloc(0), body])
}

/** A client that says whatever it likes, byte by byte. */
export class RawSocket {
  readonly socket: Socket
  received = Buffer.alloc(0)
  readonly ended: Promise<unknown>

  constructor(url: string) {
    this.socket = connect(Number(new URL(url).port), '127.0.0.1')
    this.socket.on('error', () => {})
    this.socket.on('data', (data) => {
      this.received = Buffer.concat([this.received, data])
    })
    this.ended = once(this.socket, 'close').catch(() => {})
  }

  write(...bytes: (string | Buffer)[]): this {
    for (const part of bytes) this.socket.write(part)
    return this
  }

  /** A request and all that is answered until the end of the connection, or of the header. */
  async request(lines: readonly string[], body = ''): Promise<string> {
    this.write(`${lines.join('\r\n')}\r\n\r\n${body}`)
    await Promise.race([this.ended, until(() => this.text.includes('\r\n\r\n'))])
    await Promise.race([this.ended, new Promise((go) => setTimeout(go, 20))])
    return this.text
  }

  get text(): string {
    return this.received.toString('latin1')
  }

  async upgrade(path = '/ws', ...headers: string[]): Promise<this> {
    const answer = await this.request([`GET ${path} HTTP/1.1`, ...UPGRADE, ...headers])
    if (!answer.startsWith('HTTP/1.1 101 ')) throw new Error(`not upgraded: ${answer}`)
    this.received = this.received.subarray(this.received.indexOf('\r\n\r\n') + 4)
    return this
  }

  /** The frames that came whole: the server's are never masked, and those of a test are short. */
  frames(): { opcode: number; payload: Buffer }[] {
    const frames = []
    for (let at = 0; at + 2 <= this.received.length; ) {
      const opcode = this.received[at]! & 0x0f
      let length = this.received[at + 1]! & 0x7f
      let start = at + 2
      if (length === 126) {
        length = this.received.readUInt16BE(at + 2)
        start += 2
      } else if (length === 127) {
        length = Number(this.received.readBigUInt64BE(at + 2))
        start += 8
      }
      if (start + length > this.received.length) break
      frames.push({ opcode, payload: this.received.subarray(start, start + length) })
      at = start + length
    }
    return frames
  }

  /** The code that the server closed with; undefined: without one. */
  async closeCode(): Promise<number | undefined> {
    await Promise.race([this.ended, until(() => this.frames().some(({ opcode }) => opcode === CLOSE))])
    const close = this.frames().find(({ opcode }) => opcode === CLOSE)
    return close && close.payload.length >= 2 ? close.payload.readUInt16BE(0) : undefined
  }
}
