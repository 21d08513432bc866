import type { ClientEntry, ClientQuery, UsageEntry, UsageQuery } from './clients.ts'

/** What gateways ask each other about the clients that they hold, and what each of them answers. */
export interface Questions {
  clients: { readonly asked: ClientQuery; readonly answer: readonly ClientEntry[] }
  /** Connections that count for the key and give no sign of life. Takes as long as a client has for it. */
  ghosts: { readonly asked: { readonly limitKey: string }; readonly answer: readonly Ghost[] }
  /** True: it was there, and is gone. */
  end: {
    readonly asked: { readonly id: string; readonly why: 'ghost' | 'operator' }
    readonly answer: boolean
  }
  /** `since`: its start, epoch µs. */
  usage: {
    readonly asked: UsageQuery
    readonly answer: { readonly since: number; readonly entries: readonly UsageEntry[] }
  }
}

export interface Ghost {
  readonly id: string
  /** Epoch µs. */
  readonly since: number
}

export type Answerer = {
  readonly [K in keyof Questions]: (asked: Questions[K]['asked']) => Promise<Questions[K]['answer']>
}

/** The gateways that serve clients together. */
export interface Peers {
  /** This one. */
  readonly node: string
  /** From now on this one answers. */
  serve(answerer: Answerer): void
  /**
   * The answers of all, this one's first. `complete`: false when one did not answer within `waitMs`, or the others cannot
   * be asked now. Never rejects for that.
   */
  ask<K extends keyof Questions>(
    kind: K,
    asked: Questions[K]['asked'],
    waitMs: number,
  ): Promise<{ readonly answers: readonly Questions[K]['answer'][]; readonly complete: boolean }>
}

/** There is one gateway. */
export function noPeers(node: string): Peers {
  let own: Answerer | undefined
  return {
    node,
    serve: (answerer) => {
      own = answerer
    },
    ask: async (kind, asked) => ({ answers: own ? [await own[kind](asked)] : [], complete: true }),
  }
}
