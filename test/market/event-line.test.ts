import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { EncodedEvent } from '../../src/market/encoded-event.ts'
import { eventOf, linesOf, readLines, stampOf } from '../../src/market/event-line.ts'
import { topicOf } from '../../src/market/topic.ts'

describe('events carried between processes', () => {
  const topic = topicOf('venue', 'odds', 'MATCH_001')
  const positions = fc.record({
    epoch: fc.maxSafeNat(),
    seq: fc.maxSafeNat(),
    receivedTime: fc.maxSafeNat(),
    eventTime: fc.maxSafeNat(),
    key: fc.option(
      fc.string({ unit: 'grapheme' }).filter((key) => !/[\t\n]/.test(key)),
      { nil: undefined },
    ),
    body: fc.json({ noUnicodeString: false }).filter((text) => !text.includes('\n')),
  })

  it('are the same on the other side', () => {
    fc.assert(
      fc.property(fc.array(positions, { maxLength: 5 }), (all) => {
        const events = all.map(
          ({ epoch, seq, receivedTime, eventTime, key, body }) =>
            new EncodedEvent(topic, 'odds', epoch, seq, receivedTime, eventTime, key, Buffer.from(body)),
        )
        const read = readLines(linesOf(events))
        expect(read.map((event) => ({ ...event }))).toEqual(events.map((event) => ({ ...event })))
      }),
    )
  })

  it('are none where the stamp is torn or foreign', () => {
    const whole = stampOf({ epoch: 1, seq: 2, receivedTime: 3, eventTime: 4, key: 'a=b,c' } as EncodedEvent)
    expect(eventOf(topic.id, 'odds', whole, Buffer.from('{}'))).toMatchObject({ seq: 2, key: 'a=b,c' })
    for (const stamp of [
      '',
      '1',
      '1,2',
      '1,2,3',
      '1,2,3,4',
      '1,,3,4,',
      '1,2,x,4,',
      '-1,2,3,4,',
      '1,2,3,4,key',
    ])
      expect(eventOf(topic.id, 'odds', stamp, Buffer.from('{}')), stamp).toBeUndefined()
    expect(eventOf('no topic', 'odds', whole, Buffer.from('{}'))).toBeUndefined()
  })
})
