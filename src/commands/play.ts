import { Command } from 'commander'
import { FeedgateError } from '../errors.ts'
import { FAULTS, parseFaults } from '../player/faults.ts'
import { startPlayer } from '../player/player.ts'
import { interrupted } from './interrupted.ts'

interface PlayCall {
  readonly port: string
  readonly speed: string
  readonly faults?: string
  readonly seed: string
  readonly json?: boolean
}

/** Serves recordings as if they were the venue, until it is interrupted. */
export function playCommand(): Command {
  const faults = Object.entries(FAULTS).map(([name, what]) => `  ${name.padEnd(14)}${what}`)
  return new Command('play')
    .description('serve recorded frames as if it were the venue, WebSocket and REST on one port')
    .argument(
      '<files...>',
      'files of recorded lines, as feedgate capture writes them; their names do not matter',
    )
    .requiredOption('--port <n>', 'port on 127.0.0.1; 0: any free one')
    .option('--speed <n>', '1: as recorded; n: n times as fast; max: as fast as clients take it', '1')
    .option('--faults <names>', 'what goes wrong, see below; several with commas')
    .option('--seed <n>', 'decides where faults happen', '1')
    .option('--json', 'print one JSON document when the recording is played')
    .addHelpText(
      'after',
      '\nFrames begin 1 s after the last subscription. "played F frames": F counts every recorded frame.',
    )
    .addHelpText('after', `\nFaults:\n${faults.join('\n')}`)
    .action(async (files: string[], call: PlayCall) => {
      const print = (line: string): unknown =>
        (call.json ? process.stderr : process.stdout).write(`${line}\n`)
      const player = await startPlayer({
        files,
        port: wholeNumber('--port', call.port, 65_535),
        speed: speedOf(call.speed),
        faults: call.faults === undefined ? [] : parseFaults(call.faults),
        seed: wholeNumber('--seed', call.seed, 2 ** 32 - 1),
        log: (line) => process.stderr.write(`${line}\n`),
      })
      print(`listening on ${player.url}`)
      const { skippedLines } = player.stats()
      if (skippedLines > 0) print(`skipped ${skippedLines} lines that are no recorded frame`)
      void player.finished.then((frames) => {
        print(`played ${frames} frames`)
        if (call.json)
          process.stdout.write(
            `${JSON.stringify({ url: player.url, port: player.port, ...player.stats() })}\n`,
          )
      })
      await interrupted()
      await player.close()
    })
}

function wholeNumber(option: string, text: string, max: number): number {
  const value = /^\d{1,10}$/.test(text) ? Number(text) : Number.NaN
  if (value <= max) return value
  throw new FeedgateError(
    'bad-request',
    `${option} is ${JSON.stringify(text)}: accepted is a whole number from 0 to ${max}`,
  )
}

function speedOf(text: string): number {
  if (text === 'max') return Number.POSITIVE_INFINITY
  const speed = /^\d{1,6}(\.\d{1,6})?$/.test(text) ? Number(text) : 0
  if (speed > 0) return speed
  throw new FeedgateError(
    'bad-request',
    `--speed is ${JSON.stringify(text)}: accepted is a number above 0, or max`,
  )
}
