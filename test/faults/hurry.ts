import type { Connectors } from '../../src/connectors/connector.ts'
import { loadVenues } from '../../src/connectors/registry.ts'
import type { Venue } from '../../src/connectors/venue.ts'
import { venueConnector } from '../../src/connectors/venue-connector.ts'
import { PATIENCE, type Patience } from '../../src/manager/patience.ts'

/**
 * How impatient a gateway of these tests is. `calm`: nothing happens by itself while a busy machine is slow. `brisk`: what
 * is silent is noticed soon.
 */
export type Pace = 'calm' | 'brisk'

/** So long a venue may be silent, ms. */
const SILENT_MS = { calm: 5_000, brisk: 1_000 } as const

/** The venues' limits are so many times what they are: here they are not what is tested. */
const ROOM = 20

/** What waits for REST gets as long as ever. */
const CALM: Patience = {
  ...PATIENCE,
  sweepMs: 25,
  heartbeatGraceMs: 200,
  rebuildBaseMs: 10,
  rebuildCapMs: 200,
  soundMs: 200,
  backfillMs: 50,
  handoverMs: 1_000,
  lingerMs: 60,
  healthyMs: 300,
}

export const IMPATIENT: Patience = {
  ...CALM,
  doubtMs: 800,
  maxDoubtMs: 3_200,
  answerMs: 600,
  deliveryMs: 400,
  silenceMs: 1_600,
  tradeSilenceMs: 1_600,
  maxWaitMs: 6_400,
  graceMs: 200,
}

export const PATIENCE_OF: Readonly<Record<Pace, Patience>> = { calm: CALM, brisk: IMPATIENT }

const venues = await loadVenues()

/** How many times faster time goes for a venue in these tests. */
export function scaleOf(kind: string, pace: Pace = 'brisk'): number {
  return venues.get(kind)!.heartbeat.silentMs / SILENT_MS[pace]
}

/** The venue, in compressed time and with wide limits; all else is as it is. */
export function hurriedConnectors(kind: string, pace: Pace = 'brisk'): Connectors {
  const connector = venueConnector(hurried(venues.get(kind)!, scaleOf(kind, pace)))
  return {
    kinds: [kind],
    prepare: async () => {},
    exchanges: () => [],
    connectorFor: (wanted) => (wanted === kind ? connector : undefined),
  }
}

function hurried(venue: Venue, scale: number): Venue {
  const { heartbeat, limits } = venue
  const { ping, quietMs } = heartbeat
  const wider = <L extends { readonly count: number }>(limit: L): L => ({
    ...limit,
    count: limit.count * ROOM,
  })
  return {
    ...venue,
    heartbeat: {
      silentMs: heartbeat.silentMs / scale,
      ...(ping && { ping: { ...ping, everyMs: ping.everyMs / scale } }),
      ...(quietMs && {
        quietMs: (subscription) => {
          const ms = quietMs(subscription)
          return ms === undefined ? undefined : ms / scale
        },
      }),
    },
    ...(venue.polled && {
      polled: venue.polled.map((channel) => ({ ...channel, everyMs: channel.everyMs / scale })),
    }),
    limits: {
      ...limits,
      messagesPerSecond: limits.messagesPerSecond * ROOM,
      connects: wider(limits.connects),
      ...(limits.requests && { requests: wider(limits.requests) }),
      ...(limits.rest && { rest: wider(limits.rest) }),
    },
  }
}
