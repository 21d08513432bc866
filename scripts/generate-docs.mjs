// npm run docs: writes what can drift into the README, and the pages of docs/channels, from the code; `--check` fails if
// they differ.
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { environmentName, isFileOnly, Settings } from '../dist/config.js'
import { loadVenues } from '../dist/connectors/registry.js'
import { channelPages } from './channels/generate.mjs'

const ROOT = new URL('../', import.meta.url)
const README = new URL('README.md', ROOT)
const PAGES = 'docs/channels/'

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
/** By path; undefined: no such page any more. */
const texts = new Map([['README.md', after]])
mkdirSync(new URL(PAGES, ROOT), { recursive: true })
for (const name of readdirSync(new URL(PAGES, ROOT))) texts.set(PAGES + name, undefined)
for (const [name, text] of Object.entries(await channelPages())) texts.set(PAGES + name, text)

const written = (file) => (existsSync(file) ? readFileSync(file, 'utf8') : undefined)
for (const [path, text] of texts) {
  const file = new URL(path, ROOT)
  if (written(file) === text) continue
  if (process.argv.includes('--check')) {
    console.error(`${path} is not what the code says: run npm run docs`)
    process.exitCode = 1
  } else if (text === undefined) rmSync(file)
  else writeFileSync(file, text)
}
