#!/usr/bin/env node
import { Command, CommanderError } from 'commander'
import { exitCodeOf, FeedgateError } from './errors.ts'
import { VERSION } from './version.ts'

/** The one file that reads the environment: every command gets it as an argument. */
const env = process.env

/** Each is loaded when it is called, so that none waits for the packages of the others; for help all are. */
const COMMANDS: Readonly<Record<string, () => Promise<Command>>> = {
  start: async () => (await import('./commands/start.ts')).startCommand(env),
  migrate: async () => (await import('./commands/migrate.ts')).migrateCommand(env),
  keys: async () => (await import('./commands/keys.ts')).keysCommand(env),
  grants: async () => (await import('./commands/grants.ts')).grantsCommand(env),
  token: async () => (await import('./commands/token.ts')).tokenCommand(env),
  capture: async () => (await import('./commands/capture.ts')).captureCommand(),
  dlq: async () => (await import('./commands/dlq.ts')).dlqCommand(env),
  play: async () => (await import('./commands/play.ts')).playCommand(),
  simulate: async () => (await import('./commands/simulate.ts')).simulateCommand(),
}

const program = new Command('feedgate')
  .description('Market-data gateway: venues in, proven and numbered events out.')
  .version(VERSION)
const called = process.argv[2] ?? ''
for (const name of Object.hasOwn(COMMANDS, called) ? [called] : Object.keys(COMMANDS))
  program.addCommand(await COMMANDS[name]!())

/** Commander ends the process by itself otherwise, and with 1 where a wrong call is 2. */
function neverExit(command: Command): void {
  command.exitOverride().showHelpAfterError('(--help shows what is accepted)')
  for (const child of command.commands) neverExit(child)
}
neverExit(program)

try {
  await program.parseAsync()
} catch (error) {
  if (error instanceof CommanderError) {
    process.exitCode = error.exitCode === 0 ? 0 : 2
  } else if (error instanceof FeedgateError) {
    process.stderr.write(`feedgate: ${error.message}\n`)
    process.exitCode = exitCodeOf(error)
  } else {
    process.stderr.write(`feedgate: ${error instanceof Error ? error.message : String(error)}\n`)
    process.exitCode = 1
  }
}
