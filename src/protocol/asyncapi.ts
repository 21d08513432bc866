import type { TSchema } from 'typebox'
import { COMMANDS } from './commands.ts'
import { eventSchema, PAYLOADS } from './events.ts'
import { LegacyError, ODDS_COMMANDS, OddsUpdate, STATUS_COMMANDS, STATUS_MESSAGES } from './legacy.ts'
import { CONTROL } from './messages.ts'
import { SUBPROTOCOLS } from './subprotocols.ts'

type Schemas = Readonly<Record<string, TSchema>>
interface Reference {
  readonly $ref: string
}
interface Message {
  readonly name: string
  readonly summary?: string
  readonly contentType: 'application/json'
  readonly payload: unknown
}

const EVENTS: Schemas = Object.fromEntries(
  Object.entries(PAYLOADS).map(([name, payload]) => [name, eventSchema(payload)]),
)

/** What each endpoint takes and gives; message names are unique in an endpoint and direction. */
const ENDPOINTS = {
  stream: {
    address: '/ws',
    description:
      'Everything. Other tiers get one event a frame, or arrays with `batch`; `basic` gets arrays. Text frames of JSON; with the subprotocol feedgate.v1.msgpack binary frames of MessagePack that say the same, to be sent the same way. Close codes: 40xx do not retry unchanged (4001 auth, 4003 expired or revoked, 4009 forbidden), 41xx retry with back-off (4100 slow, 4106 too many connections, 4129 rate), 42xx reconnect now (4200 shutdown, 4201 no pong); 1009 message too large.',
    query: {
      access_token: 'a JWT, never an API key',
      ticket: 'from POST /auth/ticket: single use, 30 s',
      batch: 'true: events come in arrays',
      compress:
        'true: what is sent to all clients of a shape is compressed, where permessage-deflate is offered too; best with batch',
    },
    headers: {
      type: 'object',
      properties: {
        'Sec-WebSocket-Protocol': {
          type: 'string',
          enum: Object.values(SUBPROTOCOLS),
          description: 'not needed: without it, or with others, the connection goes on in JSON without one',
        },
      },
    },
    client: COMMANDS as Schemas,
    server: { ...(CONTROL as Schemas), ...EVENTS },
  },
  odds: {
    address: '/ws/odds',
    description: "The best back price of each market's first selection of an event, at once and on change.",
    query: { access_token: 'a JWT; not needed where anonymous clients are let in' },
    client: ODDS_COMMANDS as Schemas,
    server: { odds: OddsUpdate, error: LegacyError } as Schemas,
  },
  status: {
    address: '/ws/status',
    description: "Statuses of the messages of the caller's own conversations.",
    query: { access_token: 'a JWT' },
    client: STATUS_COMMANDS as Schemas,
    server: STATUS_MESSAGES as Schemas,
  },
} as const

/** Ways to say who is there with the request; on `/ws` the first message may do it instead (`auth`). */
const SECURITY = {
  apiKey: { type: 'httpApiKey', in: 'header', name: 'X-API-Key', description: 'an API key' },
  bearer: { type: 'http', scheme: 'bearer', bearerFormat: 'JWT' },
  accessToken: { type: 'httpApiKey', in: 'query', name: 'access_token', description: 'a JWT' },
  ticket: { type: 'httpApiKey', in: 'query', name: 'ticket', description: 'from POST /auth/ticket' },
} as const

/** AsyncAPI 3.0 of the three WebSocket endpoints, from the schemas that check the messages. */
export function asyncApiDocument(version: string): object {
  const messages: Record<string, Message> = {}
  const channels: Record<string, object> = {}
  const operations: Record<string, object> = {}
  for (const [id, endpoint] of Object.entries(ENDPOINTS)) {
    const parts = { receive: endpoint.client, send: endpoint.server } as const
    const ofChannel: Record<string, Reference> = {}
    for (const [action, schemas] of Object.entries(parts)) {
      const keys: string[] = []
      for (const [name, schema] of Object.entries(schemas)) {
        const key = `${id}.${action === 'receive' ? 'client' : 'server'}.${name}`
        messages[key] = message(name, schema)
        ofChannel[key] = { $ref: `#/components/messages/${key}` }
        keys.push(key)
      }
      operations[`${id}.${action}`] = {
        action,
        channel: { $ref: `#/channels/${id}` },
        messages: keys.map((key) => ({ $ref: `#/channels/${id}/messages/${key}` })),
      }
    }
    channels[id] = {
      address: endpoint.address,
      description: endpoint.description,
      messages: ofChannel,
      bindings: {
        ws: {
          method: 'GET',
          query: querySchema(endpoint.query),
          ...('headers' in endpoint ? { headers: endpoint.headers } : {}),
        },
      },
    }
  }
  return {
    asyncapi: '3.0.0',
    info: {
      title: 'feedgate',
      version,
      description: 'Client WebSockets of the market-data gateway.',
      license: { name: 'MIT' },
    },
    servers: {
      local: {
        host: 'localhost:8080',
        protocol: 'ws',
        description: 'As `npm start` serves it; elsewhere wss, by what ends TLS before it.',
        security: Object.keys(SECURITY).map((name) => ({ $ref: `#/components/securitySchemes/${name}` })),
      },
    },
    defaultContentType: 'application/json',
    channels,
    operations,
    components: { messages, securitySchemes: SECURITY },
  }
}

function message(name: string, schema: TSchema): Message {
  const { description, ...payload } = schema as TSchema & { description?: string }
  return {
    name,
    ...(description === undefined ? {} : { summary: description }),
    contentType: 'application/json',
    payload,
  }
}

function querySchema(query: Readonly<Record<string, string>>): object {
  const properties = Object.fromEntries(
    Object.entries(query).map(([name, description]) => [name, { type: 'string', description }]),
  )
  return { type: 'object', properties }
}
