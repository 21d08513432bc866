import { authenticate } from '../credentials.ts'
import type { RestPorts } from '../gateway.ts'
import { candlesRoutes } from './candles.ts'
import { gapsRoutes } from './gaps.ts'
import { historyRoutes } from './history.ts'
import { instrumentsRoutes } from './instruments.ts'
import { latestRoutes } from './latest.ts'
import { notImplementedRoutes } from './not-implemented.ts'
import { oddsRoutes } from './odds.ts'
import { orderBookRoutes } from './orderbook.ts'
import type { RoutePlugin } from './route.ts'
import { sourcesRoutes } from './sources.ts'
import { tokenRoutes } from './token.ts'
import { usageRoutes } from './usage.ts'

/** What clients call: every route needs an identity and takes one command of its limit. */
export function apiRoutes(ports: RestPorts): RoutePlugin {
  return async (server) => {
    server.addHook('onRequest', authenticate(ports))
    for (const routes of [
      tokenRoutes,
      usageRoutes,
      sourcesRoutes,
      latestRoutes,
      historyRoutes,
      candlesRoutes,
      orderBookRoutes,
      gapsRoutes,
      instrumentsRoutes,
      oddsRoutes,
    ])
      await server.register(routes(ports))
    await server.register(
      notImplementedRoutes([
        ['POST', '/v1/messages'],
        ['GET', '/v1/messages/:id'],
        ['GET', '/v1/webhooks'],
        ['POST', '/v1/webhooks'],
      ]),
    )
  }
}
