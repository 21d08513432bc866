import { randomBytes } from 'node:crypto'

/** Ids are in the order of connecting, over all nodes as far as their clocks agree. */
export function newClientId(): string {
  return `${Date.now().toString(36).padStart(9, '0')}${randomBytes(6).toString('hex')}`
}
