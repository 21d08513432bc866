import { ROOT_CONTEXT, type Span, type SpanContext, SpanKind, TraceFlags, trace } from '@opentelemetry/api'
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http'
import { resourceFromAttributes } from '@opentelemetry/resources'
import { AlwaysOnSampler, BasicTracerProvider, BatchSpanProcessor } from '@opentelemetry/sdk-trace-base'
import type { EncodedEvent } from '../market/encoded-event.ts'
import type { Micros } from '../market/event.ts'
import { signals, type TracedStage } from '../signals.ts'
import type { Tracing } from './tracing.ts'

export interface OtelOptions {
  /** Base URL of a collector; spans go to its `/v1/traces`. */
  readonly endpoint: string
  /** Share of the events that are traced, 0 to 1. */
  readonly ratio: number
  readonly version: string
}

/** Spans that wait for the collector; when full, new ones are dropped. */
const MAX_QUEUED = 4_096
const EXPORT_EVERY_MS = 1_000
const EXPORT_TIMEOUT_MS = 5_000
const CLOSE_MS = 500

/**
 * One trace an event: the root span `receive`, and under it `bus` and `record` or `relay` for each group that took the
 * event from the bus, and `deliver` for each gateway node. The context travels with the event as its `trace`. A collector
 * that is away costs its spans and nothing else.
 */
export function createOtelTracing({ endpoint, ratio, version }: OtelOptions): Tracing {
  const exporter = new OTLPTraceExporter({
    url: `${endpoint.replace(/\/+$/, '')}/v1/traces`,
    timeoutMillis: EXPORT_TIMEOUT_MS,
  })
  const provider = new BasicTracerProvider({
    resource: resourceFromAttributes({ 'service.name': 'feedgate', 'service.version': version }),
    sampler: new AlwaysOnSampler(),
    spanProcessors: [
      new BatchSpanProcessor(exporter, {
        maxQueueSize: MAX_QUEUED,
        scheduledDelayMillis: EXPORT_EVERY_MS,
        exportTimeoutMillis: EXPORT_TIMEOUT_MS,
      }),
    ],
  })
  const spans = new EventSpans(provider)
  const stops = [
    signals.publishing.on((events) => {
      for (const event of events) if (Math.random() < ratio) spans.begin(event)
    }),
    signals.traced.on((stage) => spans.done(stage)),
  ]
  return {
    close: async () => {
      for (const stop of stops.splice(0)) stop()
      const patience = new Promise<void>((resolve) => setTimeout(resolve, CLOSE_MS).unref())
      await Promise.race([provider.shutdown().catch(() => undefined), patience])
    },
  }
}

class EventSpans {
  readonly #tracer
  /** Spans of events on their way to the bus; gone with the event at the latest. */
  readonly #receiving = new WeakMap<EncodedEvent, Span>()

  constructor(provider: BasicTracerProvider) {
    this.#tracer = provider.getTracer('feedgate')
  }

  begin(event: EncodedEvent): void {
    const span = this.#tracer.startSpan(
      'receive',
      { kind: SpanKind.PRODUCER, startTime: timeOf(event.receivedTime), attributes: attributesOf(event) },
      ROOT_CONTEXT,
    )
    const { traceId, spanId } = span.spanContext()
    event.trace = `00-${traceId}-${spanId}-01`
    this.#receiving.set(event, span)
  }

  done(done: TracedStage): void {
    const { stage, event, began, ended } = done
    if (stage === 'receive') {
      this.#receiving.get(event)?.end(timeOf(ended))
      this.#receiving.delete(event)
      return
    }
    const parent = parentOf(event.trace)
    if (!parent) return
    if (stage !== 'deliver') {
      const published = publishedTime(event)
      if (published !== undefined) this.#span('bus', SpanKind.CONSUMER, done, parent, published, began)
    }
    this.#span(stage, SpanKind.INTERNAL, done, parent, began, ended)
  }

  #span(
    name: string,
    kind: SpanKind,
    { stage, event, clients }: TracedStage,
    parent: SpanContext,
    began: Micros,
    ended: Micros,
  ): void {
    const attributes = {
      ...attributesOf(event),
      ...(name === 'bus' && { 'messaging.consumer.group.name': stage }),
      ...(clients !== undefined && { 'feedgate.clients': clients }),
    }
    this.#tracer
      .startSpan(
        name,
        { kind, startTime: timeOf(began), attributes },
        trace.setSpanContext(ROOT_CONTEXT, parent),
      )
      .end(timeOf(Math.max(began, ended)))
  }
}

/** Of a status neither the tenant nor the conversation is told. */
function attributesOf({ topic, epoch, seq }: EncodedEvent): Record<string, string | number> {
  return {
    'feedgate.topic': topic.tenant === undefined ? topic.id : `${topic.source}|${topic.channel}`,
    'feedgate.epoch': epoch,
    'feedgate.seq': seq,
  }
}

/** The clock's seconds and nanoseconds: a double of ms would round what µs say. */
function timeOf(time: Micros): [number, number] {
  return [Math.floor(time / 1e6), (time % 1e6) * 1_000]
}

/** It came over the bus: what is no `traceparent` (https://www.w3.org/TR/trace-context/) is left alone. */
function parentOf(traceparent: string | undefined): SpanContext | undefined {
  const parts = /^00-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}$/.exec(traceparent ?? '')
  return parts
    ? { traceId: parts[1]!, spanId: parts[2]!, traceFlags: TraceFlags.SAMPLED, isRemote: true }
    : undefined
}

/** It stands in the envelope, before whatever a venue can write. */
function publishedTime(event: EncodedEvent): Micros | undefined {
  const found = /"publishedTime":(\d+)/.exec(event.bytes.toString('latin1', 0, 1_024))
  return found ? Number(found[1]) : undefined
}
