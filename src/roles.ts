/** What a process of the program may do; by default all. */
export const ROLES = ['ingest', 'recorder', 'relay', 'analytics', 'gateway'] as const
export type Role = (typeof ROLES)[number]
