import type { Store, StoredPosition } from '../store/store.ts'
import type { Positions } from './positions.ts'
import { laterOf } from './unstored.ts'

/**
 * Positions as the store will have them, for nodes that share one: `unstored` says what the bus still holds for it.
 */
export function createStorePositions(
  store: Pick<Store, 'positions'>,
  unstored: () => Promise<ReadonlyMap<string, StoredPosition>>,
): Positions {
  /** Of the sources that this node owns or owned; bounded as topics are. */
  const known = new Map<string, StoredPosition>()
  /** Sources that are taken over together look once. */
  let looking: Promise<ReadonlyMap<string, StoredPosition>> | undefined
  return {
    load: async (source) => {
      looking ??= unstored().finally(() => {
        looking = undefined
      })
      const waiting = await looking
      // Behind the look: what was stored meanwhile is in both.
      const stored = await store.positions(source)
      const topics = new Set([
        ...stored.keys(),
        ...[...waiting.keys()].filter((id) => id.startsWith(`${source}|`)),
      ])
      for (const id of topics) known.set(id, laterOf(stored.get(id), waiting.get(id))!)
    },
    last: (topicId) => known.get(topicId),
    stored: () => {},
    close: () => {},
  }
}
