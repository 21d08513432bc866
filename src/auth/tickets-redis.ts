import type { Redis } from 'ioredis'
import { closeRedis, openRedis, type RedisOptions, redisUnavailable } from '../redis.ts'
import { digestOf, newTicket, TICKET_SECONDS, type TicketHolder, type Tickets } from './tickets.ts'

/** Tickets that any node may redeem: `ticket:{digest}`, taken and deleted in one step. */
export function createRedisTickets(options: Omit<RedisOptions, 'name'>): Tickets & { close(): void } {
  const redis: Redis = openRedis({ ...options, name: 'feedgate-tickets' })
  return {
    async issue(holder) {
      const ticket = newTicket()
      try {
        await redis.set(keyOf(ticket), JSON.stringify(holder), 'EX', TICKET_SECONDS)
      } catch (error) {
        throw redisUnavailable(error)
      }
      return ticket
    },
    async redeem(ticket) {
      try {
        const holder = await redis.getdel(keyOf(ticket))
        return holder === null ? undefined : (JSON.parse(holder) as TicketHolder)
      } catch (error) {
        throw redisUnavailable(error)
      }
    },
    close: () => closeRedis(redis),
  }
}

function keyOf(ticket: string): string {
  return `ticket:${digestOf(ticket)}`
}
