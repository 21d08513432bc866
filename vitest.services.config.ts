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
    // As in vitest.config.ts. Of the chaos runs each prints its figures and its seed.
    retry: process.env.CI ? 1 : 0,
    reporters: ['default', 'json'],
    outputFile: { json: 'coverage/services.json' },
  },
})
