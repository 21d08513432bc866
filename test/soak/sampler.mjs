// Loaded before the program (NODE_OPTIONS=--import): at each SIGUSR2 it prints the memory after garbage collection and
// the CPU time so far.
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { isMainThread } from 'node:worker_threads'

if (isMainThread) {
  setFlagsFromString('--expose_gc')
  const gc = runInNewContext('gc')
  let count = 0
  process.on('SIGUSR2', () => {
    const { user, system } = process.cpuUsage()
    gc()
    gc()
    const { heapUsed, rss } = process.memoryUsage()
    console.log(`sample ${++count} ${JSON.stringify({ cpuMicros: user + system, heapUsed, rss })}`)
  })
}
