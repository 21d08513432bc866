import type { LinkOptions } from '../connector.ts'
import type { CcxtClient, CcxtExchange, CcxtLibrary } from './library.ts'

const REST_TIMEOUT_MS = 10_000

/** What a link sees of its sockets. */
export interface Tap {
  /** Calls `dial` when the venue allows another connection; not any more when the link has ended. */
  admit(dial: () => void): void
  /** Resolves when the next frame may be read: back-pressure. */
  ready(): Promise<void> | undefined
  /** Before a frame is decoded; undefined: a binary one. */
  received(text: string | undefined): void
  sent(text: string): void
}

/** Promise turns that a watcher needs at most from its data to its next `watch` call. */
const REARM_TURNS = 24

/**
 * An exchange object of ccxt: decimals as text, credentials of the source, and every connection and request, whatever
 * URL ccxt builds or is told by the venue, sent to the source's `url` and `restUrl` where it has them. ccxt keeps
 * thinking in the venue's own URLs: some of its decoders tell spot from futures by them.
 */
export function createExchange(
  library: CcxtLibrary,
  id: string,
  options: LinkOptions,
  tap?: Tap,
): CcxtExchange {
  const { url, restUrl, credentials } = options
  const exchange = new library.pro[id]!({ ...credentials, timeout: REST_TIMEOUT_MS, enableRateLimit: true })
  exchange.number = String
  // Currencies tell of deposits and fees: a request more that could fail, for nothing a feed needs.
  exchange.has.fetchCurrencies = false
  keepBooksNumeric(exchange)
  if (restUrl !== undefined) {
    const fetch = exchange.fetch
    exchange.fetch = (asked, ...rest) => fetch.call(exchange, rehost(asked, restUrl), ...rest)
  }
  if (tap) tapClients(exchange, url, tap)
  return exchange
}

function tapClients(exchange: CcxtExchange, url: string | undefined, tap: Tap): void {
  const client = exchange.client
  const known = new WeakSet<CcxtClient>()
  exchange.client = (asked) => {
    const one = client.call(exchange, asked)
    if (!known.has(one)) {
      known.add(one)
      dial(one, url, tap)
      listen(one, tap)
    }
    return one
  }
}

/** The URL at another host: path and query stay. */
export function rehost(asked: string, base: string): string {
  const path = /^[a-z]+:\/\/[^/?#]*(.*)$/i.exec(asked)?.[1] ?? ''
  return base.replace(/\/+$/, '') + path
}

function dial(client: CcxtClient, base: string | undefined, tap: Tap): void {
  const create = client.createConnection
  client.createConnection = () =>
    tap.admit(() => {
      const asked = client.url
      if (base !== undefined) client.url = rehost(asked, base)
      try {
        create.call(client)
      } finally {
        client.url = asked
      }
    })
}

/**
 * Reads the socket in place of ccxt: one frame at a time, each followed by turns enough that whoever waits for its data
 * has taken them and waits again. ccxt reads several where they come at once, and merges what they say.
 */
function listen(client: CcxtClient, tap: Tap): void {
  client.deliverLoop = async () => {
    try {
      for await (const data of client.duplex) {
        await tap.ready()
        tap.received(typeof data === 'string' ? data : undefined)
        client.onMessage({ data })
        for (let turn = 0; turn < REARM_TURNS; turn++) await undefined
      }
    } catch {
      // The socket failed: its error handler has told everyone.
    }
  }
  const { send, future } = client
  client.send = (message) => {
    tap.sent(typeof message === 'string' ? message : JSON.stringify(message))
    return handled(send.call(client, message))
  }
  client.future = (hash) => handled(future.call(client, hash))
}

/** ccxt leaves some of its promises to nobody: their rejection would end the program. */
function handled<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => {})
  return promise
}

/** Sides of ccxt's books compare prices with `===` and negate them: text, which `number = String` may bring, breaks them. */
function keepBooksNumeric(exchange: CcxtExchange): void {
  for (const factory of ['orderBook', 'indexedOrderBook', 'countedOrderBook'] as const) {
    const create = exchange[factory]
    exchange[factory] = (snapshot = {}, depth) => {
      const book = create.call(exchange, {}, depth)
      for (const side of [book.bids, book.asks]) {
        const store = side.storeArray
        side.storeArray = ([price, size, ...rest]) =>
          store.call(side, [price === undefined ? price : Number(price), Number(size), ...rest])
      }
      book.reset(snapshot)
      return book
    }
  }
}
