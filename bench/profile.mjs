// node --import ./bench/profile.mjs …: writes a CPU profile into the folder PROFILE_FOLDER at the end. (Node 20 takes no
// --cpu-prof from NODE_OPTIONS.)
import { writeFileSync } from 'node:fs'
import { Session } from 'node:inspector'
import { join } from 'node:path'

const session = new Session()
session.connect()
session.post('Profiler.enable')
session.post('Profiler.start')
process.once('exit', () => {
  session.post('Profiler.stop', (_, { profile }) => {
    const roles = process.argv.at(-1).replaceAll(',', '-')
    writeFileSync(
      join(process.env.PROFILE_FOLDER, `${roles}-${process.pid}.cpuprofile`),
      JSON.stringify(profile),
    )
  })
})
