// Runs beside the tests. When the process at the other end of its standard input is gone, however it went, it ends every
// server it was told of with kill -9 and removes their folders. Lines: `pid N`, `ended N`, `pidfile PATH`, `folder PATH`.
import { readFileSync, rmSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { isGone, killTree } from './process-tree.ts'

const pids = new Set<number>()
const pidFiles = new Set<string>()
const folders = new Set<string>()

// Ctrl-C and a closed terminal are meant for the tests; their end is what ends this.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => {})

for await (const line of createInterface({ input: process.stdin })) {
  const [what, value = ''] = line.split(/ (.*)/s)
  if (what === 'pid') pids.add(Number(value))
  if (what === 'ended') pids.delete(Number(value))
  if (what === 'pidfile') pidFiles.add(value)
  if (what === 'folder') folders.add(value)
}

// Roots first: a start script that still runs would start its server after this looked for its pid file.
for (const pid of pids) await killTree(pid)
for (const file of pidFiles) {
  try {
    const pid = Number.parseInt(readFileSync(file, 'utf8'), 10)
    if (pid > 1 && !isGone(pid)) await killTree(pid)
  } catch {
    // never started, or ended
  }
}
for (const folder of folders) rmSync(folder, { recursive: true, force: true, maxRetries: 5 })
