import Type from 'typebox'
import { FeedgateError } from '../../errors.ts'
import type { GatewayPorts } from '../gateway.ts'
import type { RoutePlugin } from './route.ts'
import { answers, SECURED } from './schema.ts'

export const TokenAnswer = Type.Object({
  accessToken: Type.String({ description: 'JSON Web Token' }),
  tokenType: Type.Literal('Bearer'),
  expiresIn: Type.Integer({ description: 'seconds' }),
})
const TicketAnswer = Type.Object({
  ticket: Type.String({ description: 'for `?ticket=` of a WebSocket; single use' }),
  expiresIn: Type.Integer({ description: 'seconds' }),
})

export function tokenRoutes({ auth }: GatewayPorts): RoutePlugin {
  return async (server) => {
    server.post(
      '/auth/token',
      {
        schema: {
          summary: 'A short-lived token for an API key',
          tags: ['auth'],
          security: [{ apiKey: [] }],
          response: answers({ 200: TokenAnswer }),
        },
      },
      async ({ identity }) => {
        // A token that could renew itself would outlive every limit that was put on it.
        if (identity.keyId === undefined || identity.expiresAt !== undefined)
          throw new FeedgateError(
            'not-authenticated',
            'a token is given for an API key: send it as X-API-Key',
          )
        return auth.issueToken(identity)
      },
    )
    server.post(
      '/auth/ticket',
      {
        schema: {
          summary: 'A ticket that stands for the credential in a WebSocket URL',
          tags: ['auth'],
          security: SECURED,
          response: answers({ 200: TicketAnswer }),
        },
      },
      async ({ identity }) => {
        if (identity.anonymous)
          throw new FeedgateError(
            'not-authenticated',
            'a ticket stands for a credential: send an API key or a token',
          )
        return auth.issueTicket(identity)
      },
    )
  }
}
