import { randomBytes } from 'node:crypto'
import {
  accessSync,
  constants,
  existsSync,
  linkSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { FeedgateError } from './errors.ts'

/**
 * `DATA_DIR`: one gateway at a time. The lock is a file naming its owner's process, made by a hard link (which fails if
 * the name is taken, on every file system), and void as soon as that process is gone: after a kill -9 the next start
 * need not wait.
 */
export interface DataDir {
  readonly path: string
  /** Names the node that works on this folder, the same at each start. */
  readonly node: string
  /** Tells other commands on this machine where the gateway is and lets them in; mode 0600. */
  announce(gateway: RunningGateway): void
  /** Safe to call twice. */
  release(): void
}

/** Where a running gateway answers, and the admin credential it made for commands of the same user. */
export interface RunningGateway {
  readonly url: string
  readonly adminKey: string
}

interface Owner {
  readonly pid: number
  /** When the process began, in the kernel's ticks: a pid alone may have been given to somebody else. */
  readonly began: string
}

/** Throws `bad-setting` if the folder cannot be used, `internal` if another gateway holds it. */
export function openDataDir(path: string): DataDir {
  makeDataDir(path)
  const lock = join(path, 'gateway.lock')
  const endpoint = join(path, 'gateway.json')
  takeLock(path, lock)
  // Of an owner that was killed: commands must not take it for this one's.
  rmSync(endpoint, { force: true })
  let held = true
  return {
    path,
    node: nodeOf(path),
    announce: (gateway) => writePrivate(endpoint, JSON.stringify(gateway)),
    release: () => {
      if (!held) return
      held = false
      rmSync(endpoint, { force: true })
      rmSync(lock, { force: true })
    },
  }
}

function nodeOf(path: string): string {
  const file = join(path, 'node')
  const kept = readJson<{ node: string }>(file)?.node
  if (kept !== undefined && /^[0-9a-f]{16}$/.test(kept)) return kept
  const node = randomBytes(8).toString('hex')
  writePrivate(file, JSON.stringify({ node }))
  return node
}

/**
 * For commands beside a gateway. What they work on is in the folder, and then it is locked, or in a database of its own,
 * and then it is not.
 */
export function openCommandFolder(path: string, databaseUrl: string | undefined): { release(): void } {
  if (databaseUrl === undefined) return openDataDir(path)
  makeDataDir(path)
  return { release: () => {} }
}

/** The gateway that holds the folder now, if one does. */
export function findRunningGateway(path: string): RunningGateway | undefined {
  const owner = readJson<Owner>(join(path, 'gateway.lock'))
  return owner && isAlive(owner) ? readJson<RunningGateway>(join(path, 'gateway.json')) : undefined
}

/** Creates or replaces a file that only its owner may read, in one step. */
export function writePrivate(path: string, text: string): void {
  const draft = `${path}.${process.pid}`
  writeFileSync(draft, text, { mode: 0o600 })
  renameSync(draft, path)
}

export function makeDataDir(path: string): void {
  try {
    makeFolders(resolve(path))
    accessSync(path, constants.R_OK | constants.W_OK | constants.X_OK)
    // Access rights do not tell of a read-only file system; a write does.
    const probe = join(path, `.probe-${process.pid}`)
    writeFileSync(probe, '')
    rmSync(probe)
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code
    throw new FeedgateError(
      'bad-setting',
      `setting DATA_DIR (dataDir) is ${JSON.stringify(path)}, which cannot be written (${code}): accepted is a folder that this user can create or write`,
      { cause },
    )
  }
}

/** Node's own way to make parents never ends where one cannot be made, in `/proc` for one. */
function makeFolders(path: string): void {
  if (existsSync(path)) return
  const parent = dirname(path)
  if (parent !== path) makeFolders(parent)
  try {
    mkdirSync(path, { mode: 0o700 })
  } catch (cause) {
    // Another process may have made it meanwhile.
    if ((cause as NodeJS.ErrnoException).code !== 'EEXIST') throw cause
  }
}

function takeLock(path: string, lock: string): void {
  const claim = join(path, `.claim-${process.pid}-${randomBytes(4).toString('hex')}`)
  writeFileSync(claim, JSON.stringify({ pid: process.pid, began: beganAt(process.pid) } satisfies Owner))
  try {
    for (let attempt = 0; attempt < 3; attempt++) {
      try {
        linkSync(claim, lock)
        return
      } catch (cause) {
        if ((cause as NodeJS.ErrnoException).code !== 'EEXIST') throw cause
      }
      const owner = readJson<Owner>(lock)
      if (owner && isAlive(owner)) break
      removeStale(lock, `${claim}.stale`)
    }
  } finally {
    rmSync(claim, { force: true })
  }
  const owner = readJson<Owner>(lock)
  throw new FeedgateError(
    'data-dir-locked',
    `DATA_DIR ${path} is in use by the gateway with process id ${owner?.pid ?? 'unknown'}: stop that one, or give this one another DATA_DIR`,
  )
}

/** Another start may have replaced the dead owner's lock meanwhile: what was taken away alive is put back. */
function removeStale(lock: string, aside: string): void {
  try {
    renameSync(lock, aside)
  } catch {
    return
  }
  const taken = readJson<Owner>(aside)
  if (taken && isAlive(taken)) linkSync(aside, lock)
  rmSync(aside, { force: true })
}

function isAlive(owner: Owner): boolean {
  try {
    process.kill(owner.pid, 0)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false
  }
  return beganAt(owner.pid) === owner.began
}

/** The start time of a process from /proc; empty where there is none, and the pid must do. */
function beganAt(pid: number): string {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    // The second field, the command, may hold spaces and ends with the last parenthesis; the start time is field 22.
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? ''
  } catch {
    return ''
  }
}

function readJson<T>(path: string): T | undefined {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as T
  } catch {
    return undefined
  }
}
