import { defineConfig } from 'vitest/config'

/** A thousand schedules of faults take minutes: `npm run test:faults`. */
export default defineConfig({
  test: { include: ['test/faults/schedules.test.ts'] },
})
