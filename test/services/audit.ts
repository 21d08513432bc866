import type { MarketTrade } from '../../src/exchange/exchange.ts'
import type { Message } from '../whole/program.ts'
import type { Place } from './listener.ts'

export interface Audit {
  readonly stored: number
  /** Trades that the venue sent, that are not stored and that no gap tells of. */
  readonly lost: readonly number[]
  /** Trades that are stored more than once, with the places of the first and the second. */
  readonly doubled: readonly { readonly id: string; readonly first: Place; readonly second: Place }[]
  /** Trades that are not stored and lie in a reported gap. */
  readonly inGaps: number
  readonly epochs: number
  /** Where the numbers of the topic do not go on by one, or an epoch claims more of the one before than is stored. */
  readonly broken: readonly Place[]
}

/** What is stored of a topic of trades (all of it, in order), held against the venue's trades since the first stored one. */
export function auditTrades(sent: readonly MarketTrade[], stored: readonly Message[]): Audit {
  const ids = new Map<string, Place>()
  const doubled: Audit['doubled'][number][] = []
  for (const event of stored) {
    if (event.type !== 'trade') continue
    const id = event.id as string
    const [first, second] = [ids.get(id), placeOf(event)]
    if (first) doubled.push({ id, first, second })
    else ids.set(id, second)
  }
  const first = [...ids.keys()].reduce((least, id) => Math.min(least, Number(id)), Number.POSITIVE_INFINITY)
  const missing = sent.filter(({ id }) => id >= first && !ids.has(`${id}`))
  const gaps = stored.filter((event) => event.type === 'gap')
  const lost = missing.filter((trade) => !gaps.some((gap) => covers(gap, trade))).map(({ id }) => id)
  return {
    stored: stored.length,
    lost,
    doubled,
    inGaps: missing.length - lost.length,
    epochs: new Set(stored.map(({ epoch }) => epoch)).size,
    broken: breaks(stored),
  }
}

function placeOf({ epoch, seq }: Message): Place {
  return [epoch as number, seq as number]
}

function covers(gap: Message, { id, time }: MarketTrade): boolean {
  if (gap.fromVenueSeq !== undefined && gap.toVenueSeq !== undefined) {
    return id >= Number(gap.fromVenueSeq) && id <= Number(gap.toVenueSeq)
  }
  return time >= (gap.fromTime as number) && time <= (gap.toTime as number)
}

/** Where the numbers of a topic do not go on by one, or an epoch does not begin where the one before ended. */
export function breaks(stored: readonly Message[]): Place[] {
  const broken: Place[] = []
  for (const [at, event] of stored.entries()) {
    const [epoch, seq] = placeOf(event)
    const before = stored[at - 1]
    const goesOn =
      before?.epoch === epoch
        ? seq === (before.seq as number) + 1
        : seq === 1 && (!before || joins(before, event))
    if (!goesOn) broken.push([epoch, seq])
  }
  return broken
}

/** An epoch that says nothing of the one before is allowed: who resumes there is told that it is unrecovered. */
function joins(before: Message, first: Message): boolean {
  if ((first.epoch as number) < (before.epoch as number)) return false
  if (first.prevEpoch === undefined) return true
  return first.prevEpoch === before.epoch && first.prevSeq === before.seq
}
