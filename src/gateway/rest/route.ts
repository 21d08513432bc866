import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'

/** One resource's routes; requests are typed by their schemas. */
export type RoutePlugin = FastifyPluginAsyncTypebox
