import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { cp, mkdtemp, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { createInterface } from 'node:readline'
import { WebSocket } from 'ws'

export const ROOT = resolve(import.meta.dirname, '../..')
export const MAIN = join(ROOT, 'dist/main.js')
export const CAPTURES = process.env.CAPTURES_DIR ?? join(ROOT, '../shared/captures')
export const hasCaptures = existsSync(CAPTURES)
export const ADMIN_KEY = 'test-admin-key-of-more-than-32-bytes'

export interface Output {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

/** Only what the test sets: a developer's own settings must not leak in. */
function environment(extra: Record<string, string>): NodeJS.ProcessEnv {
  return { PATH: process.env.PATH, HOME: process.env.HOME, ...extra }
}

export function temporaryFolder(): Promise<string> {
  return mkdtemp(join(tmpdir(), 'feedgate-test-'))
}

/** A data directory whose database is made already; see `test/database-template.ts`. */
export async function preparedFolder(): Promise<string> {
  const folder = await temporaryFolder()
  const database = process.env.FEEDGATE_TEST_DATABASE
  if (database) await cp(database, join(folder, 'pglite'), { recursive: true })
  return folder
}

/** Runs a command of the real program to its end. */
export async function run(
  args: readonly string[],
  env: Record<string, string> = {},
  cwd?: string,
): Promise<Output> {
  const child = spawn(process.execPath, [MAIN, ...args], {
    env: environment(env),
    cwd: cwd ?? (await temporaryFolder()),
  })
  let stdout = ''
  let stderr = ''
  child.stdout.on('data', (chunk) => (stdout += chunk))
  child.stderr.on('data', (chunk) => (stderr += chunk))
  const [code] = (await once(child, 'close')) as [number | null]
  return { code, stdout, stderr }
}

/** A child of the real program that goes on until it is ended. */
export class Program {
  readonly child: ChildProcess
  readonly lines: string[] = []
  stderr = ''
  readonly #waiting = new Set<() => void>()

  constructor(args: readonly string[], env: Record<string, string>, cwd: string) {
    this.child = spawn(process.execPath, [MAIN, ...args], { env: environment(env), cwd })
    createInterface({ input: this.child.stdout! }).on('line', (line) => {
      this.lines.push(line)
      for (const check of this.#waiting) check()
    })
    this.child.stderr!.on('data', (chunk) => (this.stderr += chunk))
    this.child.once('close', () => {
      for (const check of this.#waiting) check()
    })
  }

  /** The first line that matches, past or future. */
  line(pattern: RegExp, timeoutMs = 60_000): Promise<RegExpMatchArray> {
    return new Promise((done, fail) => {
      const finish = () => {
        clearTimeout(timer)
        this.#waiting.delete(check)
      }
      const check = () => {
        for (const line of this.lines) {
          const match = line.match(pattern)
          if (match) {
            finish()
            return done(match)
          }
        }
        if (this.child.exitCode !== null || this.child.signalCode !== null) {
          finish()
          fail(new Error(`ended with ${this.child.exitCode} before ${pattern}: ${this.stderr}`))
        }
      }
      const timer = setTimeout(() => {
        finish()
        fail(new Error(`no line ${pattern} within ${timeoutMs} ms: ${this.lines.join('\n')}\n${this.stderr}`))
      }, timeoutMs)
      this.#waiting.add(check)
      check()
    })
  }

  /** Ends it and tells how long that took, ms. */
  async end(signal: NodeJS.Signals = 'SIGINT'): Promise<{ code: number | null; ms: number }> {
    const began = performance.now()
    if (this.child.exitCode === null && this.child.signalCode === null) {
      this.child.kill(signal)
      await once(this.child, 'close')
    }
    return { code: this.child.exitCode, ms: performance.now() - began }
  }
}

export interface Gateway extends Program {
  url: string
}

/** `npm start` without the build: demo mode if `config` is absent. */
export async function startGateway(options: {
  dataDir: string
  config?: string
  env?: Record<string, string>
}): Promise<Gateway> {
  const args = ['start']
  const cwd = await temporaryFolder()
  if (options.config !== undefined) {
    const file = join(cwd, 'settings.yaml')
    await writeFile(file, options.config)
    args.push('--config', file)
  }
  const program = new Program(
    args,
    { PORT: '0', DATA_DIR: options.dataDir, LOG_LEVEL: 'warn', ADMIN_API_KEY: ADMIN_KEY, ...options.env },
    cwd,
  ) as Gateway
  const [, url] = await program.line(/(http:\/\/[^/\s]+)/)
  program.url = url!
  return program
}

/** `feedgate play`, on a free port unless `--port` is among the options. */
export async function startPlay(
  files: readonly string[],
  ...options: string[]
): Promise<Program & { url: string }> {
  const program = new Program(
    ['play', ...files, ...(options.includes('--port') ? [] : ['--port', '0']), ...options],
    {},
    await temporaryFolder(),
  ) as Program & {
    url: string
  }
  const [, url] = await program.line(/^listening on (ws:\/\/127\.0\.0\.1:\d+)$/)
  program.url = url!
  return program
}

export async function rest<T>(
  gateway: { url: string },
  path: string,
  init: RequestInit = {},
): Promise<{ status: number; body: T }> {
  const response = await fetch(`${gateway.url}${path}`, {
    ...init,
    headers: {
      'x-api-key': ADMIN_KEY,
      ...(init.body ? { 'content-type': 'application/json' } : {}),
      ...init.headers,
    },
  })
  const text = await response.text()
  return { status: response.status, body: (text.startsWith('{') ? JSON.parse(text) : text) as T }
}

/** Every item of a paged list. */
export async function all<T>(gateway: { url: string }, path: string): Promise<T[]> {
  const items: T[] = []
  let cursor: string | null = null
  do {
    const sep = path.includes('?') ? '&' : '?'
    const page: { status: number; body: { items: T[]; next: string | null } } = await rest(
      gateway,
      `${path}${cursor ? `${sep}cursor=${encodeURIComponent(cursor)}` : ''}`,
    )
    if (page.status !== 200) throw new Error(`${path}: ${page.status} ${JSON.stringify(page.body)}`)
    items.push(...page.body.items)
    cursor = page.body.next
  } while (cursor)
  return items
}

export async function createKey(gateway: { url: string }, tier: string, tenant = 'acme'): Promise<string> {
  const { status, body } = await rest<{ key: string }>(gateway, '/admin/keys', {
    method: 'POST',
    body: JSON.stringify({ tenant, tier }),
  })
  if (status !== 201) throw new Error(`keys: ${status} ${JSON.stringify(body)}`)
  return body.key
}

export interface Message {
  readonly type?: string
  readonly [field: string]: unknown
}

/** A client that keeps every message; arrays (batches) are flattened. */
export class Client {
  readonly socket: WebSocket
  readonly messages: Message[] = []
  readonly closed: Promise<number>

  constructor(url: string, headers: Record<string, string> = {}) {
    this.socket = new WebSocket(url.replace(/^http/, 'ws'), { headers })
    this.socket.on('message', (data) => {
      const parsed = JSON.parse(String(data)) as Message | Message[]
      if (Array.isArray(parsed)) this.messages.push(...parsed)
      else this.messages.push(parsed)
    })
    this.socket.on('error', () => {})
    this.closed = new Promise((done) => this.socket.once('close', (code) => done(code)))
  }

  async open(): Promise<this> {
    if (this.socket.readyState !== WebSocket.OPEN) await once(this.socket, 'open')
    return this
  }

  send(message: unknown): void {
    this.socket.send(typeof message === 'string' ? message : JSON.stringify(message))
  }

  ofType(type: string): Message[] {
    return this.messages.filter((message) => message.type === type)
  }

  async waitFor(what: (message: Message) => boolean, timeoutMs = 10_000): Promise<Message> {
    return until(
      () => this.messages.find(what),
      timeoutMs,
      () => `last: ${JSON.stringify(this.messages.slice(-3)).slice(0, 600)}`,
    )
  }

  close(): void {
    this.socket.close()
  }
}

/** Polls until the answer is neither undefined nor false. */
export async function until<T>(
  probe: () => T | undefined | false | Promise<T | undefined | false>,
  timeoutMs = 10_000,
  explain: () => string = () => '',
): Promise<T> {
  const deadline = performance.now() + timeoutMs
  for (;;) {
    const answer = await probe()
    if (answer !== undefined && answer !== false) return answer
    if (performance.now() > deadline) throw new Error(`not within ${timeoutMs} ms ${explain()}`)
    await new Promise((tick) => setTimeout(tick, 20))
  }
}
