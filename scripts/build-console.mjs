// Bundles console/ into dist/console. Says and does nothing when no source is newer than the last bundle.
import { copyFileSync, mkdirSync, readdirSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = join(dirname(fileURLToPath(import.meta.url)), '..')
const out = join(root, 'dist', 'console')
const page = join(out, 'index.html')

/** Newest change under `path`, ms. */
function newest(path) {
  const stat = statSync(path, { throwIfNoEntry: false })
  if (!stat?.isDirectory()) return stat?.mtimeMs ?? 0
  return Math.max(stat.mtimeMs, ...readdirSync(path).map((name) => newest(join(path, name))))
}

const inputs = ['console', 'scripts/build-console.mjs', 'node_modules/lightweight-charts/package.json']
const built = statSync(page, { throwIfNoEntry: false })?.mtimeMs ?? 0

if (inputs.some((input) => newest(join(root, input)) > built)) {
  const { build } = await import('esbuild')
  mkdirSync(out, { recursive: true })
  await build({
    absWorkingDir: root,
    entryPoints: { console: 'console/main.ts', style: 'console/style.css' },
    outdir: out,
    bundle: true,
    minify: true,
    format: 'esm',
    target: 'es2022',
    legalComments: 'inline',
    logLevel: 'warning',
  })
  // Last, so that a bundle that failed half way is made again. copyFile gives the copy a new time.
  copyFileSync(join(root, 'console', 'index.html'), page)
}
