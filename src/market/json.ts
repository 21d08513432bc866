import { toDecimal } from './decimal.ts'
import type { Decimal, Level, VenueId } from './event.ts'

/**
 * JSON without a loss: a number that would lose a digit (trailing zeros, exponents, above 2^53) is the text it was sent
 * as. `asText` makes all numbers text.
 */
export type Json = string | number | boolean | null | readonly Json[] | JsonObject
export interface JsonObject {
  readonly [name: string]: Json | undefined
}

/** Says in a few words why a frame, or a part of it, cannot be right. */
export class Unreadable extends Error {}

const MAX_DEPTH = 32
const NUMBER = /-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/y
const SPACE = /[ \t\r\n]*/y

/** A number with a point, an exponent or 16 digits; in the text of a string too, where it does no harm. */
const DELICATE_NUMBER = /[[,:]\s*-?(?:\d{16}|\d+[.eE])/

/** Throws Unreadable for what is no JSON. */
export function parseJson(text: string): Json {
  if (!DELICATE_NUMBER.test(text)) return parsePlainJson(text)
  const reader = new JsonReader(text)
  const value = reader.value(0)
  reader.end()
  return value
}

/** As `parseJson`, of text in which no number's digits matter. */
export function parsePlainJson(text: string): Json {
  try {
    return JSON.parse(text) as Json
  } catch {
    throw new Unreadable('no JSON')
  }
}

class JsonReader {
  readonly #text: string
  #at = 0

  constructor(text: string) {
    this.#text = text
  }

  value(depth: number): Json {
    if (depth > MAX_DEPTH) throw new Unreadable('nested too deeply')
    switch (this.#next()) {
      case '{':
        return this.#object(depth)
      case '[':
        return this.#array(depth)
      case '"':
        return this.#string()
      case 't':
        return this.#word('true', true)
      case 'f':
        return this.#word('false', false)
      case 'n':
        return this.#word('null', null)
      default:
        return this.#number()
    }
  }

  end(): void {
    if (this.#next() !== undefined) throw this.#wrong()
  }

  /** The next character that is no space. */
  #next(): string | undefined {
    if (this.#text.charCodeAt(this.#at) <= 32) {
      SPACE.lastIndex = this.#at
      SPACE.test(this.#text)
      this.#at = SPACE.lastIndex
    }
    return this.#text[this.#at]
  }

  #object(depth: number): JsonObject {
    // Without a prototype a field named `__proto__` is a field like any other.
    const object: Record<string, Json> = Object.create(null)
    this.#at++
    if (this.#next() === '}') {
      this.#at++
      return object
    }
    for (;;) {
      if (this.#next() !== '"') throw this.#wrong()
      const name = this.#string()
      if (this.#next() !== ':') throw this.#wrong()
      this.#at++
      object[name] = this.value(depth + 1)
      if (this.#closes('}')) return object
    }
  }

  #array(depth: number): Json[] {
    const array: Json[] = []
    this.#at++
    if (this.#next() === ']') {
      this.#at++
      return array
    }
    for (;;) {
      array.push(this.value(depth + 1))
      if (this.#closes(']')) return array
    }
  }

  #closes(bracket: string): boolean {
    const next = this.#next()
    if (next !== ',' && next !== bracket) throw this.#wrong()
    this.#at++
    return next === bracket
  }

  #string(): string {
    const start = this.#at
    let end = this.#text.indexOf('"', start + 1)
    while (end > 0 && this.#escaped(end)) end = this.#text.indexOf('"', end + 1)
    if (end < 0) throw this.#wrong()
    this.#at = end + 1
    const inner = this.#text.slice(start + 1, end)
    if (!inner.includes('\\')) return inner
    try {
      return JSON.parse(`"${inner}"`) as string
    } catch {
      throw this.#wrong()
    }
  }

  #escaped(quote: number): boolean {
    let slashes = 0
    while (this.#text.charCodeAt(quote - 1 - slashes) === 92) slashes++
    return slashes % 2 === 1
  }

  #number(): string {
    NUMBER.lastIndex = this.#at
    const match = NUMBER.exec(this.#text)
    if (!match) throw this.#wrong()
    this.#at = NUMBER.lastIndex
    return match[0]
  }

  #word<T>(word: string, value: T): T {
    if (!this.#text.startsWith(word, this.#at)) throw this.#wrong()
    this.#at += word.length
    return value
  }

  #wrong(): Unreadable {
    return new Unreadable(`no JSON at character ${this.#at}`)
  }
}

export function isObject(json: Json | undefined): json is JsonObject {
  return typeof json === 'object' && json !== null && !Array.isArray(json)
}

export function isArray(json: Json | undefined): json is readonly Json[] {
  return Array.isArray(json)
}

/** Text or number as text; undefined for anything else. */
export function asText(json: Json | undefined): string | undefined {
  return typeof json === 'string' ? json : typeof json === 'number' ? String(json) : undefined
}

/** The fields of these names as text, in their order: what `Scanner.fields` gives, for the frames it leaves. */
export function fieldsOf(json: Json | undefined, names: readonly string[]): (string | undefined)[] {
  if (!isObject(json)) throw new Unreadable('no object where one belongs')
  return names.map((name) => {
    const value = json[name]
    return typeof value === 'boolean' ? String(value) : asText(value)
  })
}

/** A price or size; throws Unreadable for what is none. */
export function decimalOf(text: string | undefined, what: string): Decimal {
  const decimal = text === undefined ? undefined : toDecimal(text)
  if (decimal === undefined) throw new Unreadable(`${what} is no number`)
  return decimal
}

/** As `decimalOf`, for a field that may be absent. */
export function optionalDecimal(text: string | undefined, what: string): Decimal | undefined {
  return text === undefined || text === '' ? undefined : decimalOf(text, what)
}

/** A venue's id; throws Unreadable for what is no whole number. */
export function idOf(text: string | undefined, what: string): VenueId {
  if (text === undefined || !/^\d{1,40}$/.test(text)) throw new Unreadable(`${what} is no id`)
  const id = Number(text)
  return Number.isSafeInteger(id) ? id : BigInt(text)
}

/** Levels as arrays that begin with price and size; throws Unreadable for what are none. */
export function levelsOf(json: Json | undefined): Level[] {
  if (json === undefined) return []
  if (!isArray(json)) throw new Unreadable('levels are no list')
  return json.map((level) => levelOf(isArray(level) ? level : []))
}

/** A level of price and size; throws Unreadable. */
export function levelOf([price, size]: readonly (Json | undefined)[]): Level {
  return [decimalOf(asText(price), 'price'), removal(decimalOf(asText(size), 'size'))]
}

/** A size of zero removes a level, and is written `"0"`. */
export function removal(size: Decimal): Decimal {
  return /[1-9]/.test(size) ? size : '0'
}
