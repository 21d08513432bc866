import type { FastifySchemaCompiler } from 'fastify'
import type { TSchema } from 'typebox'
import { Compile } from 'typebox/compile'
import { FeedgateError } from '../errors.ts'

const PART: Readonly<Record<string, string>> = {
  body: 'field',
  querystring: 'query parameter',
  params: 'path parameter',
  headers: 'header',
}

interface PropertySchema {
  readonly type?: string
  readonly enum?: readonly unknown[]
  readonly description?: string
  readonly minimum?: number
  readonly maximum?: number
  readonly minLength?: number
  readonly maxLength?: number
}

/**
 * Checks a request by its TypeBox schema and says in one sentence what is wrong with it. Text becomes a number only
 * where the schema has an integer and the text is one; nothing else is converted, clamped or left out.
 */
export const validatorCompiler: FastifySchemaCompiler<TSchema> = ({ schema, httpPart }) => {
  const compiled = Compile(schema)
  const properties = (schema as { properties?: Record<string, PropertySchema> }).properties ?? {}
  const part = PART[httpPart ?? ''] ?? 'field'
  const integers = Object.keys(properties).filter((name) => properties[name]?.type === 'integer')
  return (value: unknown) => {
    const input = httpPart === 'body' ? value : withIntegers(value as Record<string, unknown>, integers)
    const unclean = controlCharacterIn(input)
    if (unclean !== undefined) return { error: refusal(`${part} ${unclean} holds a control character`) }
    if (compiled.Check(input)) return { value: input }
    const errors: readonly Finding[] = compiled.Errors(input)
    const error = errors.find(({ keyword }) => keyword === 'additionalProperties') ?? errors[0]
    return { error: refusal(sentence(error, properties, part)) }
  }
}

function refusal(detail: string): FeedgateError {
  return new FeedgateError('bad-request', detail)
}

const CONTROL = /\p{Cc}/u

/** No name, id, symbol or time has one, and a database takes no NUL. */
function controlCharacterIn(input: unknown): string | undefined {
  if (typeof input !== 'object' || input === null) return undefined
  return Object.entries(input).find(([, value]) => typeof value === 'string' && CONTROL.test(value))?.[0]
}

function withIntegers(input: Record<string, unknown>, names: readonly string[]): Record<string, unknown> {
  const output = { ...input }
  for (const name of names) {
    const text = output[name]
    if (typeof text === 'string' && /^-?\d{1,15}$/.test(text)) output[name] = Number(text)
  }
  return output
}

interface Finding {
  readonly keyword: string
  readonly instancePath: string
  readonly params: object
  readonly message: string
}

function sentence(
  error: Finding | undefined,
  properties: Readonly<Record<string, PropertySchema>>,
  part: string,
): string {
  const params = (error?.params ?? {}) as { additionalProperties?: string[]; requiredProperties?: string[] }
  const [unknown] = params.additionalProperties ?? []
  if (unknown !== undefined) {
    const known = Object.keys(properties)
    return `unknown ${part} ${unknown}: accepted ${known.length ? `are ${known.join(', ')}` : 'is none'}`
  }
  const [missing] = params.requiredProperties ?? []
  if (missing !== undefined) return `${part} ${missing} is missing`
  const name = error?.instancePath.split('/')[1]
  if (!name) return 'the body must be a JSON object'
  return `${part} ${name} must be ${accepted(properties[name]) ?? error?.message ?? 'as documented'}`
}

function accepted(schema: PropertySchema | undefined): string | undefined {
  if (!schema) return undefined
  if (schema.enum) return `one of ${schema.enum.join(', ')}`
  if (schema.type === 'integer') return `an integer from ${schema.minimum} to ${schema.maximum}`
  const text =
    schema.maxLength === undefined
      ? 'text'
      : `text of ${schema.minLength ?? 0} to ${schema.maxLength} characters`
  return schema.description ? `${text}: ${schema.description}` : text
}
