import type { DecodedEvent, FetchedTrades, TradeRules } from '../connectors/connector.ts'
import type { Flag, Gap, Micros, VenueId } from '../market/event.ts'
import { signals } from '../signals.ts'
import { Backfill, type FetchTrades } from './backfill.ts'
import type { Keeper, Role, StateListener } from './keeper.ts'
import type { Patience } from './patience.ts'
import type { Position } from './positions.ts'
import { Repeats } from './repeats.ts'
import { SeenIds, WINDOW } from './seen-ids.ts'
import type { Output } from './topic-writer.ts'
import { idAfter, idBefore, parseVenueId } from './venue-ids.ts'

/** When a trade was made and when it was received lie so far apart at most, µs. */
const TIME_SLACK = 60_000_000

export interface TradeKeeperOptions {
  readonly writer: Output
  readonly rules: TradeRules
  readonly patience: Patience
  /** Where the topic ends in the store. */
  readonly stored?: Position | undefined
  readonly changed: StateListener
  /** Of venues that give trades again. */
  readonly fetch?: FetchTrades | undefined
  now(): Micros
}

/** Without an update it could not be read. */
interface Ahead {
  readonly update?: DecodedEvent
  readonly receivedTime: Micros
}

const NONE: FetchedTrades = { trades: [], complete: false }

/** The newest trade that is known. */
interface LastTrade {
  readonly id?: string | undefined
  /** When it was made; where the venue does not tell, a time before which it was not, and one after which it was not. */
  readonly earliest: Micros
  readonly latest: Micros
}

/**
 * Each trade once, by the venue's id; where ids grow by one, a jump is a hole, declared before the trade behind it.
 * What the venue gives again of a hole follows later, flagged `backfilled`, and when that was all of it, the gap once
 * more with `repairedBy`. A late trade that fills a hole is published too. Trades without ids are told by their times.
 */
export class TradeKeeper implements Keeper {
  readonly #options: TradeKeeperOptions
  readonly #writer: Output
  readonly #contiguous: boolean
  /** µs. */
  readonly #heartbeatGrace: number
  readonly #changed: StateListener
  readonly #now: () => Micros
  #backfill: Backfill | undefined
  #last: LastTrade | undefined
  /** The one before it. */
  #lastButOne: LastTrade | undefined
  readonly #seen: SeenIds
  /** The highest id; undefined where ids prove nothing. */
  #high: VenueId | undefined
  /** Something may be missing since the last trade, and why. */
  #doubt: string | undefined
  /** Told by the next connection alone, where ids are not contiguous; at most `WINDOW`, then it begins anew. */
  readonly #ahead: Ahead[] = []
  /** The newest of those that the stream withholds. */
  #withheld: (LastTrade & { readonly id: string }) | undefined
  /** Of trades without ids. */
  readonly #repeats = new Repeats()
  /** A heartbeat told of a trade that we do not have yet. */
  #awaited: { id: VenueId; since: Micros } | undefined

  constructor(options: TradeKeeperOptions) {
    const { writer, rules, patience, stored, changed, fetch, now } = options
    this.#options = options
    this.#writer = writer
    this.#contiguous = rules.contiguousIds
    this.#heartbeatGrace = patience.heartbeatGraceMs * 1_000
    this.#changed = changed
    this.#now = now
    const ids = stored?.tradeIds ?? []
    this.#seen = new SeenIds(ids)
    if (writer.epoch !== null) this.#doubt = 'reconnect'
    for (const id of ids) this.#raise(parseVenueId(id))
    if (stored) this.#last = { id: ids.at(-1), ...madeAbout(stored.receivedTime) }
    if (fetch)
      this.#backfill = new Backfill(fetch, patience.backfillMs, {
        trade: (trade) => this.#backfilled(trade),
        isWhole: (gap) => this.#isWhole(gap),
        repaired: (gap) => this.#writer.gap({ ...gap, repairedBy: 'backfill' }, { receivedTime: now() }),
      })
  }

  received(update: DecodedEvent, receivedTime: Micros, role: Role): boolean {
    const { payload, sourceTime, flags, venueSeq } = update
    const id = payload.type === 'trade' ? payload.id : undefined
    // Two connections are told apart by id; without one, only one of them counts.
    if (id === undefined && role === 'old') return false
    if (role === 'next' && this.#mustWait(id)) {
      this.#wait({ update, receivedTime })
      return false
    }
    if (id === undefined ? this.#isRepeat(update) : !this.#seen.add(id)) {
      if (role === 'next') this.#tellAhead()
      return role === 'next'
    }
    // What has no id and is no repeat: its last trades did not reach back to those that are known.
    if (role === 'next' && id === undefined && this.#last) this.#doubt ??= 'reconnect'
    const made = sourceTime === undefined ? madeAbout(receivedTime) : exactly(sourceTime)
    // What a connection that was replaced still says, where ids tell no order, is not where a hole would be.
    if (role !== 'old' || this.#contiguous) this.#declareHole({ id, ...made }, receivedTime, flags)
    this.#writer.write(payload, { receivedTime, sourceTime, flags, venueSeq })
    this.#changed('live')
    return role === 'next' || (id !== undefined && this.#meets(id))
  }

  /**
   * Where ids are contiguous a jump shows what is missing between two connections. Else the next takes over at a trade
   * that both tell, and until then what it tells waits for the connection in charge.
   */
  #mustWait(id: string | undefined): boolean {
    return !this.#contiguous && id !== undefined && this.#last !== undefined && !this.knows(id)
  }

  #wait(entry: Ahead): void {
    if (this.#ahead.length >= WINDOW) this.#ahead.length = 0
    this.#ahead.push(entry)
  }

  /** True where the next connection has told this trade already: from there on all is known. */
  #meets(id: string): boolean {
    const met = this.#ahead.some((entry) => idOf(entry.update) === id)
    if (met) this.#tellAhead()
    return met
  }

  #tellAhead(): void {
    for (const { update, receivedTime } of this.#ahead.splice(0)) {
      if (update) this.received(update, receivedTime, 'current')
      else this.malformed(receivedTime, true, 'current')
    }
  }

  /** Was a trade of this id published lately? */
  knows(id: string): boolean {
    return this.#seen.has(id)
  }

  /** Would a trade of this id show a hole before it? */
  leaps(id: VenueId): boolean {
    return this.#contiguous && this.#high !== undefined && id > idAfter(this.#high)
  }

  lastTrade(id: string, receivedTime: Micros): void {
    const last = parseVenueId(id)
    if (!this.#contiguous || last === undefined) return
    if (this.#high === undefined) {
      this.#high = last
      this.#last ??= { id, ...madeAbout(receivedTime) }
      return
    }
    const awaited = this.#awaited
    if (last > this.#high) this.#awaited ??= { id: last, since: receivedTime }
    if (!awaited) return
    if (awaited.id <= this.#high) this.#awaited = undefined
    else if (receivedTime - awaited.since >= this.#heartbeatGrace) {
      this.#hole('sequence', awaited.id, receivedTime, undefined, {
        id: String(idAfter(awaited.id)),
        ...madeAbout(receivedTime),
      })
      this.#high = awaited.id
      this.#awaited = undefined
    }
  }

  /** Asks the venue another way whether trades were made while the stream was silent. */
  async isWithheld(): Promise<boolean> {
    const { fetch, patience, now } = this.#options
    const last = this.#last
    if (!fetch || !last) return false
    const wanted = {
      ...(last.id !== undefined && { afterId: last.id }),
      afterTime: last.earliest,
      untilTime: madeAbout(now()).latest,
    }
    const { trades } = await fetch(wanted, AbortSignal.timeout(patience.probeMs)).catch(() => NONE)
    const newest = trades.at(-1)
    const id = idOf(newest)
    if (id === undefined || this.knows(id)) return false
    await new Promise((resolve) => setTimeout(resolve, patience.graceMs).unref())
    if (this.#last !== last) return false
    const receivedTime = now()
    this.#withheld = { id, ...(newest?.sourceTime ? exactly(newest.sourceTime) : madeAbout(receivedTime)) }
    return true
  }

  /** They were: what the venue has told by then is a hole, and is fetched. */
  withheld(): void {
    const newest = this.#withheld
    if (!newest) return
    const receivedTime = this.#now()
    const next = madeAbout(receivedTime)
    const id = parseVenueId(newest.id)
    if (this.#high === undefined || id === undefined)
      this.#repair(this.#writer.gap({ reason: 'no data' }, { receivedTime }), next)
    else if (id > this.#high) this.#hole('no data', id, receivedTime, undefined, next)
    this.#raise(id)
    this.#follow(newest)
    this.#withheld = undefined
    // Until the stream goes on, more may be made.
    this.#doubt = 'no data'
  }

  interrupted(): void {
    if (this.#writer.epoch !== null) this.#doubt = 'reconnect'
    this.#awaited = undefined
  }

  /** The next trade shows the hole: with its ids where they are contiguous, else it is one whatever comes. */
  malformed(receivedTime: Micros, _named: boolean, role: Role): void {
    if (role === 'next') this.#wait({ receivedTime })
    else if (role === 'current' && !this.#contiguous && this.#writer.epoch !== null)
      this.#doubt ??= 'malformed'
  }

  abandoned(): void {
    this.#ahead.length = 0
  }

  takenOver(lost: boolean): void {
    if (lost || this.#ahead.length > 0) this.interrupted()
    this.#tellAhead()
  }

  acknowledged(): void {
    this.#repeats.expect()
  }

  close(): void {
    this.#backfill?.close()
  }

  #backfilled({ payload, sourceTime, flags, venueSeq }: DecodedEvent): void {
    const id = payload.type === 'trade' ? payload.id : undefined
    if (id !== undefined && !this.#seen.add(id)) return
    this.#writer.write(payload, { receivedTime: this.#now(), sourceTime, flags, venueSeq })
    const { source, channel } = this.#writer.topic
    signals.backfilled.emit({ source, channel, count: 1 })
  }

  #isRepeat({ payload, sourceTime }: DecodedEvent): boolean {
    if (payload.type !== 'trade' || sourceTime === undefined) return false
    const { price, size, side } = payload
    if (!this.#repeats.isRepeat(sourceTime, `${price} ${size} ${side}`)) return false
    // What follows begins with what is known: nothing was missed.
    if (this.#doubt === 'reconnect') this.#doubt = undefined
    return true
  }

  /** Venues may be slower by REST than on their streams. Of what is too much to remember they are believed. */
  #isWhole({ fromVenueSeq, toVenueSeq }: Gap): boolean {
    if (fromVenueSeq === undefined || toVenueSeq === undefined) return true
    if (BigInt(toVenueSeq) - BigInt(fromVenueSeq) >= WINDOW) return true
    for (let id = fromVenueSeq; id <= toVenueSeq; id = idAfter(id)) if (!this.knows(String(id))) return false
    return true
  }

  #declareHole(next: LastTrade, receivedTime: Micros, flags: readonly Flag[] | undefined): void {
    const number = this.#contiguous && next.id !== undefined ? parseVenueId(next.id) : undefined
    const reason = this.#doubt
    this.#doubt = undefined
    if (number === undefined || this.#high === undefined) {
      // What could not be read may be older than the last that could.
      const since = reason === 'malformed' ? (this.#lastButOne ?? this.#last) : this.#last
      if (reason !== undefined)
        this.#repair(this.#writer.gap({ reason }, { receivedTime, flags }), next, since)
    } else if (number > idAfter(this.#high)) {
      this.#hole(reason ?? 'sequence', idBefore(number), receivedTime, flags, next)
    } else if (number < this.#high && BigInt(this.#high) - BigInt(number) >= WINDOW) {
      // No late trade comes so late: the venue counts anew, or an id was absurd. What lies between, nobody can say.
      this.#writer.gap({ reason: 'sequence' }, { receivedTime, flags })
      this.#high = number
    }
    this.#raise(number)
    // A late one is not where a hole would begin.
    if (number === undefined || number === this.#high) this.#follow(next)
  }

  #follow(last: LastTrade): void {
    this.#lastButOne = this.#last
    this.#last = last
  }

  #hole(
    reason: string,
    last: VenueId,
    receivedTime: Micros,
    flags: readonly Flag[] | undefined,
    next: LastTrade,
  ): void {
    const first = idAfter(this.#high as VenueId)
    const hole = { reason, fromVenueSeq: first, toVenueSeq: last }
    this.#repair(this.#writer.gap(hole, { receivedTime, flags }), next)
  }

  /** Asks for what lies between the last trade and the next. */
  #repair(gap: Gap | undefined, next: LastTrade, last = this.#last): void {
    if (!gap || !last) return
    this.#backfill?.repair(gap, {
      ...(last.id !== undefined && { afterId: last.id }),
      afterTime: last.earliest,
      ...(next.id !== undefined && { untilId: next.id }),
      untilTime: next.latest,
    })
  }

  #raise(number: VenueId | undefined): void {
    if (!this.#contiguous || number === undefined) return
    if (this.#high === undefined || number > this.#high) this.#high = number
  }
}

function idOf(update: DecodedEvent | undefined): string | undefined {
  return update?.payload.type === 'trade' ? update.payload.id : undefined
}

function exactly(time: Micros) {
  return { earliest: time, latest: time }
}

function madeAbout(receivedTime: Micros) {
  return { earliest: receivedTime - TIME_SLACK, latest: receivedTime + TIME_SLACK }
}
