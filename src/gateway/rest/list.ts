import type { FastifyReply } from 'fastify'

/** A list whose items are JSON already: what was stored is sent as it is, never parsed and written again. */
export function sendList(
  reply: FastifyReply,
  items: readonly string[],
  next: string | null = null,
): FastifyReply {
  return reply
    .type('application/json; charset=utf-8')
    .send(`{"items":[${items.join(',')}],"next":${JSON.stringify(next)}}`)
}
