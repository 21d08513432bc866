import { EncodedEvent } from './encoded-event.ts'
import type { EventType } from './event.ts'
import { parseTopic } from './topic.ts'

/**
 * What an `EncodedEvent` has beside its topic and its bytes, as text, so that whoever carries events between processes
 * need not parse them again: `epoch,seq,receivedTime,eventTime,` and the conflation key after `=`, if there is one.
 */
export function stampOf({ epoch, seq, receivedTime, eventTime, key }: EncodedEvent): string {
  return `${epoch},${seq},${receivedTime},${eventTime},${key === undefined ? '' : `=${key}`}`
}

/** Undefined: what was carried is no event. */
export function eventOf(
  topicId: string,
  type: string,
  stamp: string,
  bytes: Buffer,
  trace?: string,
): EncodedEvent | undefined {
  const topic = parseTopic(topicId)
  const numbers = readStamp(stamp)
  if (!topic || !numbers) return undefined
  const [epoch, seq, receivedTime, eventTime, end] = numbers
  const key = end < stamp.length ? stamp.slice(end + 1) : undefined
  const event = new EncodedEvent(topic, type as EventType, epoch, seq, receivedTime, eventTime, key, bytes)
  if (trace) event.trace = trace
  return event
}

type Stamp = [epoch: number, seq: number, receivedTime: number, eventTime: number, end: number]

/** Every event that crosses a process comes through here: no regular expression, no pieces of text. */
function readStamp(stamp: string): Stamp | undefined {
  const numbers: Stamp = [0, 0, 0, 0, 0]
  let at = 0
  for (let n = 0; n < 4; n++) {
    const begin = at
    let value = 0
    for (; at < stamp.length && stamp.charCodeAt(at) !== COMMA; at++) {
      const digit = stamp.charCodeAt(at) - ZERO
      if (digit < 0 || digit > 9) return undefined
      value = value * 10 + digit
    }
    if (at === begin || at === stamp.length) return undefined
    numbers[n] = value
    at++
  }
  if (at < stamp.length && stamp.charCodeAt(at) !== EQUALS) return undefined
  numbers[4] = at
  return numbers
}

/** Topic, type, stamp and trace, then the event itself: tab-separated, ended by a line feed, which none of them holds. */
export function linesOf(events: readonly EncodedEvent[]): Buffer {
  const parts: Buffer[] = []
  for (const event of events) {
    const head = `${event.topic.id}\t${event.type}\t${stampOf(event)}\t${event.trace ?? ''}\t`
    parts.push(Buffer.from(head), event.bytes, NEWLINE)
  }
  return Buffer.concat(parts)
}

/** Lines that are torn or foreign are left out. The events share the buffer. */
export function readLines(lines: Buffer): EncodedEvent[] {
  const events: EncodedEvent[] = []
  for (let at = 0; at < lines.length; ) {
    const end = lines.indexOf(LINE_FEED, at)
    if (end < 0) break
    const event = readLine(lines.subarray(at, end))
    if (event) events.push(event)
    at = end + 1
  }
  return events
}

function readLine(line: Buffer): EncodedEvent | undefined {
  let tab = -1
  for (let n = 0; n < 4; n++) {
    tab = line.indexOf(TAB, tab + 1)
    if (tab < 0) return undefined
  }
  const [topicId, type, stamp, trace] = line.toString('utf8', 0, tab).split('\t') as [
    string,
    string,
    string,
    string,
  ]
  return eventOf(topicId, type, stamp, line.subarray(tab + 1), trace)
}

const NEWLINE = Buffer.from('\n')
const LINE_FEED = 0x0a
const TAB = 0x09
const COMMA = 0x2c
const ZERO = 0x30
const EQUALS = 0x3d
