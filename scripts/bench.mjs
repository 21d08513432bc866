// node scripts/bench.mjs NAME [options]: bundles bench/NAME.ts (Node 20 runs no TypeScript) and runs it.
import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'

const [name, ...options] = process.argv.slice(2)
const source = new URL(`../bench/${name}.ts`, import.meta.url)
if (!name || !existsSync(source)) {
  console.error(`no bench called ${name}: bench/ holds them`)
  process.exit(2)
}
// What a bench takes from test/ finds files beside its own sources, not beside the bundle.
const keepFolders = {
  name: 'keep-folders',
  setup: (builder) =>
    builder.onLoad({ filter: /\/test\/.*\.ts$/ }, ({ path }) => ({
      contents: readFileSync(path, 'utf8').replaceAll('import.meta.dirname', JSON.stringify(dirname(path))),
      loader: 'ts',
    })),
}
// Beside the sources, so that packages resolve as they do there (bench/ has packages of its own).
const outfile = fileURLToPath(new URL(`../bench/dist/${name}.mjs`, import.meta.url))
await build({
  entryPoints: [fileURLToPath(source)],
  outfile,
  bundle: true,
  platform: 'node',
  format: 'esm',
  target: 'node20',
  packages: 'external',
  plugins: [keepFolders],
  sourcemap: 'inline',
  logLevel: 'warning',
})
process.exit(
  spawnSync(process.execPath, ['--enable-source-maps', '--expose-gc', outfile, ...options], {
    stdio: 'inherit',
  }).status ?? 1,
)
