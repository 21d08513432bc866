import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'

export interface CollectedSpan {
  readonly name: string
  readonly traceId: string
  readonly spanId: string
  readonly parentSpanId?: string
  readonly startTimeUnixNano: string
  readonly endTimeUnixNano: string
  readonly attributes: Readonly<Record<string, string | number>>
}

interface Attribute {
  readonly key: string
  readonly value: { readonly stringValue?: string; readonly intValue?: number | string }
}

/** What the OTLP exporter sends (https://opentelemetry.io/docs/specs/otlp/, JSON encoding). */
interface TraceRequest {
  readonly resourceSpans: readonly {
    readonly resource: { readonly attributes: readonly Attribute[] }
    readonly scopeSpans: readonly {
      readonly spans: readonly (Omit<CollectedSpan, 'attributes'> & {
        readonly attributes: readonly Attribute[]
      })[]
    }[]
  }[]
}

/** Stands in for an OpenTelemetry collector. */
export class Collector {
  readonly spans: CollectedSpan[] = []
  /** The spans by trace. */
  readonly traces = new Map<string, CollectedSpan[]>()
  readonly resources: Readonly<Record<string, string | number>>[] = []
  readonly paths = new Set<string>()
  readonly #server: Server

  private constructor(server: Server) {
    this.#server = server
  }

  static async start(): Promise<Collector> {
    const server = createServer()
    const collector = new Collector(server)
    server.on('request', async (request, response) => {
      const chunks: Buffer[] = []
      for await (const chunk of request) chunks.push(chunk as Buffer)
      collector.paths.add(`${request.method} ${request.url}`)
      collector.#take(JSON.parse(Buffer.concat(chunks).toString()) as TraceRequest)
      response.setHeader('content-type', 'application/json').end('{}')
    })
    await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening))
    return collector
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  close(): void {
    this.#server.close()
    this.#server.closeAllConnections()
  }

  #take({ resourceSpans }: TraceRequest): void {
    for (const { resource, scopeSpans } of resourceSpans) {
      this.resources.push(read(resource.attributes))
      for (const { spans } of scopeSpans)
        for (const span of spans) this.#add({ ...span, attributes: read(span.attributes) })
    }
  }

  #add(span: CollectedSpan): void {
    this.spans.push(span)
    const trace = this.traces.get(span.traceId)
    if (trace) trace.push(span)
    else this.traces.set(span.traceId, [span])
  }
}

function read(attributes: readonly Attribute[]): Record<string, string | number> {
  return Object.fromEntries(
    attributes.map(({ key, value }) => [key, value.stringValue ?? Number(value.intValue)]),
  )
}
