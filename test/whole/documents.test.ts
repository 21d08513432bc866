import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Client, type Gateway, preparedFolder, ROOT, startGateway, until } from './program.ts'

const PAGES = join(ROOT, 'docs/channels')

/** Commands for a terminal, as they stand on a page: the blocks that are `sh`. */
function commandsOf(page: string): string[] {
  const blocks = readFileSync(join(PAGES, page), 'utf8').matchAll(/^```sh\n([\s\S]*?)\n```$/gm)
  return [...blocks].flatMap(([, lines]) => lines!.split('\n'))
}

const README = readFileSync(join(ROOT, 'README.md'), 'utf8').split('\n')
const COMMANDS: (readonly [page: string, command: string])[] = [
  ...readdirSync(PAGES).flatMap((page) => commandsOf(page).map((command) => [page, command] as const)),
  ...README.filter((line) => line.startsWith('curl -H "X-API-Key: $KEY"')).map(
    (line) => ['README.md', line] as const,
  ),
]

const CURL = /^curl -H "X-API-Key: \$KEY" '?http:\/\/localhost:8080([^\s']+)'?$/
const WSCAT = /^npx wscat -c ws:\/\/localhost:8080(\S+)( -H "X-API-Key: \$KEY")? -x '([^']+)' -w 3$/

describe('commands on the pages, against npm start', () => {
  let gateway: Gateway
  let key: string

  beforeAll(async () => {
    gateway = await startGateway({ dataDir: await preparedFolder() })
    // The tier that asks as fast as a test does.
    key = (await gateway.line(/institutional +(fg_\S+)/))[1]!
    await until(async () => (await fetch(`${gateway.url}/readyz`)).ok, 100_000)
  })
  afterAll(() => gateway.end('SIGKILL'))

  it('are more than a few', () => {
    expect(COMMANDS.length).toBeGreaterThan(30)
  })

  it.each(COMMANDS)('%s: %s', async (_page, command) => {
    const [, path] = CURL.exec(command) ?? []
    if (path) {
      // What is not stored yet is not known: a moment after the start there is no history of some.
      const get = async () => {
        const response = await fetch(gateway.url + path, { headers: { 'x-api-key': key } })
        const answer = { status: response.status, text: await response.text() }
        return answer.status !== 404 && answer
      }
      expect(await until(get)).toMatchObject({ status: 200, text: expect.stringMatching(/^\{/) })
      return
    }
    const [, endpoint, withKey, message] = WSCAT.exec(command)!
    const client = await new Client(gateway.url + endpoint!, withKey ? { 'x-api-key': key } : {}).open()
    client.send(message!)
    await client.waitFor((said) => said.type === 'subscribed' || 'odd' in said)
    expect(client.ofType('error')).toEqual([])
    client.close()
  })
})
