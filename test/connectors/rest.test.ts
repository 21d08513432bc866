import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import { loadConnectors, loadVenues } from '../../src/connectors/registry.ts'
import { parseRetryAfter, RestClient } from '../../src/connectors/rest.ts'

const closing: (() => void)[] = []
afterEach(() => {
  for (const close of closing.splice(0)) close()
})

async function listen(answer: RequestListener): Promise<string> {
  const server = createServer(answer)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  closing.push(() => {
    server.closeAllConnections()
    server.close()
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

const signal = new AbortController().signal

describe('REST requests to a venue', () => {
  it('give the body, and undefined for what is not there', async () => {
    const url = await listen((request, response) => {
      response.statusCode = request.url === '/there' ? 200 : 404
      response.end('{"a":1}')
    })
    const client = new RestClient(`${url}/`)
    expect(await client.get('/there', 1, signal)).toBe('{"a":1}')
    expect(await client.get('/missing', 1, signal)).toBeUndefined()
  })

  it('are silent for as long as a 429 asks, without trying', async () => {
    let requests = 0
    const url = await listen((_request, response) => {
      requests++
      response.writeHead(429, { 'retry-after': '30' }).end()
    })
    const client = new RestClient(url)
    const refused = { code: 'venue-unavailable', retryAfterMs: 30_000 }
    await expect(client.get('/x', 1, signal)).rejects.toMatchObject(refused)
    await expect(client.get('/x', 1, signal)).rejects.toMatchObject({ code: 'venue-unavailable' })
    expect(requests).toBe(1)
  })

  it('stay within the weight of a minute, and say how long to wait', async () => {
    let requests = 0
    const url = await listen((_request, response) => {
      requests++
      response.end('{}')
    })
    const client = new RestClient(url, { count: 100, perMs: 60_000 })
    await client.get('/x', 60, signal)
    await client.get('/x', 40, signal)
    const error = await client.get('/x', 1, signal).catch((reason) => reason)
    expect(error.retryAfterMs).toBeGreaterThan(55_000)
    expect(requests).toBe(2)
  })

  it('wait for their turn in the order in which they came, few at once, and leave it when they are given up', async () => {
    const asked: string[] = []
    let underWay = 0
    let most = 0
    const url = await listen((request, response) => {
      asked.push(request.url ?? '')
      most = Math.max(most, ++underWay)
      setTimeout(() => {
        underWay--
        response.end('{}')
      }, 5)
    })
    const client = new RestClient(url, { count: 20, perMs: 100 })
    const given = new AbortController()
    const begun = performance.now()
    const requests = Array.from({ length: 30 }, (_, at) =>
      client.getInTurn(`/${at}`, 1, at === 25 ? given.signal : new AbortController().signal),
    )
    given.abort(new Error('no longer wanted'))
    await expect(requests[25]).rejects.toThrow('no longer wanted')
    await Promise.all(requests.toSpliced(25, 1))
    const inOrder = (from: number, to: number) =>
      asked
        .slice(from, to)
        .map((path) => Number(path.slice(1)))
        .toSorted((a, b) => a - b)
    // Of those that are under way together any may be there first.
    expect(inOrder(0, 20)).toEqual(Array.from({ length: 20 }, (_, at) => at))
    expect(inOrder(20, 30)).toEqual([20, 21, 22, 23, 24, 26, 27, 28, 29])
    expect(most).toBeLessThanOrEqual(10)
    expect(performance.now() - begun).toBeGreaterThan(300)
  })

  it('that can wait are made again after a 429, and refused when the venue wants silence for long', async () => {
    const answers = ['0', '0', '86400']
    const url = await listen((_request, response) => {
      const retryAfter = answers.shift()
      if (retryAfter === undefined || answers.length === 1) response.end('{}')
      else response.writeHead(429, { 'retry-after': retryAfter }).end()
    })
    const client = new RestClient(url)
    expect(await client.getPatiently('/x', 1, signal)).toBe('{}')
    await expect(client.getPatiently('/x', 1, signal)).rejects.toMatchObject({ retryAfterMs: 86_400_000 })
    await expect(client.getInTurn('/x', 1, signal)).rejects.toMatchObject({ code: 'venue-unavailable' })
  })

  it.each([
    [451, 'venue-unavailable'],
    [500, 'venue-unavailable'],
    [400, 'unknown-symbol'],
  ])('tell HTTP %i as %s', async (status, code) => {
    const url = await listen((_request, response) => response.writeHead(status).end())
    await expect(new RestClient(url).get('/x', 1, signal)).rejects.toMatchObject({ code })
  })

  it('say that a venue cannot be reached, or broke off', async () => {
    const gone = await listen(() => {})
    for (const close of closing.splice(0)) close()
    await expect(new RestClient(gone).get('/x', 1, signal)).rejects.toMatchObject({
      code: 'venue-unavailable',
      message: expect.stringContaining('ECONNREFUSED'),
    })
    const url = await listen((_request, response) => {
      response.writeHead(200, { 'content-length': '100' })
      response.write('half')
      setTimeout(() => response.destroy(), 20)
    })
    await expect(new RestClient(url).get('/x', 1, signal)).rejects.toMatchObject({
      code: 'venue-unavailable',
    })
  })
})

describe('Retry-After', () => {
  it('is seconds or a date, at most a day', () => {
    expect(parseRetryAfter('7')).toBe(7_000)
    expect(parseRetryAfter('999999999')).toBe(24 * 3_600_000)
    expect(parseRetryAfter(new Date(Date.now() + 60_000).toUTCString())).toBeGreaterThan(58_000)
    expect(parseRetryAfter('soon')).toBeUndefined()
    expect(parseRetryAfter(undefined)).toBeUndefined()
  })
})

describe('the registry', () => {
  it('is the folder: each venue under its own id, the simulator, and ccxt once it is prepared', async () => {
    const venues = await loadVenues()
    for (const [id, venue] of venues) expect(venue.id).toBe(id)
    const connectors = await loadConnectors()
    expect(connectors.kinds).toEqual([...venues.keys(), 'simulator', 'ccxt'].toSorted())
    await connectors.prepare('ccxt')
    for (const kind of connectors.kinds)
      expect(connectors.connectorFor(kind, { exchange: 'bitget' })?.kind).toBe(kind)
    expect(connectors.connectorFor('nowhere', {})).toBeUndefined()
  })

  it('asks the venue for the smallest depth that holds what is wanted', async () => {
    const binance = (await loadConnectors()).connectorFor('binance', {})
    expect([1, 100, 101, 5_000, 9_000, undefined].map((limit) => binance?.bookDepth(limit))).toEqual([
      100, 100, 500, 5_000, 5_000, 1_000,
    ])
  })
})
