import type { Store } from '../store/store.ts'
import type { Position, Positions } from './positions.ts'

/**
 * Positions as the store has them, for nodes that share one. `settled` waits until what was published before is stored, for
 * as long as it is worth it; false: it is not known to be, and then nothing may claim to follow what is stored.
 */
export function createStorePositions(
  store: Pick<Store, 'positions'>,
  settled: () => Promise<boolean>,
): Positions {
  /** Of the sources that this node owns or owned; bounded as topics are. */
  const known = new Map<string, Position>()
  return {
    load: async (source) => {
      const certain = await settled()
      for (const [topicId, position] of await store.positions(source))
        known.set(topicId, certain ? position : { ...position, uncertain: true })
    },
    last: (topicId) => known.get(topicId),
    stored: () => {},
    close: () => {},
  }
}
