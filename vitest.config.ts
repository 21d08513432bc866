import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    exclude: ['test/services/**', 'test/soak/**', 'test/faults/**'],
    testTimeout: 30_000,
    // Some tests wait for real sockets and clocks: on a machine that does other work they may be late. What is wrong stays wrong.
    retry: process.env.CI ? 2 : 0,
    hookTimeout: 120_000,
    globalSetup: ['test/database-template.ts'],
    pool: 'forks',
    // Most tests wait for sockets and timers: with a worker a core two cores are half idle.
    maxWorkers: 3,
    coverage: {
      provider: 'v8',
      include: ['src/**/*.ts'],
      exclude: ['src/main.ts'],
      reporter: ['text-summary', 'json-summary'],
      thresholds: { lines: 80 },
    },
  },
})
