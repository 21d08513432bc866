/** What processes and the machine have used, by the kernel (https://man7.org/linux/man-pages/man5/proc.5.html). */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { treeOf } from '../test/services/process-tree.ts'

const TICKS_PER_SECOND = 100

/** The process that listens on a port of this machine; undefined: none, or not ours to see. */
export function listenerOn(port: number): number | undefined {
  const local = `:${port.toString(16).toUpperCase().padStart(4, '0')}`
  const sockets = ['tcp', 'tcp6']
    .flatMap((table) => readFileSync(`/proc/net/${table}`, 'utf8').split('\n').slice(1))
    .map((line) => line.trim().split(/\s+/))
    .filter(([, address, , state]) => address?.endsWith(local) && state === LISTEN)
    .map((fields) => `socket:[${fields[9]}]`)
  const pids = readdirSync('/proc').map(Number).filter(Number.isInteger)
  return pids.find((pid) => openFiles(pid).some((file) => sockets.includes(file)))
}

const LISTEN = '0A'

function openFiles(pid: number): string[] {
  try {
    return readdirSync(`/proc/${pid}/fd`).map((fd) => readlinkSync(`/proc/${pid}/fd/${fd}`))
  } catch {
    return []
  }
}

/** CPU seconds of an engine so far: of a process and all below it, those that have ended included. */
export function treeSeconds(root: number): number {
  return secondsOf(treeOf(root), 4)
}

/** CPU seconds of one process so far. */
export function cpuSeconds(pid: number): number {
  return secondsOf([pid], 2)
}

/** Of the fields utime, stime, cutime and cstime the first so many. */
function secondsOf(pids: readonly number[], fieldCount: number): number {
  let ticks = 0
  for (const pid of pids) {
    try {
      const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
      const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
      for (const field of fields.slice(11, 11 + fieldCount)) ticks += Number(field)
    } catch {
      // ended meanwhile
    }
  }
  return ticks / TICKS_PER_SECOND
}

/** CPU seconds of all cores, by whatever ran on them. */
export function busySeconds(): number {
  const [, user, nice, system, , , irq, softirq, steal] = readFileSync('/proc/stat', 'utf8')
    .split('\n', 1)[0]!
    .split(/\s+/)
  return (
    [user, nice, system, irq, softirq, steal].reduce((sum, ticks) => sum + Number(ticks), 0) /
    TICKS_PER_SECOND
  )
}
