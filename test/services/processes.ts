import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, chownSync, closeSync, mkdtempSync, openSync, readFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { buildSync } from 'esbuild'
import { until } from '../whole/program.ts'
import { killTree } from './process-tree.ts'

let keeper: ChildProcess | undefined

/** Tells the keeper of this process (`keeper.ts`, made at the first call) what to end when this process is gone. */
export function tellKeeper(line: string): void {
  keeper ??= startKeeper()
  // A write to a pipe with room is done when this returns: a kill -9 right after it loses nothing.
  keeper.stdin!.write(`${line}\n`)
}

function startKeeper(): ChildProcess {
  const { outputFiles } = buildSync({
    entryPoints: [join(import.meta.dirname, 'keeper.ts')],
    bundle: true,
    platform: 'node',
    format: 'esm',
    write: false,
  })
  const child = spawn(process.execPath, ['--input-type=module', '--eval', outputFiles[0]!.text], {
    stdio: ['pipe', 'ignore', 'inherit'],
    detached: true,
  })
  child.unref()
  ;(child.stdin as unknown as { unref(): void }).unref()
  return child
}

/** Ends everything that this process started; the same way in which it ends when this process is killed. */
export async function endAll(): Promise<void> {
  const ending = keeper
  keeper = undefined
  if (!ending || ending.exitCode !== null) return
  ending.ref()
  ending.stdin!.end()
  await once(ending, 'exit')
}

export interface Account {
  readonly uid: number
  readonly gid: number
}

/** PostgreSQL refuses root: then its files and processes are of the user nobody. Undefined: as the caller. */
export function unprivileged(): Account | undefined {
  if (process.getuid!() !== 0) return undefined
  const id = (flag: string) => Number(execFileSync('id', [flag, 'nobody'], { encoding: 'utf8' }))
  return { uid: id('-u'), gid: id('-g') }
}

/** A folder that is gone when this process is. */
export function serverFolder(name: string, owner?: Account): string {
  const folder = mkdtempSync(join(tmpdir(), `feedgate-${name}-`))
  tellKeeper(`folder ${folder}`)
  chmodSync(folder, 0o755)
  if (owner) chownSync(folder, owner.uid, owner.gid)
  return folder
}

/**
 * A free loopback port below those the system gives to outgoing connections: a client that tries again and again to
 * reach a killed server would else, one day, be given its port and so keep it from starting again.
 */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = 20_000 + Math.floor(Math.random() * 12_000)
    // One that was given may not be listened on yet.
    if (given.has(port)) continue
    const server = createServer()
    const free = await new Promise<boolean>((done) => {
      server.once('error', () => done(false))
      server.listen(port, '127.0.0.1', () => done(true))
    })
    if (!free) continue
    server.close()
    await once(server, 'close')
    given.add(port)
    return port
  }
}

const given = new Set<number>()

/** True when something accepts connections there. */
export function accepts(port: number): Promise<boolean> {
  return new Promise((done) => {
    const socket = connect(port, '127.0.0.1')
    const finish = (answer: boolean) => {
      socket.destroy()
      done(answer)
    }
    socket.once('connect', () => finish(true))
    socket.once('error', () => finish(false))
  })
}

/** The setting of a server that is started, killed and started again with the same arguments. */
export interface Launch {
  readonly command: string
  readonly args: readonly string[]
  /** Its working folder. */
  readonly folder: string
  /** What it prints is added to this file; default `server.log` in its folder, which goes when the tests end. */
  readonly log?: string
  readonly account?: Account | undefined
  readonly env?: Record<string, string>
  /** True when it can be used. */
  ready(): Promise<boolean>
}

export class ServerProcess {
  readonly #launch: Launch
  readonly log: string
  #child: ChildProcess | undefined

  constructor(launch: Launch) {
    this.#launch = launch
    this.log = launch.log ?? join(launch.folder, 'server.log')
  }

  /** Resolves when it can be used; rejects with the end of its log. */
  async start(): Promise<void> {
    const { command, args, folder, account, env } = this.#launch
    const log = openSync(this.log, 'a', 0o644)
    // It waits for a line, and gives up at the end of its input: so it never runs before the keeper knows of it.
    const child = spawn('/bin/sh', ['-c', 'read -r go && exec "$@" </dev/null', 'sh', command, ...args], {
      cwd: folder,
      env: { PATH: process.env.PATH, HOME: process.env.HOME, LC_ALL: 'C', ...env },
      detached: true,
      stdio: ['pipe', log, log],
      ...account,
    })
    closeSync(log)
    this.#child = child
    child.once('exit', () => tellKeeper(`ended ${child.pid}`))
    tellKeeper(`pid ${child.pid}`)
    child.stdin!.end('go\n')
    child.unref()
    await until(
      () => {
        if (child.exitCode !== null || child.signalCode !== null) throw new Error(this.#failure())
        return this.#launch.ready()
      },
      60_000,
      () => this.#failure(),
    )
  }

  /** kill -9 of it and all its children; resolves when they are gone. */
  async kill(): Promise<void> {
    const child = this.#child
    this.#child = undefined
    if (!child || child.exitCode !== null || child.signalCode !== null) return
    child.ref()
    const exit = once(child, 'exit')
    await killTree(child.pid!)
    await exit
  }

  /** Asks it to end, as an operator does; resolves when it has. */
  async end(): Promise<void> {
    const child = this.#child
    this.#child = undefined
    if (!child || child.exitCode !== null || child.signalCode !== null) return
    child.ref()
    child.kill('SIGTERM')
    await once(child, 'exit')
  }

  #failure(): string {
    const tail = readFileSync(this.log, 'utf8').split('\n').slice(-20).join('\n')
    return `${this.#launch.command} did not start:\n${tail}`
  }
}
