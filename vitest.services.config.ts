import { defineConfig } from 'vitest/config'

/** The tests on real servers: `npm run test:services`. One file at a time: they share the servers and two cores. */
export default defineConfig({
  test: {
    include: ['test/services/**/*.test.ts'],
    globalSetup: ['test/services/global-setup.ts'],
    pool: 'forks',
    fileParallelism: false,
    testTimeout: 60_000,
    hookTimeout: 120_000,
    reporters: ['default', 'json'],
    outputFile: { json: 'coverage/services.json' },
  },
})
