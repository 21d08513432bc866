import { readdir } from 'node:fs/promises'
import { FeedgateError } from '../errors.ts'
import { type CcxtConnectors, loadCcxtConnectors } from './ccxt.ts'
import type { Connector, Connectors } from './connector.ts'
import { createSimulator } from './simulator/simulator.ts'
import type { Venue } from './venue.ts'
import { venueConnector } from './venue-connector.ts'

/** Venue files are `.js` where the program was compiled and `.ts` where tests run the sources. */
const VENUE_FILE = /^(?!.*\.d\.ts$)[a-z0-9-]+\.(js|ts)$/

/** The folder is the registry: each file of `venues/` that exports a `venue` is one, and no list names them. */
export async function loadVenues(): Promise<ReadonlyMap<string, Venue>> {
  const folder = new URL('./venues/', import.meta.url)
  const venues = new Map<string, Venue>()
  for (const file of await readdir(folder)) {
    if (!VENUE_FILE.test(file)) continue
    const { venue } = (await import(new URL(file, folder).href)) as { venue?: Venue }
    if (venue) venues.set(venue.id, venue)
  }
  return venues
}

/**
 * One connector for each venue, so that its REST limits hold for all its sources together; simulators are apart. ccxt is
 * loaded by `prepare`.
 */
export async function loadConnectors(): Promise<Connectors> {
  const connectors = new Map<string, Connector>()
  for (const [id, venue] of await loadVenues()) connectors.set(id, venueConnector(venue))
  let ccxt: CcxtConnectors | undefined
  return {
    kinds: ['ccxt', 'simulator', ...connectors.keys()].toSorted(),
    prepare: async (kind) => {
      if (kind === 'ccxt') ccxt ??= await loadCcxtConnectors()
    },
    connectorFor: (kind, options) => {
      if (kind === 'simulator') return createSimulator(options)
      if (kind !== 'ccxt') return connectors.get(kind)
      if (!ccxt) throw new FeedgateError('not-ready', 'ccxt is not loaded yet')
      return ccxt.connectorFor(options.exchange ?? '')
    },
    exchanges: () => ccxt?.exchanges ?? [],
  }
}
