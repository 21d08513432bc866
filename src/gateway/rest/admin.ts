import { authenticate, requireAdmin } from '../credentials.ts'
import type { RestPorts } from '../gateway.ts'
import { clientsRoutes } from './admin-clients.ts'
import { grantsRoutes } from './admin-grants.ts'
import { keysRoutes } from './admin-keys.ts'
import { marketDataRoutes } from './admin-market-data.ts'
import { tenantsRoutes } from './admin-tenants.ts'
import { notImplementedRoutes } from './not-implemented.ts'
import type { RoutePlugin } from './route.ts'

/** For the admin key and tokens with scope `admin`. */
export function adminRoutes(ports: RestPorts): RoutePlugin {
  return async (server) => {
    server.addHook('onRequest', authenticate(ports))
    server.addHook('onRequest', requireAdmin)
    await server.register(marketDataRoutes(ports))
    await server.register(keysRoutes(ports))
    await server.register(tenantsRoutes(ports))
    await server.register(grantsRoutes(ports))
    await server.register(clientsRoutes(ports))
    await server.register(
      notImplementedRoutes([
        ['GET', '/admin/sla'],
        ['GET', '/admin/audit'],
        ['GET', '/admin/replays'],
        ['POST', '/admin/replays'],
      ]),
    )
  }
}
