import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdtemp, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { WebSocket } from 'ws'
import { type Player, type PlayerOptions, startPlayer } from '../../src/player/player.ts'

export const CAPTURES = resolve(process.env.CAPTURES_DIR ?? '../shared/captures')
export const hasCaptures = existsSync(join(CAPTURES, 'README.md'))

export const capture = (name: string): string => join(CAPTURES, name)

/** A client of a venue: keeps every frame. */
export class VenueClient {
  readonly frames: string[] = []
  readonly socket: WebSocket
  readonly pings: string[] = []
  closeCode: number | undefined

  constructor(url: string) {
    this.socket = new WebSocket(url)
    this.socket.on('message', (data) => this.frames.push(String(data)))
    this.socket.on('ping', (data) => this.pings.push(String(data)))
    this.socket.on('error', () => {})
    this.socket.on('close', (code) => {
      this.closeCode = code
    })
  }

  async open(): Promise<this> {
    await once(this.socket, 'open')
    return this
  }

  send(message: unknown): void {
    this.socket.send(JSON.stringify(message))
  }

  // biome-ignore lint/suspicious/noExplicitAny: venues' frames have any shape
  messages(): any[] {
    return this.frames.map((frame) => JSON.parse(frame))
  }
}

export interface Played {
  readonly player: Player
  readonly log: string[]
}

const open: { close(): unknown }[] = []

export async function play(files: readonly string[], options: Partial<PlayerOptions> = {}): Promise<Played> {
  const log: string[] = []
  const player = await startPlayer({
    files,
    port: 0,
    speed: Number.POSITIVE_INFINITY,
    faults: [],
    log: (line) => log.push(line),
    ...options,
  })
  open.push(player)
  return { player, log }
}

export async function connect(player: Player, path = '/'): Promise<VenueClient> {
  const client = new VenueClient(`${player.url}${path}`)
  open.push({ close: () => client.socket.terminate() })
  return client.open()
}

export async function closeAll(): Promise<void> {
  for (const one of open.splice(0).reverse()) await one.close()
}

/** A recording of these lines. */
export async function recording(lines: readonly string[], name = 'recording.txt'): Promise<string> {
  const file = join(await mkdtemp(join(tmpdir(), 'feedgate-play-')), name)
  await writeFile(file, lines.join('\n'))
  return file
}

export async function until(what: () => boolean, ms = 15_000): Promise<void> {
  const end = performance.now() + ms
  while (!what()) {
    if (performance.now() > end) throw new Error('did not happen in time')
    await new Promise((tick) => setTimeout(tick, 5))
  }
}

/** Resolves when the player's clients have all that it sent. */
export function settled(player: Player, ...clients: VenueClient[]): Promise<void> {
  return until(
    () => clients.reduce((sum, { frames }) => sum + frames.length, 0) === player.stats().sent,
    15_000,
  )
}

export const rest = (player: Player, path: string): Promise<Response> =>
  fetch(`${player.url.replace('ws:', 'http:')}${path}`)
