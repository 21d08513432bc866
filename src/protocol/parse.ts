import type { TSchema } from 'typebox'
import { Compile, type Validator } from 'typebox/compile'
import { Value } from 'typebox/value'
import { FeedgateError } from '../errors.ts'
import { COMMANDS, type Command, type CommandId } from './commands.ts'
import { ODDS_COMMANDS, type OddsCommand, STATUS_COMMANDS, type StatusCommand } from './legacy.ts'

/** What was wrong with a message, with its `id` where it had a usable one. */
export class BadMessage extends FeedgateError {
  readonly id: CommandId | undefined

  constructor(message: string, id?: CommandId) {
    super('bad-request', message)
    this.id = id
  }
}

/** Compiles the schemas of one endpoint once. The parser throws BadMessage: one sentence that names the field. */
function parserOf<T>(schemas: Readonly<Record<string, TSchema>>): (text: string) => T {
  const validators = new Map(Object.entries(schemas).map(([type, schema]) => [type, Compile(schema)]))
  const types = Object.keys(schemas).join(', ')
  return (text) => {
    const value = parseObject(text)
    const id = usableId(value.id)
    const type = value.type
    const validator = typeof type === 'string' ? validators.get(type) : undefined
    if (!validator) {
      const given = type === undefined ? 'is missing' : `is ${shown(type)}`
      throw new BadMessage(`field "type" ${given}: give one of ${types}`, id)
    }
    if (!validator.Check(value)) throw new BadMessage(explain(schemas[type as string]!, validator, value), id)
    return value as T
  }
}

export const parseCommand = parserOf<Command>(COMMANDS)
export const parseOddsCommand = parserOf<OddsCommand>(ODDS_COMMANDS)
export const parseStatusCommand = parserOf<StatusCommand>(STATUS_COMMANDS)

/** `__proto__` from JSON.parse is an own field: the schemas refuse it as unknown, and nothing is ever merged. */
function parseObject(text: string): Record<string, unknown> {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    throw new BadMessage('the message is not valid JSON: give one JSON object')
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new BadMessage('the message is not a JSON object: give one JSON object')
  return value as Record<string, unknown>
}

function usableId(id: unknown): CommandId | undefined {
  if (typeof id === 'string') return id.length >= 1 && id.length <= 64 ? id : undefined
  return Number.isSafeInteger(id) && (id as number) >= 0 ? (id as number) : undefined
}

interface SchemaNode {
  readonly description?: string
  readonly properties?: Readonly<Record<string, SchemaNode>>
  readonly items?: SchemaNode
  readonly maxItems?: number
  readonly maxProperties?: number
}

interface Complaint {
  readonly keyword: string
  readonly instancePath: string
  readonly params: object
}

/** One sentence about the first fault. Finding every fault of a list of 100,000 would take a second: long lists are told apart. */
function explain(schema: TSchema, validator: Validator, value: Readonly<Record<string, unknown>>): string {
  const root = schema as SchemaNode
  for (const [name, node] of Object.entries(root.properties ?? {})) {
    const fault = Object.hasOwn(value, name) ? faultOfList(name, node, value[name]) : undefined
    if (fault) return fault
  }
  const errors: readonly Complaint[] = validator.Errors(excerpt(root, value))
  const complaint = errors.find((error) => error.keyword === 'additionalProperties') ?? errors[0]!
  const path = complaint.instancePath
    .split('/')
    .slice(1)
    .map((part) => part.replaceAll('~1', '/').replaceAll('~0', '~'))
  const { requiredProperties, additionalProperties } = complaint.params as {
    requiredProperties?: readonly string[]
    additionalProperties?: readonly string[]
  }
  if (requiredProperties) {
    const [name] = requiredProperties
    return `field "${[...path, name].join('.')}" is missing: give ${acceptedAt(root, [...path, name!])}`
  }
  if (additionalProperties) {
    const known = Object.keys(nodeAt(root, path).properties ?? {}).join(', ')
    return `unknown field ${shown([...path, additionalProperties[0]].join('.'))}: accepted are ${known}`
  }
  const given = path.reduce<unknown>((at, key) => (at as Record<string, unknown> | undefined)?.[key], value)
  const name = shown(path.join('.'))
  return `field ${name} is ${CREDENTIALS.has(path[0]!) ? 'something else' : shown(given)}: give ${acceptedAt(root, path)}`
}

/** Fields whose value is not given back, not even to its owner. */
const CREDENTIALS: ReadonlySet<string> = new Set(['token', 'apiKey'])

/** Longer ones are looked through here, and then stand shortened. */
const SHORT = 20

function faultOfList(name: string, node: SchemaNode, list: unknown): string | undefined {
  if (!isObject(list) || node.properties) return undefined
  const length = Array.isArray(list) ? list.length : Object.keys(list).length
  if (length <= SHORT) return undefined
  const give = `give ${node.description}`
  if (length > (node.maxItems ?? node.maxProperties ?? SHORT))
    return `field "${name}" is ${shown(list)} of ${length}: ${give}`
  const alone = Array.isArray(list) ? (_: string, one: unknown) => [one] : asObject
  const wrong = Object.entries(list).find(([key, one]) => !Value.Check(node as TSchema, alone(key, one)))
  return wrong && `field ${shown(`${name}.${wrong[0]}`)} is ${shown(wrong[1])}: ${give}`
}

/** The value with all that can be wrong in it, and little else: one unknown field of many, the beginning of a long list. */
function excerpt(node: SchemaNode | undefined, value: unknown): unknown {
  if (!isObject(value)) return value
  const { properties } = node ?? {}
  if (Array.isArray(value)) return value.slice(0, SHORT)
  const entries = Object.entries(value)
  if (!properties) return Object.fromEntries(entries.slice(0, SHORT))
  const unknown = entries.find(([name]) => !Object.hasOwn(properties, name))
  if (unknown) return asObject(unknown[0], null)
  return Object.fromEntries(entries.map(([name, one]) => [name, excerpt(properties[name], one)]))
}

/** As a field of its own, even where it is called `__proto__`. */
function asObject(name: string, value: unknown): object {
  return Object.fromEntries([[name, value]])
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null
}

function nodeAt(root: SchemaNode, path: readonly string[]): SchemaNode {
  return path.reduce<SchemaNode>((node, key) => node.properties?.[key] ?? node.items ?? {}, root)
}

/** The description nearest to the field. */
function acceptedAt(root: SchemaNode, path: readonly string[]): string {
  for (let length = path.length; length > 0; length--) {
    const { description } = nodeAt(root, path.slice(0, length))
    if (description) return description
  }
  return 'what the documentation of this message says'
}

/** A client's own value in an error, cut short; what is nested is not shown: it may be deep. */
function shown(value: unknown): string {
  if (typeof value === 'object' && value !== null) return Array.isArray(value) ? 'an array' : 'an object'
  const text = JSON.stringify(value)
  return text.length > 60 ? `${text.slice(0, 60)}…` : text
}
