import { constants, deflateRawSync } from 'node:zlib'
import { signals } from '../../signals.ts'
import { compressedFrame, payloadOf } from './frame.ts'

/** Smaller ones gain nothing; larger ones would hold the event loop for longer than a few ms. */
const MIN_BYTES = 512
const MAX_BYTES = 256 * 1_024
/** What this process compresses at most: about a tenth of a core. Beyond it frames leave as they are. */
const BYTES_PER_MS = 16 * 1_024
const BURST_BYTES = 4 * 1_048_576
/** A call takes so long by itself (15 µs). */
const CALL_BYTES = 2_048
/** An empty block, which a message of permessage-deflate leaves out (RFC 7692, 7.2.1). */
const TAIL_BYTES = 4

/**
 * Compresses frames as permessage-deflate without context takeover has them: each stands for itself, so that one is sent
 * to all who negotiated it. Whether a message is compressed is told by each message, so none has to be.
 */
export class Deflater {
  readonly #now: () => number
  #left = BURST_BYTES
  #at: number

  /** `now`: ms of a clock that only goes forward. */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now
    this.#at = now()
  }

  /** The frame compressed, or as it is. */
  frame(plain: Buffer): Buffer {
    const payload = payloadOf(plain)
    if (payload.length < MIN_BYTES || payload.length > MAX_BYTES || !this.#spend(payload.length + CALL_BYTES))
      return plain
    const deflated = deflateRawSync(payload, {
      level: 1,
      // No wider than what is compressed: less memory to be made for each.
      windowBits: Math.min(15, 32 - Math.clz32(payload.length - 1)),
      chunkSize: payload.length,
      finishFlush: constants.Z_SYNC_FLUSH,
    })
    const bytes = deflated.length - TAIL_BYTES
    const gained = bytes < payload.length
    signals.frameDeflated.emit({ plain: payload.length, deflated: gained ? bytes : payload.length })
    return gained ? compressedFrame(plain, deflated.subarray(0, bytes)) : plain
  }

  #spend(bytes: number): boolean {
    const now = this.#now()
    this.#left = Math.min(BURST_BYTES, this.#left + (now - this.#at) * BYTES_PER_MS)
    this.#at = now
    if (this.#left < bytes) return false
    this.#left -= bytes
    return true
  }
}
