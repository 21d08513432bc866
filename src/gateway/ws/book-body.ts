import type { EncodedEvent } from '../../market/encoded-event.ts'
import type { BookPayload, Level } from '../../market/event.ts'

type BookShape = Pick<BookPayload, 'kind' | 'bids' | 'asks' | 'depth' | 'checksum'>

/** The envelope is the event's own bytes, up to its payload; `"kind"` cannot stand earlier: text is escaped. */
export function bookBody(event: EncodedEvent, shape: BookShape): Buffer {
  const envelope = event.bytes.subarray(0, event.bytes.indexOf(',"kind":'))
  const checksum = shape.checksum === undefined ? '' : `,"checksum":${shape.checksum}`
  const payload = `,"kind":"${shape.kind}","bids":${levelsText(shape.bids)},"asks":${levelsText(shape.asks)},"depth":${shape.depth}${checksum}}`
  return Buffer.concat([envelope, Buffer.from(payload, 'latin1')])
}

/** Prices and sizes are decimals, which need no escape. */
function levelsText(levels: readonly Level[]): string {
  let text = '['
  for (let at = 0; at < levels.length; at++)
    text += `${at === 0 ? '' : ','}["${levels[at]![0]}","${levels[at]![1]}"]`
  return `${text}]`
}
