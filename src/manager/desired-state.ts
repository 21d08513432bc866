import { readFileSync } from 'node:fs'
import type { Subscription } from '../connectors/connector.ts'
import { writePrivate } from '../data-dir.ts'
import { FeedgateError } from '../errors.ts'
import type { SourceSpec } from './manager.ts'

/** What an admin asked of one source, beside what the settings file says. */
export interface DesiredSource {
  readonly id: string
  /** Of a source that an admin added; absent where the settings file has the source. */
  readonly spec?: Pick<SourceSpec, 'kind' | 'url' | 'restUrl'>
  readonly subscriptions: readonly Subscription[]
}

/** What admins asked for; survives a restart. */
export interface DesiredState {
  load(): readonly DesiredSource[]
  save(sources: readonly DesiredSource[]): void
}

/** Kept in a file, mode 0600, replaced in one step. `load` throws `bad-setting` when the file is damaged. */
export function openDesiredState(path: string): DesiredState {
  return {
    load: () => read(path),
    save: (sources) => writePrivate(path, `${JSON.stringify(sources, null, 2)}\n`),
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

function isDesiredSource(value: unknown): value is DesiredSource {
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
