import { readFileSync } from 'node:fs'
import type { Subscription } from '../connectors/connector.ts'
import { writePrivate } from '../data-dir.ts'
import { FeedgateError } from '../errors.ts'
import type { SourceSpec } from './manager.ts'

/** What an admin asked of one source, beside what the settings file says. */
export interface DesiredSource {
  readonly id: string
  /** Of a source that an admin added; absent where the settings file has the source. */
  readonly spec?: Pick<SourceSpec, 'kind' | 'url' | 'restUrl' | 'credentials'>
  readonly subscriptions: readonly Subscription[]
}

/** What admins asked for; survives a restart. */
export interface DesiredState {
  load(): Promise<readonly DesiredSource[]>
  /** Replaces what was kept of the source. */
  put(source: DesiredSource): Promise<void>
  remove(id: string): Promise<void>
  /** Other nodes change it too: it is read again and again. */
  readonly shared: boolean
}

/** Kept in a file, mode 0600, replaced in one step. `load` rejects with `bad-setting` when the file is damaged. */
export function openDesiredState(path: string): DesiredState {
  const sources = new Map<string, DesiredSource>()
  const save = () => writePrivate(path, `${JSON.stringify([...sources.values()], null, 2)}\n`)
  return {
    shared: false,
    load: async () => {
      sources.clear()
      for (const source of read(path)) sources.set(source.id, source)
      return [...sources.values()]
    },
    put: async (source) => {
      sources.set(source.id, source)
      save()
    },
    remove: async (id) => {
      if (sources.delete(id)) save()
    },
  }
}

function read(path: string): readonly DesiredSource[] {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw damaged(path, error)
  }
  try {
    const sources: unknown = JSON.parse(text)
    if (Array.isArray(sources) && sources.every(isDesiredSource)) return sources
  } catch (cause) {
    throw damaged(path, cause)
  }
  throw damaged(path)
}

/** What was kept may have been written by another version, or by hand. */
export function isDesiredSource(value: unknown): value is DesiredSource {
  const source = value as Partial<DesiredSource> | null
  return (
    typeof source?.id === 'string' &&
    (source.spec === undefined || typeof source.spec.kind === 'string') &&
    Array.isArray(source.subscriptions) &&
    source.subscriptions.every((one) => typeof one?.channel === 'string' && typeof one.symbol === 'string')
  )
}

function damaged(path: string, cause?: unknown): FeedgateError {
  return new FeedgateError(
    'bad-setting',
    `${path}, which keeps what admins added, cannot be read: repair it, or remove it to start without`,
    { cause },
  )
}
