import Type, { type TSchema } from 'typebox'

/** Pieces of request schemas, and what every answer has in common. */
export const SourceName = Type.String({ pattern: '^[A-Za-z0-9_-]{1,64}$', description: 'id of a source' })
export const SubjectName = Type.String({
  minLength: 1,
  maxLength: 256,
  description: 'symbol (`BTC/USDT`); of odds the event id, of status the conversation id',
})
export const ChannelName = Type.String({
  pattern: '^[A-Za-z0-9_-]{1,64}$',
  description: 'name of a channel (`ticker`)',
})
/** Venues have names of their own: a word is well-formed, and unknown (422) where there is no such timeframe. */
export const TimeframeName = Type.String({
  pattern: '^[A-Za-z0-9_-]{1,16}$',
  description: 'timeframe of candles (`1m`)',
})
export const Source = Type.Optional(SourceName)
export const Subject = Type.Optional(SubjectName)
export const Timeframe = Type.Optional(TimeframeName)
export const Time = Type.Optional(
  Type.String({ minLength: 1, maxLength: 40, description: 'ISO 8601, or integer µs since the Unix epoch' }),
)
export const Limit = Type.Optional(
  Type.Integer({ minimum: 1, maximum: 10_000, default: 1_000, description: 'items on a page' }),
)
export const Cursor = Type.Optional(
  Type.String({ minLength: 1, maxLength: 1_024, description: '`next` of the page before' }),
)
export const Paging = { from: Time, to: Time, limit: Limit, cursor: Cursor }

/** Nothing beyond what is named. */
export function strict<P extends Record<string, TSchema>>(properties: P) {
  return Type.Object(properties, { additionalProperties: false })
}

export function listOf<T extends TSchema>(items: T) {
  return Type.Object({
    items: Type.Array(items),
    next: Type.Union([Type.String(), Type.Null()], { description: 'cursor of the next page' }),
  })
}

/** An event as it was made at ingest. */
export const Event = Type.Object(
  {
    v: Type.Literal(1),
    type: Type.String(),
    source: Type.String(),
    epoch: Type.Integer(),
    seq: Type.Integer(),
    receivedTime: Type.Integer({ description: 'µs since the Unix epoch' }),
    publishedTime: Type.Integer(),
  },
  { additionalProperties: true, description: 'fields beyond these by channel' },
)

export const Problem = Type.Object(
  {
    type: Type.String({ description: '`urn:feedgate:problem:` and the code' }),
    title: Type.String(),
    status: Type.Integer(),
    detail: Type.String({ description: 'one sentence that says what is accepted' }),
    code: Type.String({ description: 'stable; programs decide by it' }),
  },
  { $id: 'Problem', title: 'Problem', description: 'RFC 9457' },
)

interface Streamed {
  readonly description: string
  readonly content: Readonly<Record<string, { readonly schema: TSchema }>>
}

/** A page of events as JSON, or all of them as lines. */
export const EventStream: Streamed = {
  description: 'events as they were made at ingest',
  content: {
    'application/json': { schema: listOf(Event) },
    'application/x-ndjson': { schema: Type.String({ description: 'an event on each line' }) },
    'text/csv': {
      schema: Type.String({
        description: 'RFC 4180, with a header; an apostrophe stands before text that a spreadsheet would run',
      }),
    },
  },
}

/** Answers of a route: what it gives, and problem documents for everything else. */
export function answers(
  ok: Readonly<Record<number, TSchema | Streamed>>,
  codes: readonly number[] = [400, 401, 429],
) {
  const problem = { 'application/problem+json': { schema: Type.Ref('Problem#') } }
  return {
    ...ok,
    ...Object.fromEntries(codes.map((code) => [code, { description: PROBLEMS[code], content: problem }])),
  }
}

const PROBLEMS: Readonly<Record<number, string>> = {
  400: 'missing, malformed or out of range',
  401: 'no valid credential',
  403: 'not entitled',
  404: 'there is none',
  422: 'well-formed but unknown here',
  429: 'too many requests; Retry-After says how long to wait',
  501: 'not part of this version',
  503: 'not available now; Retry-After says how long to wait',
}

export const SECURED: Record<string, readonly string[]>[] = [{ apiKey: [] }, { bearer: [] }]
