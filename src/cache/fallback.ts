import { FeedgateError } from '../errors.ts'
import { chainFrom, isAfter } from '../market/continuity.ts'
import { decodeEvent } from '../market/decode.ts'
import type { EncodedEvent } from '../market/encoded-event.ts'
import { type Channel, isChannel } from '../market/event.ts'
import { parseTopic, type Topic } from '../market/topic.ts'
import type { Store, StoredEvent, StoredPosition } from '../store/store.ts'
import type { BookImage, Cache, TopicImage, TopicMatch } from './cache.ts'
import { matches } from './match.ts'
import { TopicState } from './topic-image.ts'

/** Where the topics of a source end is asked once for all of them that are asked about within this time. */
const POSITIONS_MS = 500
const MAX_SOURCES = 1_000
/** Books made from the store for one call; what is beyond is left out. */
const MAX_BOOKS = 20

type Reads = Pick<Store, 'latest' | 'positions' | 'bookAt' | 'history'>

/**
 * The same cache, whose reads come from the store while it is away, and where it knows nothing of a topic (it came back
 * empty and nobody could restore it). The store is behind by what the recorder has not written yet; positions say so.
 */
export function withStore(cache: Cache, store: Reads): Cache {
  const stored = new StoredImages(store)
  return {
    apply: (events) => cache.apply(events),
    async image(topic) {
      const image = await unlessAway(() => cache.image(topic))
      if (!image) return stored.image(topic)
      return topic.channel === 'orderbook' && !image.book ? stored.withBook(image, cache) : image
    },
    async images(match) {
      const images = await unlessAway(() => cache.images(match))
      return images && images.length > 0 ? images : stored.images(match)
    },
    topics: () => cache.topics(),
    since: (topic, after) => cache.since(topic, after),
    subscribe: (signal, heads) => cache.subscribe(signal, heads),
    fault: () => cache.fault(),
    close: () => cache.close(),
  }
}

async function unlessAway<T>(read: () => Promise<T>): Promise<T | undefined> {
  try {
    return await read()
  } catch (error) {
    if (error instanceof FeedgateError && error.code === 'cache-unavailable') return undefined
    throw error
  }
}

/** Images made from the store's tables. */
class StoredImages {
  readonly #store: Reads
  /** By source; the oldest goes when there are too many. */
  readonly #positions = new Map<
    string,
    { readonly until: number; readonly found: Promise<ReadonlyMap<string, StoredPosition>> }
  >()

  constructor(store: Reads) {
    this.#store = store
  }

  async image(topic: Topic): Promise<TopicImage | undefined> {
    // Asked first: what is read after it holds at least everything up to it.
    const position = (await this.#positionsOf(topic.source)).get(topic.id)
    if (!position) return undefined
    if (topic.channel === 'orderbook') {
      const book = await this.#book(topic)
      const { epoch, seq } = book?.last ?? position
      return { topic, epoch, seq, values: [], ...(book ? { book } : {}) }
    }
    const { source, channel, subject, timeframe } = topic
    const values = await this.#store.latest({ source, channel, subject, ...(timeframe ? { timeframe } : {}) })
    return imageOf(topic, position, values)
  }

  /** The cache knows where the topic stands, not its book: the store may, and the cache what followed. */
  async withBook(image: TopicImage, cache: Cache): Promise<TopicImage> {
    const book = await this.#book(image.topic)
    const events = book && (await unlessAway(() => cache.since(image.topic, book.last)))
    if (!events || !chainFrom(book.last, events)) return image
    const state = new TopicState(image.topic)
    state.adopt({ topic: image.topic, epoch: book.last.epoch, seq: book.last.seq, values: [], book })
    for (const event of events) state.apply(event)
    return isAfter(image, state) ? image : state.image()
  }

  async images(match: TopicMatch): Promise<readonly TopicImage[]> {
    const { channel, source, subject, timeframe } = match
    if (channel !== undefined && !isChannel(channel)) return []
    const query = {
      ...(channel === undefined ? {} : { channel: channel as Channel }),
      ...(source === undefined ? {} : { source }),
      ...(subject === undefined ? {} : { subject }),
      ...(timeframe === undefined ? {} : { timeframe }),
    }
    const values = channel === 'orderbook' ? [] : await this.#store.latest(query)
    const images: TopicImage[] = []
    for (const [topic, events] of byTopic(values)) images.push(imageOf(topic, newest(events), events))
    if (channel === undefined || channel === 'orderbook') images.push(...(await this.#books(match)))
    return images
  }

  async #books(match: TopicMatch): Promise<TopicImage[]> {
    if (match.source === undefined) return []
    const ids = [...(await this.#positionsOf(match.source)).keys()]
    const topics = ids.flatMap((id) => parseTopic(id) ?? [])
    const books = topics.filter((topic) => topic.channel === 'orderbook' && matches(topic, match))
    const images = await Promise.all(books.slice(0, MAX_BOOKS).map((topic) => this.image(topic)))
    return images.filter((image) => image !== undefined)
  }

  async #book(topic: Topic): Promise<BookImage | undefined> {
    const book = await this.#store.bookAt(topic, Number.MAX_SAFE_INTEGER)
    if (!book) return undefined
    const { receivedTime: from, epoch, seq } = book
    const { source, channel, subject } = topic
    const page = await this.#store.history({ source, channel, subject, from, to: from + 1, limit: 2 })
    const last = page.items.find((event) => event.epoch === epoch && event.seq === seq)
    return last && { bids: book.bids, asks: book.asks, depth: book.depth, last: eventOf(last) }
  }

  #positionsOf(source: string): Promise<ReadonlyMap<string, StoredPosition>> {
    const now = performance.now()
    const known = this.#positions.get(source)
    if (known && known.until > now) return known.found
    const found = this.#store.positions(source)
    this.#positions.delete(source)
    this.#positions.set(source, { until: now + POSITIONS_MS, found })
    if (this.#positions.size > MAX_SOURCES) this.#positions.delete(this.#positions.keys().next().value!)
    found.catch(() => this.#positions.delete(source))
    return found
  }
}

function imageOf(
  topic: Topic,
  position: { readonly epoch: number; readonly seq: number },
  values: readonly StoredEvent[],
): TopicImage {
  const events = values.map(eventOf).sort((one, other) => one.epoch - other.epoch || one.seq - other.seq)
  const last = events.at(-1)
  // The values are read after the position: they may hold more, and then everything up to the newest of them.
  const { epoch, seq } = last && isAfter(last, position) ? last : position
  return { topic, epoch, seq, values: events }
}

function byTopic(events: readonly StoredEvent[]): Map<Topic, StoredEvent[]> {
  const topics = new Map<Topic, StoredEvent[]>()
  for (const event of events) {
    const list = topics.get(event.topic)
    if (list) list.push(event)
    else topics.set(event.topic, [event])
  }
  return topics
}

function newest(events: readonly StoredEvent[]): StoredEvent {
  return events.reduce((last, event) => (isAfter(event, last) ? event : last))
}

function eventOf({ topic, body }: StoredEvent): EncodedEvent {
  return decodeEvent(topic, Buffer.from(body))
}
