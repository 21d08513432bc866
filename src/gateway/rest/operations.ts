import Type from 'typebox'
import { FeedgateError } from '../../errors.ts'
import type { OperationsPorts } from '../gateway.ts'
import { sendProblem } from '../problem.ts'
import { notImplementedRoutes } from './not-implemented.ts'
import type { RoutePlugin } from './route.ts'
import { answers } from './schema.ts'

const Dependencies = Type.Record(Type.String(), Type.String(), { description: '`ok`, or what is wrong' })

/** For those who run the gateway; no credential, and no tenant is named. */
export function operationsRoutes(ports: OperationsPorts): RoutePlugin {
  return async (server) => {
    server.route({
      method: ['GET', 'HEAD'],
      url: '/healthz',
      schema: {
        summary: 'Is the process alive?',
        tags: ['operations'],
        response: { 200: Type.Object({ status: Type.Literal('ok'), version: Type.String() }) },
      },
      handler: async () => ({ status: 'ok', version: ports.version }) as const,
    })
    server.route({
      method: ['GET', 'HEAD'],
      url: '/readyz',
      schema: {
        summary: 'Can it serve everything? Each dependency by name',
        tags: ['operations'],
        response: answers(
          {
            200: Type.Object({
              status: Type.Literal('ready'),
              dependencies: Dependencies,
              warnings: Type.Optional(Type.Array(Type.String(), { description: 'to be looked at soon' })),
            }),
          },
          [503],
        ),
      },
      handler: async (_request, reply) => {
        const faults = Object.entries(ports.readiness())
        const dependencies = Object.fromEntries(faults.map(([name, fault]) => [name, fault ?? 'ok']))
        const unwell = faults.filter(([, fault]) => fault !== undefined).map(([name]) => name)
        const warnings = ports.warnings()
        if (unwell.length === 0)
          return { status: 'ready', dependencies, ...(warnings.length > 0 && { warnings }) } as const
        return sendProblem(reply, new FeedgateError('not-ready', `not ready: ${unwell.join(', ')}`), {
          dependencies,
        })
      },
    })
    server.get(
      '/metrics',
      {
        schema: {
          summary: 'Prometheus',
          tags: ['operations'],
          response: { 200: { content: { 'text/plain': { schema: Type.String() } } } },
        },
      },
      async (_request, reply) =>
        reply.type('text/plain; version=0.0.4; charset=utf-8').send(await ports.metrics()),
    )
  }
}

/** What suppliers and messaging services will call. */
export const inboundRoutes = notImplementedRoutes([
  ['GET', '/ingest/whatsapp'],
  ['POST', '/ingest/whatsapp'],
  ['GET', '/ingest/meta'],
  ['POST', '/ingest/meta'],
  ['POST', '/ingest/news'],
])
