import { execFileSync } from 'node:child_process'
import type { Static, TObject } from 'typebox'
import { expect, it } from 'vitest'
import { channelOf, topicOf } from '../../client/events.ts'
import { Selection } from '../../client/selection.ts'
import type * as wire from '../../client/wire.ts'
import { matchesPattern } from '../../src/gateway/ws/wildcard.ts'
import { CHANNELS, type Channel } from '../../src/market/event.ts'
import type { Command } from '../../src/protocol/commands.ts'
import type { DELIVERY, ENVELOPE, PAYLOADS } from '../../src/protocol/events.ts'
import type { ServerMessage } from '../../src/protocol/messages.ts'

it('has the types of the wire as the schemas say them', () => {
  expect(execFileSync(process.execPath, ['client/generate-wire.mjs', '--check'], { encoding: 'utf8' })).toBe(
    '',
  )
})

/** These lines do not compile where a client would take a message for something else than what is sent. */
type Sent = { [K in keyof typeof PAYLOADS]: Static<(typeof PAYLOADS)[K]> }[keyof typeof PAYLOADS]
type Around = Static<TObject<typeof ENVELOPE & typeof DELIVERY>> & { readonly v: 1 }
const takesEvents: Around & Sent extends wire.DataEvent ? true : never = true
const takesMessages: ServerMessage extends wire.ServerMessage ? true : never = true
type Mutable<T> = T extends object ? { -readonly [K in keyof T]: Mutable<T[K]> } : T
const sendsCommands: Mutable<wire.Command> extends Command ? true : never = true

it('takes and sends what the gateway sends and takes', () => {
  expect([takesEvents, takesMessages, sendsCommands]).toEqual([true, true, true])
})

it('names topics as the gateway does, of every channel', () => {
  for (const [channel, { type, subject, timeframe }] of Object.entries(CHANNELS)) {
    const event = { source: 's', type, [subject]: 'X', ...(timeframe ? { timeframe: '1m' } : {}) } as never
    expect(channelOf(event)).toBe(channel)
    const id = `s|${channel}|X${timeframe ? '|1m' : ''}`
    expect(topicOf(event)).toBe(id)
    const gap = { ...(event as object), type: 'gap', channel: channel as Channel } as never
    expect(topicOf(gap)).toBe(id)
  }
})

it('finds the topics of a pattern as the gateway does', () => {
  for (const pattern of ['*', 'BTC/*', '*/USDT', 'B*/U*T', 'A.C', 'BTC', '**', '']) {
    for (const symbol of ['BTC/USDT', 'ETH/USDT', 'BTC', 'ABC', 'A.C', 'BTC/', 'B*/U*T', 'BTC/USD(T']) {
      const mine = new Selection({ channel: 'ticker', symbols: [pattern] }).has(`s|ticker|${symbol}`)
      expect(mine, `${pattern} ${symbol}`).toBe(matchesPattern(pattern, symbol))
    }
  }
})
