import { defineConfig } from 'vitest/config'

/** Long runs of the built program: `npm run test:soak`, an hour with SOAK_MINUTES=60. */
export default defineConfig({
  test: {
    include: ['test/soak/**/*.test.ts'],
    pool: 'forks',
    fileParallelism: false,
    testTimeout: 300_000,
    // What it measures is read while it runs.
    disableConsoleIntercept: true,
  },
})
