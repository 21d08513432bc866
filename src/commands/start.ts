import { Command, Option } from 'commander'
import { pino } from 'pino'
import type { App } from '../app.ts'
import { loadConfig } from '../config.ts'
import { FeedgateError } from '../errors.ts'
import { ROLES, type Role } from '../roles.ts'

type Environment = Readonly<Record<string, string | undefined>>

/** Ctrl-C must end everything within this; what has not ended by then is left behind. */
const STOP_DEADLINE_MS = 1_800
/** Where servers must be told: what waits is handed over, groups and leases are left. */
const SHARED_STOP_DEADLINE_MS = 8_000

export function startCommand(env: Environment): Command {
  return new Command('start')
    .description('run the gateway (demo mode without any setting)')
    .addOption(new Option('--config <file>', 'settings file; default FEEDGATE_CONFIG, else ./feedgate.yaml'))
    .addOption(new Option('--roles <list>', `any of ${ROLES.join(',')}`).default(ROLES.join(',')))
    .action(async (options: { config?: string; roles: string }) => {
      const config = loadConfig(env, options.config)
      const roles = readRoles(options.roles)
      const log = pino({ level: config.logLevel }, pino.destination({ dest: 2, sync: true }))
      // Behind what may refuse the settings: it loads nearly all of the program.
      const { createApp } = await import('../app.ts')
      const app = await createApp(config, roles, log)
      stopOnSignal(app, config.kafkaBrokers ? SHARED_STOP_DEADLINE_MS : STOP_DEADLINE_MS)
      try {
        await app.start()
      } catch (error) {
        await app.stop()
        throw error
      }
      for (const line of app.greeting()) process.stdout.write(`${line}\n`)
    })
}

function readRoles(list: string): ReadonlySet<Role> {
  const roles = list.split(',').map((role) => role.trim())
  for (const role of roles) {
    if (!ROLES.some((known) => known === role))
      throw new FeedgateError(
        'bad-setting',
        `--roles has ${JSON.stringify(role)}: accepted are ${ROLES.join(', ')}`,
      )
  }
  return new Set(roles as Role[])
}

/** One shutdown path: the first signal stops the program in order, a second one ends it at once. */
function stopOnSignal(app: App, deadlineMs: number): void {
  let stopping = false
  const stop = () => {
    if (stopping) process.exit(1)
    stopping = true
    const deadline = setTimeout(() => process.exit(1), deadlineMs)
    app.stop().then(
      () => {
        clearTimeout(deadline)
        process.exit(0)
      },
      () => process.exit(1),
    )
  }
  process.on('SIGINT', stop)
  process.on('SIGTERM', stop)
}
