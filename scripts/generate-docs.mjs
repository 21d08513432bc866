// npm run docs: writes what can drift into the README, from the code; `--check` fails if it differs.
import { readFileSync, writeFileSync } from 'node:fs'
import { environmentName, isFileOnly, Settings } from '../dist/config.js'
import { loadVenues } from '../dist/connectors/registry.js'

const README = new URL('../README.md', import.meta.url)

function settingRow(name, schema, environment) {
  const fallback = schema.default === undefined || schema.default === '' ? '–' : `\`${schema.default}\``
  return `| ${environment} | \`${name}\` | ${fallback} | ${schema.description ?? ''} |`
}

function settingsTable() {
  const rows = Object.entries(Settings.properties).flatMap(([name, schema]) =>
    schema.properties
      ? Object.entries(schema.properties).map(([inner, of]) => settingRow(`${name}.${inner}`, of, '–'))
      : [settingRow(name, schema, isFileOnly(name) ? '–' : `\`${environmentName(name)}\``)],
  )
  return ['| environment | file | default | |', '| --- | --- | --- | --- |', ...rows].join('\n')
}

/** Channels in the order of all venues together, and how a book and a trade of each are proved and made up for. */
async function venuesTable() {
  const venues = [...(await loadVenues()).values()]
  const channels = [...new Set(venues.flatMap((venue) => venue.channels))]
  const rows = venues.map((venue) => {
    const book = [venue.book.follows && 'sequence', venue.book.checksum && 'checksum'].filter(Boolean)
    const has = channels.map((channel) => (venue.channels.includes(channel) ? '✓' : ''))
    const { newest } = venue.tradesRequest ?? {}
    const backfill = newest ? `newest ${newest}` : venue.tradesRequest ? '✓' : '–'
    return [
      `\`${venue.id}\``,
      venue.markets.join(', '),
      ...has,
      book.join(', ') || 'never crossed',
      venue.trades.contiguousIds ? 'ids without a gap' : '–',
      backfill,
      venue.timeframes.join(' ') || '–',
    ]
  })
  const proofs = ['book proved by', 'trades proved by', 'backfill', 'timeframes']
  const head = ['kind', 'markets', ...channels, ...proofs]
  return [head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n')
}

function replace(text, name, content) {
  const pattern = new RegExp(`(<!-- generated: ${name} -->\n)[\\s\\S]*?(<!-- end: ${name} -->)`)
  if (!pattern.test(text)) throw new Error(`README.md has no place for ${name}`)
  return text.replace(pattern, (_all, begin, end) => `${begin}${content}\n${end}`)
}

const before = readFileSync(README, 'utf8')
let after = replace(before, 'settings', settingsTable())
after = replace(after, 'venues', await venuesTable())
if (process.argv.includes('--check')) {
  if (after !== before) {
    console.error('README.md is not what the code says: run npm run docs')
    process.exit(1)
  }
} else {
  writeFileSync(README, after)
}
