import { PgDatabase, type PgDatabaseOptions } from './pg-database.ts'
import { createSqlStore } from './sql.ts'
import type { Store } from './store.ts'

/** A store on PostgreSQL 15 or later. */
export function createPostgresStore(options: PgDatabaseOptions): Store {
  return createSqlStore(new PgDatabase(options))
}
