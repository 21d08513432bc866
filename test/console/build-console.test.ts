import { execFileSync } from 'node:child_process'
import { statSync, utimesSync } from 'node:fs'
import { expect, it } from 'vitest'

const build = () => execFileSync(process.execPath, ['scripts/build-console.mjs'], { encoding: 'utf8' })
const made = () => statSync('dist/console/index.html').mtimeMs

it('bundles the console again only when a source is newer, and says nothing', () => {
  build()
  const first = made()
  expect(build()).toBe('')
  expect(made()).toBe(first)
  const now = new Date()
  utimesSync('console/main.ts', now, now)
  expect(build()).toBe('')
  expect(made()).toBeGreaterThan(first)
})
