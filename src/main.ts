#!/usr/bin/env node
import { Command, CommanderError } from 'commander'
import { captureCommand } from './commands/capture.ts'
import { dlqCommand } from './commands/dlq.ts'
import { keysCommand } from './commands/keys.ts'
import { migrateCommand } from './commands/migrate.ts'
import { playCommand } from './commands/play.ts'
import { simulateCommand } from './commands/simulate.ts'
import { startCommand } from './commands/start.ts'
import { tokenCommand } from './commands/token.ts'
import { exitCodeOf, FeedgateError } from './errors.ts'
import { VERSION } from './version.ts'

/** The one file that reads the environment: every command gets it as an argument. */
const env = process.env

const program = new Command('feedgate')
  .description('Market-data gateway: venues in, proven and numbered events out.')
  .version(VERSION)
  .addCommand(startCommand(env))
  .addCommand(migrateCommand(env))
  .addCommand(keysCommand(env))
  .addCommand(tokenCommand(env))
  .addCommand(captureCommand())
  .addCommand(dlqCommand(env))
  .addCommand(playCommand())
  .addCommand(simulateCommand())

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
