import { arrange, duration, make, setText } from './dom.ts'
import type { SourceStatus } from './events.ts'

/** More than this and the page would be a list, not a picture; the rest is in `/v1/sources`. */
const MAX_CARDS = 60

interface Card {
  readonly root: HTMLElement
  readonly badge: HTMLElement
  readonly kind: HTMLElement
  readonly detail: HTMLElement
  readonly rate: HTMLElement
  /** The sum of the topics' numbers when last looked at, and when. */
  seen: { readonly seq: number; readonly at: number }
}

/** One card a source: its state, since when, its topics and how much it says. */
export class SourcesView {
  readonly #list: HTMLElement
  readonly #cards = new Map<string, Card>()
  #sources: readonly SourceStatus[] = []

  constructor(list: HTMLElement) {
    this.#list = list
  }

  show(sources: readonly SourceStatus[]): void {
    this.#sources = sources.slice(0, MAX_CARDS)
    for (const id of this.#cards.keys())
      if (!this.#sources.some((source) => source.id === id)) this.#cards.delete(id)
    arrange(
      this.#list,
      this.#sources.map((source) => this.#draw(source)),
    )
  }

  #draw(source: SourceStatus): HTMLElement {
    const card = this.#card(source.id)
    const live = source.topics.filter(({ state }) => state === 'live').length
    card.root.dataset.state = source.state
    card.root.title = source.reason ?? ''
    setText(card.badge, source.state)
    setText(card.kind, `${source.kind} · ${live}/${source.topics.length} topics live`)
    const since = `for ${duration(Date.now() - source.since / 1_000)}`
    setText(card.detail, source.attempt > 0 ? `${since} · attempt ${source.attempt}` : since)
    setText(card.rate, `${this.#rate(card, source)}/s`)
    return card.root
  }

  /** Events a second since the last look, whoever receives them: by how far the topics' numbers went. */
  #rate(card: Card, source: SourceStatus): number {
    const now = performance.now()
    const seq = source.topics.reduce((sum, topic) => sum + (topic.seq ?? 0), 0)
    const { seq: before, at } = card.seen
    card.seen = { seq, at: now }
    return at === 0 || seq < before ? 0 : Math.round((1_000 * (seq - before)) / (now - at))
  }

  #card(id: string): Card {
    const known = this.#cards.get(id)
    if (known) return known
    const root = make('li', 'card')
    root.dataset.source = id
    const badge = make('span', 'badge')
    const kind = make('p', 'faint')
    const detail = make('span')
    const rate = make('span', 'strong', '0/s')
    const head = make('p', 'card-head')
    head.append(make('strong', '', id), badge)
    const foot = make('p', 'faint card-head')
    foot.append(detail, rate)
    root.append(head, kind, foot)
    const card = { root, badge, kind, detail, rate, seen: { seq: 0, at: 0 } }
    this.#cards.set(id, card)
    return card
  }
}
