import { createPostgresStore } from '../../src/store/postgres.ts'
import { describeStore } from '../contracts/store.ts'
import { freshDatabase, withEngines } from './engines.ts'

await withEngines(['postgres'], ({ postgres }) => {
  describeStore('postgres', async () => createPostgresStore({ url: (await freshDatabase(postgres)).url }))
})
await withEngines(['timescale'], ({ timescale }) => {
  describeStore('timescale', async () => createPostgresStore({ url: (await freshDatabase(timescale)).url }))
})
