import { defineConfig } from 'vitest/config'

/** Every fault at every venue, cuts by the hundred, a thousand schedules, and processes killed: minutes. `npm run test:faults`. */
export default defineConfig({
  test: {
    include: ['test/faults/**/*.test.ts'],
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 60_000,
    hookTimeout: 60_000,
    // As in vitest.config.ts.
    retry: process.env.CI ? 1 : 0,
    reporters: ['default', 'json'],
    outputFile: { json: 'coverage/faults.json' },
  },
})
