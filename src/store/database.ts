import type { Sql } from './store.ts'

/** What recording uses beside statements. */
export interface RecordingSql extends Sql {
  /**
   * `into`: a table and its columns; `rows` in COPY's binary format, in pieces that are given away. A piece is made while
   * the server works on those before; what making one throws ends the COPY and is thrown here.
   */
  copy(into: string, rows: Iterable<Uint8Array>): Promise<void>
  transaction<T>(work: (sql: RecordingSql) => Promise<T>): Promise<T>
}

/** A database that a store stands on: what an adapter brings. */
export interface Database {
  /** Statements wait until the database is open and migrated. */
  readonly sql: Sql
  /** Where reads of history do not share connections with others, theirs; else `sql`. */
  readonly reads?: Sql
  readonly recording: RecordingSql
  ready(): Promise<void>
  fault(): string | undefined
  warnings?(): readonly string[]
  /** Candles of trades are kept as aggregates, which `record` tells of late trades. */
  aggregates?(): boolean
  close(): Promise<void>
}
