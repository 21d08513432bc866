import { it } from 'vitest'
import { withEngines } from '../engines.ts'
import { ServerProcess, serverFolder } from '../processes.ts'

const program = new ServerProcess({
  command: 'sleep',
  args: ['600'],
  folder: serverFolder('program'),
  ready: async () => true,
})

for (const name of ['redis', 'postgres', 'timescale', 'kafka'] as const) await withEngines([name], () => {})

it('uses the engines of the run, and a program that this file started, until it is killed', async () => {
  await program.start()
  console.log(`worker ${process.pid} is ready`)
  await new Promise((done) => setTimeout(done, 600_000))
})
