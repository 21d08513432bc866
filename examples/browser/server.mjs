// The page's own server: it keeps the API key, and gives each visitor a ticket for one connection.
// KEY=fg_premium_… node examples/browser/server.mjs, then open what it prints.
import { readFile } from 'node:fs/promises'
import { createServer } from 'node:http'

const { GATEWAY = 'http://localhost:8080', STREAM = GATEWAY, KEY, PORT = '8090' } = process.env
if (!KEY) {
  console.error('KEY is missing: npm start prints a key of each tier')
  process.exit(2)
}

const PAGE = new URL('index.html', import.meta.url)
const CLIENT = new URL('../../client/dist/', import.meta.url) // elsewhere: what your bundler makes

async function answer(path) {
  if (path === '/ticket') {
    const response = await fetch(`${GATEWAY}/auth/ticket`, { method: 'POST', headers: { 'X-API-Key': KEY } })
    if (!response.ok) throw new Error(`the gateway gives no ticket: ${response.status}`)
    const { ticket } = await response.json()
    return ['application/json', JSON.stringify({ ticket, url: STREAM })]
  }
  const script = /^\/client\/([a-z-]+\.js)$/.exec(path)
  if (script) return ['text/javascript', await readFile(new URL(script[1], CLIENT))]
  if (path === '/') return ['text/html; charset=utf-8', await readFile(PAGE)]
  return undefined
}

const server = createServer(async ({ url }, response) => {
  try {
    const found = await answer(url)
    response.writeHead(found ? 200 : 404, { 'content-type': found?.[0] ?? 'text/plain' }).end(found?.[1])
  } catch (error) {
    response.writeHead(502, { 'content-type': 'text/plain' }).end(String(error.message))
  }
})
server.listen(Number(PORT), '127.0.0.1', () => console.log(`open http://localhost:${server.address().port}/`))
