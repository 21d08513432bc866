/** The right to run one source, held by one node at a time. */
export interface Lease {
  /**
   * Greater than any token of the source before and not below the present µs: the floor of every epoch that is opened under
   * the lease, and so what fences the owner before.
   */
  readonly token: number
  /** Ends when another node has the source now: nothing may be published under this lease any more. */
  readonly lost: AbortSignal
}

/**
 * Who runs which source. While the place where leases are kept is away, whoever has a lease goes on and nobody takes over;
 * a node that died is followed by another within 10 s.
 */
export interface Leases {
  /** Undefined: another node has it. Renewed by itself until it is lost or released. Rejects while leases are away. */
  acquire(source: string): Promise<Lease | undefined>
  /** Safe to call for what is not held. */
  release(source: string): Promise<void>
  close(): Promise<void>
}

/** One process owns all there is. */
export function createMemoryLeases(now: () => number): Leases {
  return {
    acquire: async () => ({ token: now(), lost: new AbortController().signal }),
    release: async () => {},
    close: async () => {},
  }
}
