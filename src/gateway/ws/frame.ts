/** Frames of a server: final and not masked (RFC 6455, 5.2). */

const TEXT = 0x81
const BINARY = 0x82
/** The payload is compressed (RFC 7692, 6). */
const RSV1 = 0x40

function headerLength(length: number): number {
  return length < 126 ? 2 : length < 65_536 ? 4 : 10
}

function writeHeader(target: Buffer, length: number, type = TEXT): number {
  target[0] = type
  if (length < 126) {
    target[1] = length
    return 2
  }
  if (length < 65_536) {
    target[1] = 126
    target.writeUInt16BE(length, 2)
    return 4
  }
  target[1] = 127
  target.writeUInt32BE(0, 2)
  target.writeUInt32BE(length, 6)
  return 10
}

export function textFrame(text: string): Buffer {
  const length = Buffer.byteLength(text)
  const frame = Buffer.allocUnsafe(headerLength(length) + length)
  frame.write(text, writeHeader(frame, length))
  return frame
}

/** One message of these parts. */
export function binaryFrame(parts: readonly Buffer[]): Buffer {
  return frameOf(BINARY, parts)
}

/** The frame with another payload, which is the compressed one. */
export function compressedFrame(frame: Buffer, payload: Buffer): Buffer {
  return frameOf(frame[0]! | RSV1, [payload])
}

function frameOf(type: number, parts: readonly Buffer[]): Buffer {
  let length = 0
  for (const part of parts) length += part.length
  const frame = Buffer.allocUnsafe(headerLength(length) + length)
  let at = writeHeader(frame, length, type)
  for (const part of parts) at += part.copy(frame, at)
  return frame
}

/** `body` without its closing brace, then `tail`, which is ASCII and ends in a brace. */
export function eventFrame(body: Buffer, tail: string): Buffer {
  const kept = body.length - 1
  const length = kept + tail.length
  const frame = Buffer.allocUnsafe(headerLength(length) + length)
  const at = writeHeader(frame, length)
  body.copy(frame, at, 0, kept)
  frame.write(tail, at + kept, 'latin1')
  return frame
}

/** One text frame that holds a JSON array of what the frames hold. */
export function arrayFrame(frames: readonly Buffer[]): Buffer {
  let length = frames.length + 1
  for (const frame of frames) length += frame.length - payloadStart(frame)
  const array = Buffer.allocUnsafe(headerLength(length) + length)
  let at = writeHeader(array, length)
  for (const [index, frame] of frames.entries()) {
    array[at++] = index === 0 ? 0x5b : 0x2c
    at += frame.copy(array, at, payloadStart(frame))
  }
  array[at] = 0x5d
  return array
}

function payloadStart(frame: Buffer): number {
  const length = frame[1]!
  return length < 126 ? 2 : length === 126 ? 4 : 10
}

export function payloadOf(frame: Buffer): Buffer {
  return frame.subarray(payloadStart(frame))
}

/** Frames in runs of about `bytes`, so that of a long write it can be seen how far it got. */
export function* runsOf(frames: readonly Buffer[], bytes: number): Iterable<readonly Buffer[]> {
  let run: Buffer[] = []
  let length = 0
  for (const frame of frames) {
    run.push(frame)
    length += frame.length
    if (length < bytes) continue
    yield run
    run = []
    length = 0
  }
  if (run.length > 0) yield run
}

/** Several frames as one write. */
export function joinFrames(frames: readonly Buffer[]): Buffer {
  return frames.length === 1 ? frames[0]! : Buffer.concat(frames)
}
