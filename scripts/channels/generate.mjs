// The pages of docs/channels: their texts by name.
import { Check } from 'typebox/value'
import { loadVenues } from '../../dist/connectors/registry.js'
import { createSimulator } from '../../dist/connectors/simulator/simulator.js'
import { eventSchema, PAYLOADS } from '../../dist/protocol/events.js'
import { CONTROL } from '../../dist/protocol/messages.js'
import { GAP, OF_CCXT, PAGES } from './catalogue.mjs'
import { openHistory, record } from './gateway.mjs'
import { askOf, channelPage, gapPage, indexPage } from './page.mjs'

export async function channelPages() {
  const simulator = { id: 'simulator', channels: createSimulator().channels }
  const kinds = [...(await loadVenues()).values(), simulator]
  const carriersOf = (channel) => {
    if (channel === 'source') return 'every source'
    const ids = kinds.filter(({ channels }) => channels.includes(channel)).map(({ id }) => `\`${id}\``)
    return OF_CCXT.includes(channel) ? `${ids.join(', ')}, [ccxt](../ccxt.md)` : ids.join(', ')
  }
  const history = openHistory()
  const pages = {}
  try {
    await history.store.ready()
    for (const page of PAGES) {
      const seen = await record({ ...page.recording, ask: askOf(page) }, history)
      checkMessages(seen.said)
      const rows = await history.query(page.sql)
      pages[`${page.channel}.md`] = channelPage(page, carriersOf(page.channel), { ...seen, rows })
    }
    const ask = askOf({ channel: 'trades', symbols: [GAP.recording.subscription.symbol] })
    const seen = await record({ ...GAP.recording, ask }, history)
    checkMessages(seen.said)
    pages['gap.md'] = gapPage({ ...seen, rows: await history.query(GAP.sql) })
    const trades = PAGES.find(({ channel }) => channel === 'trades')
    const asBasic = await record({ ...trades.recording, ask: askOf(trades), tier: 'basic' }, history)
    checkMessages(asBasic.said)
    pages['README.md'] = indexPage(carriersOf, asBasic)
  } finally {
    await history.close()
  }
  return pages
}

/** AsyncAPI is made of the schemas: what the gateway sent must be what it says. */
function checkMessages(said) {
  const events = Object.values(PAYLOADS).map(eventSchema)
  const messages = said.flatMap(({ from, text }) => (from === 'gateway' ? JSON.parse(text) : []))
  for (const message of messages) {
    const schemas = message.v === undefined ? Object.values(CONTROL) : events
    if (!schemas.some((schema) => Check(schema, message)))
      throw new Error(`no schema is like ${JSON.stringify(message)}`)
  }
}
