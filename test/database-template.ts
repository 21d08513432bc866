import { execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'

/**
 * Makes one empty database before all tests: making one takes seconds, copying it does not. Tests that are not about a
 * first start begin with a copy (`preparedFolder`).
 */
export default function setup(): (() => void) | undefined {
  const main = resolve(import.meta.dirname, '../dist/main.js')
  if (!existsSync(main)) return undefined
  const folder = mkdtempSync(join(tmpdir(), 'feedgate-template-'))
  execFileSync(process.execPath, [main, 'migrate'], {
    env: { PATH: process.env.PATH, DATA_DIR: folder },
    cwd: folder,
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  process.env.FEEDGATE_TEST_DATABASE = join(folder, 'pglite')
  return () => rmSync(folder, { recursive: true, force: true })
}
