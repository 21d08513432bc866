import { byId, make, setText } from './dom.ts'
import type { DataEvent, Message, SourceStatus } from './events.ts'
import { Notices } from './notices.ts'
import { OddsView } from './odds.ts'
import { PricesView } from './prices.ts'
import { type LinkState, Session } from './session.ts'
import { SourcesView } from './sources.ts'
import { SymbolPanel } from './symbol-panel.ts'
import { Theme } from './theme.ts'

const PAINT_MS = 200
const SOURCES_MS = 2_000
const LINK_TEXT: Record<LinkState, string> = {
  connecting: 'Connecting',
  live: 'Live',
  waiting: 'Reconnecting',
  'signed-out': 'Signed out',
}

const notices = new Notices(byId('notices'))
const sourcesView = new SourcesView(byId('sources'))
const oddsView = new OddsView(byId('markets'), byId('odds-note'))
const session = new Session({ state: showLink, message: take, signIn: askForKey })
const panel = new SymbolPanel(session)
const prices = new PricesView(
  {
    body: byId('price-rows'),
    note: byId('price-note'),
    filter: byId<HTMLInputElement>('filter'),
    head: byId('prices'),
  },
  (choice) => {
    panel.choose(choice)
    prices.mark(choice)
  },
)
new Theme(byId<HTMLButtonElement>('theme'), () => panel.recolour())

/** Events received since the last count. */
let received = 0

function take(message: Message): void {
  if ('source' in message && 'seq' in message) {
    received++
    takeEvent(message)
  } else if (message.type === 'error') notices.add('error', message.message)
  else if (message.type === 'slow')
    notices.add(
      'warning',
      `This page reads too slowly: ${message.skipped} events left out (${message.reason})`,
    )
  else if (message.type === 'resync')
    notices.add('warning', `Resynchronised ${message.topic}: ${message.reason}`)
  else if (message.type === 'shutdown') notices.add('warning', 'The gateway is shutting down')
  else if (message.type === 'subscribed')
    for (const { symbol, message: why } of message.rejected ?? []) notices.add('warning', `${symbol}: ${why}`)
}

function takeEvent(event: DataEvent): void {
  if (event.type === 'ticker') prices.take(event)
  if (event.type === 'odds') oddsView.take(event)
  else if (event.type === 'gap') {
    const subject = event.symbol ?? event.eventId ?? ''
    const seconds = ((event.toTime - event.fromTime) / 1e6).toFixed(1)
    const repair = event.repairedBy ? `, repaired by ${event.repairedBy}` : ''
    notices.add(
      'warning',
      `Gap in ${event.source} ${event.channel} ${subject}: ${event.reason}, ${seconds} s${repair}`,
    )
  } else if (event.type === 'source') {
    const weight = event.state === 'connected' ? 'info' : event.state === 'down' ? 'error' : 'warning'
    notices.add(weight, `${event.source} is ${event.state}${event.reason ? `: ${event.reason}` : ''}`)
    void pollSources()
  } else panel.take(event)
}

function showLink(state: LinkState, detail: string): void {
  const link = byId('link')
  link.dataset.state = state
  setText(link, detail ? `${LINK_TEXT[state]}: ${detail}` : LINK_TEXT[state])
  if (state === 'live') {
    void pollSources()
    // Candles of the time without a connection are in the history.
    panel.reload()
  }
}

function askForKey(reason: string): void {
  setText(byId('sign-in-error'), reason)
  const dialog = byId<HTMLDialogElement>('sign-in')
  if (!dialog.open) dialog.showModal()
}

// Escape closes a dialog; without a key there is nothing behind it.
byId<HTMLDialogElement>('sign-in').addEventListener('close', () => {
  if (byId('link').dataset.state === 'signed-out') askForKey('')
})
byId<HTMLFormElement>('sign-in-form').addEventListener('submit', () => {
  const field = byId<HTMLInputElement>('api-key')
  session.signIn(field.value.trim())
  field.value = ''
})

let polling = false
let told = ''

async function pollSources(): Promise<void> {
  if (polling || byId('link').dataset.state !== 'live' || document.hidden) return
  polling = true
  try {
    const answer = (await session.get('/v1/sources')) as { items?: SourceStatus[] }
    showSources(answer.items ?? [])
    told = ''
  } catch (error) {
    const text = `Sources unknown: ${error instanceof Error ? error.message : 'no answer'}`
    if (text !== told) notices.add('error', text)
    told = text
  } finally {
    polling = false
  }
}

function showSources(sources: readonly SourceStatus[]): void {
  sourcesView.show(sources)
  panel.know(sources)
  const topics = sources.flatMap((source) => source.topics)
  const connected = sources.filter(({ state }) => state === 'connected').length
  setText(byId('source-count'), `${connected}/${sources.length}`)
  setText(byId('topic-count'), String(topics.length))
  offerMatches(topics.filter(({ channel }) => channel === 'odds').map(({ symbol }) => symbol))
  const first = sources
    .flatMap((source) => source.topics.map((topic) => ({ source: source.id, ...topic })))
    .find(({ channel }) => channel === 'ticker')
  if (!panel.choice && first) {
    panel.choose(first)
    prices.mark(first)
  }
}

const match = byId<HTMLSelectElement>('match')
match.addEventListener('change', () => openMatch(match.value))

function offerMatches(eventIds: readonly string[]): void {
  const wanted = [...new Set(eventIds)].sort()
  if (wanted.join() === [...match.options].map(({ value }) => value).join()) return
  const chosen = match.value
  match.replaceChildren(
    ...wanted.map((eventId) => {
      const option = make('option', '', eventId)
      option.value = eventId
      return option
    }),
  )
  if (wanted.includes(chosen)) match.value = chosen
  else if (wanted[0] !== undefined) openMatch(wanted[0])
}

function openMatch(eventId: string): void {
  oddsView.open(eventId)
  session.want('odds', { channel: 'odds', symbols: [eventId] })
}

let countedAt = performance.now()

setInterval(() => {
  if (document.hidden) return
  prices.paint()
  panel.paint()
}, PAINT_MS)

setInterval(() => {
  const seconds = (performance.now() - countedAt) / 1_000
  countedAt = performance.now()
  setText(byId('rate'), String(Math.round(received / seconds)))
  received = 0
}, 1_000)

setInterval(() => void pollSources(), SOURCES_MS)

session.want('prices', { channel: 'ticker', symbols: ['*'] })
session.start()
