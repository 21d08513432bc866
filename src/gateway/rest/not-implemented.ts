import type { HTTPMethods } from 'fastify'
import { FeedgateError } from '../../errors.ts'
import type { RoutePlugin } from './route.ts'
import { answers } from './schema.ts'

/** Routes of the contract that this version does not have yet: they say so, instead of not being there. */
export function notImplementedRoutes(routes: readonly (readonly [HTTPMethods, string])[]): RoutePlugin {
  return async (server) => {
    for (const [method, url] of routes) {
      server.route({
        method,
        url,
        schema: { summary: 'Not part of this version', tags: ['later'], response: answers({}, [501]) },
        handler: async () => {
          throw new FeedgateError('not-implemented', `${method} ${url} is not part of this version`)
        },
      })
    }
  }
}
