/** How long the manager waits before it doubts, asks again or gives up, ms. Tests wait less. */
export interface Patience {
  /** Connections and subscriptions are looked after so often. */
  readonly sweepMs: number
  /** A connection on which nothing is heard for so long is doubted; each time it proves to be quiet, twice as long. */
  readonly doubtMs: number
  readonly maxDoubtMs: number
  /** A venue answers requests at once: when it says nothing at all for so long after one, the connection is dead. */
  readonly answerMs: number
  /** So long a request may take by which a silent connection is judged. */
  readonly probeMs: number
  /** A subscription that was neither acknowledged nor delivered is asked for again, then ever more rarely. */
  readonly deliveryMs: number
  /** A book that is silent for so long is compared with what the venue gives in another way, then ever more rarely. */
  readonly silenceMs: number
  /** Trades that are: calm markets have none for long. */
  readonly tradeSilenceMs: number
  /** However rarely: so often all the same. */
  readonly maxWaitMs: number
  /** When the venue by REST is ahead of a stream, the stream gets so long to deliver. */
  readonly graceMs: number
  /** A heartbeat may overtake the trade it tells of by so much. */
  readonly heartbeatGraceMs: number
  /** A book that fails again and again must not burden its venue: the first delay, which doubles, and the longest. */
  readonly rebuildBaseMs: number
  readonly rebuildCapMs: number
  /** A book that was right for so long is rebuilt at once when it fails. */
  readonly soundMs: number
  /** A venue that does not give trades again is asked ever more slowly, at first after so long. */
  readonly backfillMs: number
  /** When a connection replaces another, topics that stay silent on it are handed over after so long. */
  readonly handoverMs: number
  /** A connection that was replaced is read for so long: what was on its way still counts. */
  readonly lingerMs: number
  /** Connections of which one could carry what two do are looked for so often. */
  readonly mergeMs: number
  /** What one of two sides lacks is waited for at the other, before it is a hole. */
  readonly sideMs: number
  /** Of two sides one is active: when it is silent for so long while the other speaks, that takes over. */
  readonly sideSilentMs: number
  /** A connection that lived so long and delivered something has proved itself: the next failure is the first again. */
  readonly healthyMs: number
}

export const PATIENCE: Patience = {
  sweepMs: 1_000,
  doubtMs: 10_000,
  maxDoubtMs: 600_000,
  answerMs: 8_000,
  probeMs: 5_000,
  deliveryMs: 10_000,
  silenceMs: 15_000,
  tradeSilenceMs: 60_000,
  maxWaitMs: 300_000,
  graceMs: 3_000,
  heartbeatGraceMs: 2_000,
  rebuildBaseMs: 500,
  rebuildCapMs: 30_000,
  soundMs: 10_000,
  backfillMs: 1_000,
  handoverMs: 10_000,
  lingerMs: 1_000,
  mergeMs: 60_000,
  sideMs: 500,
  sideSilentMs: 2_000,
  healthyMs: 10_000,
}
