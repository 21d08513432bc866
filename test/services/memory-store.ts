import type { BusBatch, DeadLetter, OffsetRange } from '../../src/bus/bus.ts'
import { FeedgateError } from '../../src/errors.ts'
import type { EncodedEvent } from '../../src/market/encoded-event.ts'
import type { Store } from '../../src/store/store.ts'

/** Only what the recorder uses: rows, and offsets that move on only from where they are. */
export class MemoryStore {
  readonly rows: EncodedEvent[] = []
  readonly letters: DeadLetter[] = []
  readonly stands = new Map<string, string>()
  fences = 0
  away = false
  /** Of one write. */
  ms = 0

  async record({ events, deadLetters, offsets = new Map<string, OffsetRange>() }: BusBatch): Promise<void> {
    await new Promise((resolve) => setTimeout(resolve, this.ms))
    if (this.away) throw new Error('the database is away')
    for (const [partition, { from }] of offsets) {
      if ((this.stands.get(partition) ?? '0') === from) continue
      this.fences++
      throw new FeedgateError('fenced', `another recorder has ${partition} now`)
    }
    for (const [partition, { to }] of offsets) this.stands.set(partition, to)
    this.rows.push(...events)
    this.letters.push(...deadLetters)
  }

  async offsets(_group: string, partitions: readonly string[]): Promise<ReadonlyMap<string, string>> {
    if (this.away) throw new Error('the database is away')
    return new Map([...this.stands].filter(([partition]) => partitions.includes(partition)))
  }

  get store(): Store {
    return {
      ready: async () => {},
      record: this.record.bind(this),
      offsets: this.offsets.bind(this),
    } as Partial<Store> as Store
  }
}
