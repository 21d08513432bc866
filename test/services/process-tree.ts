import { readdirSync, readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'

interface Entry {
  readonly pid: number
  readonly parent: number
  readonly state: string
}

/** One process as Linux shows it, undefined if there is none; https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html */
function entry(pid: number): Entry | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    const [state, parent] = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return { pid, parent: Number(parent), state: state! }
  } catch {
    return undefined
  }
}

/** True when no such process runs; one that nobody has reaped yet runs no more. */
export function isGone(pid: number): boolean {
  const { state } = entry(pid) ?? { state: 'Z' }
  return state === 'Z' || state === 'X'
}

/** The process and all below it. By parents, not by group: PostgreSQL gives each of its processes a session of its own. */
export function treeOf(root: number): number[] {
  const all = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map((name) => entry(Number(name)))
    .filter((each) => each !== undefined)
  const tree = [root]
  for (const pid of tree) for (const each of all) if (each.parent === pid) tree.push(each.pid)
  return tree
}

/** kill -9 of a process and all below it, root first; resolves when the last one runs no more. */
export async function killTree(root: number): Promise<void> {
  if (!(root > 1)) throw new RangeError(`no process to kill: ${root}`)
  const tree = treeOf(root)
  for (const pid of tree) {
    try {
      process.kill(pid, 'SIGKILL')
    } catch {
      // ended by itself meanwhile
    }
  }
  while (!tree.every(isGone)) await sleep(10)
}
