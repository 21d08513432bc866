import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createPgliteStore } from '../../src/store/pglite.ts'
import { describeStore } from '../contracts/store.ts'

describeStore('pglite', async () =>
  createPgliteStore({ dataDir: mkdtempSync(join(tmpdir(), 'feedgate-store-')) }),
)
