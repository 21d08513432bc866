import { createTimescaleStore } from '../../src/store/timescale.ts'
import { describeStore } from '../contracts/store.ts'
import { freshDatabase, withEngines } from './engines.ts'

await withEngines(['postgres'], ({ postgres }) => {
  describeStore('postgres', async () => createTimescaleStore({ url: (await freshDatabase(postgres)).url }))
})
