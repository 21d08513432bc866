import { defineConfig } from 'vitest/config'

/** A run that never ends, for `engines.test.ts` to kill. */
export default defineConfig({
  test: {
    root: import.meta.dirname,
    include: ['endless.ts'],
    globalSetup: ['../global-setup.ts'],
    pool: 'forks',
    testTimeout: 600_000,
  },
})
