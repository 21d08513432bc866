import swagger from '@fastify/swagger'
import swaggerUi from '@fastify/swagger-ui'
import type { FastifyInstance, FastifyPluginAsync } from 'fastify'
import { asyncApiDocument } from '../../protocol/asyncapi.ts'
import { Problem } from './schema.ts'

/** Must come before the routes that it is to describe. */
export async function describeApi(server: FastifyInstance, version: string): Promise<void> {
  server.addSchema(Problem)
  await server.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'feedgate',
        version,
        description:
          'Market data, odds and message statuses. Every error is a problem document (RFC 9457) with a stable `code`. The WebSocket endpoints are described by `/asyncapi.json`.',
        license: { name: 'MIT', identifier: 'MIT' },
      },
      servers: [{ url: '/', description: 'the gateway that serves this document' }],
      components: {
        securitySchemes: {
          apiKey: { type: 'apiKey', in: 'header', name: 'X-API-Key' },
          bearer: { type: 'http', scheme: 'bearer', bearerFormat: 'JWT' },
        },
      },
    },
    transformObject: (described) => {
      if (!('openapiObject' in described)) return described.swaggerObject
      nameOperations(described.openapiObject.paths ?? {})
      return described.openapiObject
    },
    // Schemas that are shared keep their names.
    refResolver: { buildLocalReference: (json, _base, _fragment, i) => String(json.$id ?? `def-${i}`) },
  })
}

/** Generated clients name their functions so: `GET /v1/history/{channel}` is `getV1HistoryChannel`. */
function nameOperations(paths: Readonly<Record<string, object | undefined>>): void {
  for (const [path, methods] of Object.entries(paths)) {
    const words = path.split(/[^A-Za-z0-9]+/).filter((word) => word !== '')
    const name = words.map((word) => word[0]!.toUpperCase() + word.slice(1)).join('')
    const operations = methods as Record<string, object>
    // A copy: GET and HEAD of one route are one object.
    for (const [method, operation] of Object.entries(operations))
      operations[method] = { operationId: method + name, ...operation }
  }
}

/** The page loads what is its own, over whatever protocol it came by. */
const POLICY =
  "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; object-src 'none'; base-uri 'self'; frame-ancestors 'none'"

/** The mark of the console, on the bar of the page; it leads back there. */
const LOGO =
  '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 132 32" fill="none"><rect width="32" height="32" rx="8" fill="#0f8b8d"/><path d="M6 10h6l4 6h10M6 22h6l4-6" stroke="#fff" stroke-width="3"/><text x="42" y="23" font-family="sans-serif" font-size="20" font-weight="600" fill="#fff">feedgate</text></svg>'

export function docsRoutes(version: string): FastifyPluginAsync {
  return async (server) => {
    await server.register(swaggerUi, {
      routePrefix: '/docs',
      staticCSP: true,
      transformStaticCSP: () => POLICY,
      uiConfig: { deepLinking: false },
      theme: { title: 'feedgate API' },
      logo: { type: 'image/svg+xml', content: LOGO, href: '/', target: '_self' },
    })
    const document = JSON.stringify(asyncApiDocument(version))
    server.get('/asyncapi.json', { schema: { hide: true } }, async (_request, reply) =>
      reply.type('application/json; charset=utf-8').send(document),
    )
  }
}
