import type { WebSocket } from 'ws'
import { BadMessage } from '../../protocol/parse.ts'
import { SUBPROTOCOLS } from '../../protocol/subprotocols.ts'
import { Deflater } from './deflate.ts'
import { arrayFrame, binaryFrame, eventFrame, payloadOf, textFrame } from './frame.ts'
import { arrayHeader, mapHeader, type PackedFields, pack, packFields } from './message-pack.ts'
import { jsonOf } from './message-unpack.ts'

/** How what a client is sent becomes frames, and what it says is read. Clients of one encoding share their frames. */
export interface Encoding {
  /** From 0, without holes. */
  readonly id: number
  /** As metrics have it. */
  readonly name: string
  /** The same without compression: what arrays are made of. */
  readonly plain: Encoding
  /** One event: its JSON, and what the gateway adds to it, as JSON in place of the closing brace. */
  event(body: Buffer, tail: string): Buffer
  /** One frame with an array of what these hold, which are not compressed. */
  array(frames: readonly Buffer[]): Buffer
  /** A message of the gateway's own. */
  message(message: object): Buffer
  /** The frame as it goes to all clients of a shape; only these are compressed, never what one client alone is sent. */
  shared(frame: Buffer): Buffer
  /** JSON of a message of the client. Throws BadMessage. */
  command(data: Buffer, binary: boolean): string
}

class Json implements Encoding {
  readonly id = 0
  readonly name = 'json'
  readonly plain = this
  readonly event = eventFrame
  readonly array = arrayFrame

  message(message: object): Buffer {
    return textFrame(JSON.stringify(message))
  }

  shared(frame: Buffer): Buffer {
    return frame
  }

  command(data: Buffer, binary: boolean): string {
    if (binary) throw new BadMessage('the message is binary: give JSON as text')
    return data.toString()
  }
}

/** Events that were packed: once each, whichever views, clients and frames they go to. It goes with the event's bytes. */
const packedEvents = new WeakMap<Buffer, PackedFields>()

/** Text frames are read as JSON here too. */
class MessagePack implements Encoding {
  readonly id = 1
  readonly name = 'msgpack'
  readonly plain = this
  /** Most events of a flush have the same one. */
  #tail = ''
  #added: PackedFields = { count: 0, bytes: Buffer.alloc(0) }

  event(body: Buffer, tail: string): Buffer {
    let packed = packedEvents.get(body)
    if (!packed) {
      packed = packFields(body)
      packedEvents.set(body, packed)
    }
    if (tail !== this.#tail) {
      this.#tail = tail
      this.#added = packFields(Buffer.from(`{${tail.slice(1)}`, 'latin1'))
    }
    const added = this.#added
    return binaryFrame([mapHeader(packed.count + added.count), packed.bytes, added.bytes])
  }

  array(frames: readonly Buffer[]): Buffer {
    return binaryFrame([arrayHeader(frames.length), ...frames.map(payloadOf)])
  }

  message(message: object): Buffer {
    return binaryFrame([pack(Buffer.from(JSON.stringify(message)))])
  }

  shared(frame: Buffer): Buffer {
    return frame
  }

  command(data: Buffer, binary: boolean): string {
    return binary ? jsonOf(data) : data.toString()
  }
}

/** One for the process: it bounds what the process compresses. */
const deflater = new Deflater()

class Deflated implements Encoding {
  readonly id: number
  readonly name: string
  readonly plain: Encoding

  constructor(plain: Encoding, id: number) {
    this.id = id
    this.name = `${plain.name}+deflate`
    this.plain = plain
  }

  event(body: Buffer, tail: string): Buffer {
    return this.plain.event(body, tail)
  }

  array(frames: readonly Buffer[]): Buffer {
    return this.plain.array(frames)
  }

  message(message: object): Buffer {
    return this.plain.message(message)
  }

  shared(frame: Buffer): Buffer {
    return deflater.frame(frame)
  }

  command(data: Buffer, binary: boolean): string {
    return this.plain.command(data, binary)
  }
}

export const JSON_TEXT: Encoding = new Json()
const MESSAGE_PACK: Encoding = new MessagePack()

export const ENCODINGS: readonly Encoding[] = [
  JSON_TEXT,
  MESSAGE_PACK,
  new Deflated(JSON_TEXT, 2),
  new Deflated(MESSAGE_PACK, 3),
]

const BY_SUBPROTOCOL: ReadonlyMap<string, Encoding> = new Map([
  [SUBPROTOCOLS.json, JSON_TEXT],
  [SUBPROTOCOLS.messagePack, MESSAGE_PACK],
])

/** The first that is known of those that a client offers; without one it goes on in JSON. */
export function subprotocolOf(offered: Iterable<string>): string | false {
  for (const name of offered) if (BY_SUBPROTOCOL.has(name)) return name
  return false
}

/** Is permessage-deflate offered, with the widest window for the server, as frames for all have it? */
export function canDeflate(offers: string): boolean {
  return /\bpermessage-deflate\b/.test(offers) && !offers.includes('server_max_window_bits')
}

/** What was negotiated. */
export function encodingOf({ protocol, extensions }: Pick<WebSocket, 'protocol' | 'extensions'>): Encoding {
  const plain = BY_SUBPROTOCOL.get(protocol) ?? JSON_TEXT
  return extensions === '' ? plain : ENCODINGS[plain.id + 2]!
}
