import type { VenueId } from '../market/event.ts'

/** The id as a number, a bigint only where a number would be wrong; undefined for what is no whole number. */
export function parseVenueId(id: string): VenueId | undefined {
  if (!/^\d{1,40}$/.test(id)) return undefined
  return id.length < 16 ? Number(id) : narrow(BigInt(id))
}

export function idAfter(id: VenueId): VenueId {
  return typeof id === 'number' && id < Number.MAX_SAFE_INTEGER ? id + 1 : BigInt(id) + 1n
}

export function idBefore(id: VenueId): VenueId {
  return typeof id === 'number' ? id - 1 : narrow(id - 1n)
}

function narrow(id: bigint): VenueId {
  return id <= Number.MAX_SAFE_INTEGER ? Number(id) : id
}
