import { readdirSync, readFileSync } from 'node:fs'
import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { gzipSync } from 'node:zlib'
import { type WebSocket, WebSocketServer } from 'ws'
import { type CcxtLibrary, type CcxtMarket, loadCcxt } from '../../../src/connectors/ccxt/library.ts'
import type { Patience } from '../../../src/connectors/ccxt/link.ts'
import { createCcxtConnectors } from '../../../src/connectors/ccxt.ts'
import type { Connectors } from '../../../src/connectors/connector.ts'

/** What a venue answers to a frame (or, before any, to the URL of the socket) that matches. */
export type Reply = readonly [asked: RegExp, ...frames: readonly unknown[]]

export interface Script {
  readonly marketId: string
  /** Frames are sent as JSON, or as text; functions make them of what was asked; with `gzip` packed. */
  readonly replies: readonly Reply[]
  readonly gzip?: boolean
  readonly rest?: readonly (readonly [path: RegExp, answer: unknown])[]
}

/**
 * One small market as a venue tells it, in the form that it documents: a ticker, a trade, a book with one change, a candle
 * and the one after it. What ccxt asks is what it is answered.
 */
export interface VenueScript extends Script {
  /** The venue writes decimals as text, and ccxt keeps it; else zeros at the end are lost. */
  readonly exact: boolean
  readonly channels: readonly ('ticker' | 'trades' | 'orderbook' | 'ohlcv')[]
}

const FIXTURES = new URL('../../fixtures/ccxt/', import.meta.url)

/** By ccxt's id of the exchange. */
export function readScripts(): ReadonlyMap<string, VenueScript> {
  const scripts = new Map<string, VenueScript>()
  for (const file of readdirSync(FIXTURES)) {
    const script = JSON.parse(readFileSync(new URL(file, FIXTURES), 'utf8'))
    const pattern = ([text, ...rest]: [string, ...unknown[]]) => [new RegExp(text), ...rest]
    scripts.set(file.replace('.json', ''), {
      ...script,
      replies: script.replies.map(pattern),
      rest: script.rest?.map(pattern),
    })
  }
  return scripts
}

export interface Loopback {
  readonly url: string
  readonly restUrl: string
  readonly sockets: Set<WebSocket>
  /** All that was asked, in order: frames, `GET /path`. */
  readonly asked: string[]
  script: Script
  /** Nothing is answered any more. */
  mute: boolean
  send(frame: unknown): void
  stop(): Promise<void>
}

/** A server that plays a venue's part: answers frames by its script, and REST too. */
export async function startLoopback(script: Script): Promise<Loopback> {
  const server = createServer((request, response) => {
    loopback.asked.push(`${request.method} ${request.url}`)
    const answer = loopback.script.rest?.find(([path]) => path.test(request.url ?? ''))?.[1]
    response.statusCode = answer === undefined ? 404 : 200
    response.setHeader('content-type', 'application/json')
    response.end(JSON.stringify(typeof answer === 'function' ? answer() : (answer ?? {})))
  })
  const wss = new WebSocketServer({ server })
  const loopback: Loopback = {
    url: '',
    restUrl: '',
    sockets: wss.clients,
    asked: [],
    script,
    mute: false,
    send: (frame) => {
      const text = typeof frame === 'string' ? frame : JSON.stringify(frame)
      for (const socket of wss.clients) socket.send(loopback.script.gzip ? gzipSync(text) : text)
    },
    stop: async () => {
      for (const socket of wss.clients) socket.terminate()
      wss.close()
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
  const answer = (socket: WebSocket, text: string) => {
    loopback.asked.push(text)
    if (loopback.mute) return
    for (const [pattern, ...frames] of loopback.script.replies) {
      if (!pattern.test(text)) continue
      for (const frame of frames) {
        const said = typeof frame === 'function' ? frame(text) : frame
        const out = typeof said === 'string' ? said : JSON.stringify(said)
        socket.send(loopback.script.gzip ? gzipSync(out) : out)
      }
    }
  }
  wss.on('connection', (socket: WebSocket, request: IncomingMessage) => {
    answer(socket, `WS ${request.url}`)
    socket.on('message', (data) => answer(socket, data.toString()))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const host = `127.0.0.1:${(server.address() as AddressInfo).port}`
  return Object.assign(loopback, { url: `ws://${host}`, restUrl: `http://${host}` })
}

export function market(id: string, symbol: string): CcxtMarket {
  const [base = '', quote = ''] = symbol.split('/')
  return {
    id,
    symbol,
    base,
    quote,
    lowercaseId: id.toLowerCase(),
    wsId: symbol,
    type: 'spot',
    spot: true,
    active: true,
    precision: { price: 0.01, amount: 0.001 },
    limits: { amount: { min: 0.001 } },
    info: {},
  } as unknown as CcxtMarket
}

/** The real ccxt, whose exchanges know these markets without asking for them. */
export async function withMarkets(
  markets: Readonly<Record<string, readonly CcxtMarket[]>>,
): Promise<CcxtLibrary> {
  const library = await loadCcxt()
  const pro = { ...library.pro } as Record<string, unknown>
  for (const [id, known] of Object.entries(markets)) {
    pro[id] = class extends (library.pro[id]!) {
      async fetchMarkets() {
        return known
      }
    }
  }
  return { ...library, pro: pro as unknown as CcxtLibrary['pro'] }
}

export function connectorsOf(library: CcxtLibrary, patience?: Patience): Connectors {
  const ccxt = createCcxtConnectors(library, patience)
  return {
    kinds: ['ccxt'],
    prepare: async () => {},
    exchanges: () => ccxt.exchanges,
    connectorFor: (_kind, { exchange = '' }) => ccxt.connectorFor(exchange),
  }
}
